"""Drivers: vendors' own protocols, one file each, and the processes that run them.

A driver is a sans-IO machine and a mapping table; `sdk.py` says what both are. What strangers send
is read by a process of its own that holds no key; see `app.py`.
"""
