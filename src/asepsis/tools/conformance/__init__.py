"""Black-box conformance suite of ADP/1: what a hub or a device must do, seen from outside."""
