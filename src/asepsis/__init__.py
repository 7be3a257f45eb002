"""Asepsis: secure, connected medical devices."""
