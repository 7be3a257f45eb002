"""Enrols a device by hand, with certificates of a hospital made for it."""

from asepsis.tools.attack.enrolled import HOST, NAME, NO_HUB, enrolled

__all__ = ["HOST", "NAME", "NO_HUB", "enrolled"]
