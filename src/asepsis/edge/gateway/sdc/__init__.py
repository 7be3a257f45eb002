"""SDC (ISO/IEEE 11073) devices behind a gateway: a consumer with the checks its library leaves out.

Each device has a process of its own beside the drivers' line processes, and the same keeper.
"""
