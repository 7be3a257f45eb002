"""The durable log behind one small interface: what is acknowledged survives a power cut."""
