"""Judges a bill of materials against advisories that lie on this machine; nothing is fetched.

What cannot be ordered is shown as undecided, never as unaffected.
"""
