"""Profiles of device models, who decided them, and what they say about what arrives."""
