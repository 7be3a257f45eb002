"""The hospital's server: who may speak, what was said, and what is stored of it."""
