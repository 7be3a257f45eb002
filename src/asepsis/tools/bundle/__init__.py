"""Makes offline bundles: one signed file for a list of devices, carried by people."""
