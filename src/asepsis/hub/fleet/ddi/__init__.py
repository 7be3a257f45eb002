"""Devices with SWUpdate, RAUC or another client of the DDI interface (docs/reference/ddi.md)."""
