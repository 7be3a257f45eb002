"""Threat models of fleets as files: read, compiled by rules to an attack graph, explained."""
