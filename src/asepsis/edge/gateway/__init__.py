"""The gateway: legacy devices on one side, the standard over mutual TLS on the other.

First form: HL7 v2 over MLLP. Standard library, msgspec and `core` only; `app` puts it together.
"""
