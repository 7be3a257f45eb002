"""The compartments of a device: vitals, origin and network, and the supervisor that keeps them."""
