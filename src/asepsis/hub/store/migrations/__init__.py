"""Migrations, shipped with the program. Number them: `0002_what_changes.py`.

A migration runs inside the store's write lock, so that two hubs that start at once migrate once.
"""
