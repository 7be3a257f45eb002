"""Builds the bootable image of a device from a recipe, boots it in a machine, and audits its parts.

The rules of what may be in an image stand in `checks`; the recipe of the monitor in
`images/monitor`.
"""
