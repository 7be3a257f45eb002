"""Attacks on a device in compartments: a table, a runner, and the report for the security file."""
