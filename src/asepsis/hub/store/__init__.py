"""State: one engine, one transaction at a time, sealed columns, outbox, leases and migrations."""
