"""Looks at image objects in a process that can do nothing else; see `worker.py`."""
