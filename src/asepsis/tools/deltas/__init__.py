"""Differences between two artefacts: made by every method, measured, and chosen by cost."""
