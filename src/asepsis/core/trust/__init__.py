"""Identity, TLS, signatures, Merkle trees, sealing; `authority` only in hub and vendor tools."""
