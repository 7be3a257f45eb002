"""Frozen values that two features exchange, in the field's own words. No I/O, no clock."""
