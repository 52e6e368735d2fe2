"""What a pool has to do again and again, and the lapses in which it did not (DESIGN 12.4 to 12.7). Pure."""
