"""The update agent: a fetcher with a network and no key, and a verifier with keys and no network.

Only `verifying` and what it imports load `cryptography`, through python-tuf; the fetcher is the
standard library.
"""
