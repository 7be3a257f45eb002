"""Devices and other machines: enrolment, renewal, revocation, and who is who right now."""
