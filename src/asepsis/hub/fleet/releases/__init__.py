"""Releases on the hub: imported from vendors, verified, approved, and served to devices."""
