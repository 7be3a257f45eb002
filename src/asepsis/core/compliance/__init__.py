"""Whether a device sends what its model declares, and what follows where it does not. Pure."""
