"""The receiving side of the hub: the lanes of the standard, from bytes to the journal."""
