"""Delegations: who may speak for whom, how far, until when, and what the network must show."""
