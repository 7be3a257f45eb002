"""Campaigns: one release brought to many devices, wave by wave, never more at once than may be."""
