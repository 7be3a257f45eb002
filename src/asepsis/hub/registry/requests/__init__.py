"""Requests of an operator on their way to a device: carried, never believed."""
