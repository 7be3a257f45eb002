"""The authenticated connection of a device to its hub: enrol, renew, post, spool, resume.

Standard library and `core` only; cryptography comes from the libcrypto that `ssl` already loads.
"""
