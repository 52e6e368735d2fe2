"""Open time accounted for: in standard, out, unverified, silent; duties done in time; by day, month and season. Pure."""
