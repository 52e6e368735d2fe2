"""A number out of 100 for inspectors, with every deduction explained; never the grade, which is the authority's. Pure."""
