"""Judging from files: readings in, tables of quality, exceedances, lapses, compliance and indicator out."""
