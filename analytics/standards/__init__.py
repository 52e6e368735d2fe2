"""Standards as data: the TOML files beside this one, and what reads and checks them."""
