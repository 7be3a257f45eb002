"""A hospital on loopback: real hub, real TLS, scripted devices. What is simulated is the patient.

Values are made from a seed by simple formulas; nothing here is physiology.
"""
