"""Sans-IO codecs and protocol machines: bytes in, values or events out. No socket or clock."""
