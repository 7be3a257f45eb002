"""For people who build and try."""
