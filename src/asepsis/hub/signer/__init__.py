"""The key-holding process: a second process and user behind two unix sockets, without network.

It holds the issuing, director, time and audit keys, signs only typed requests that it checks
itself, and logs durably before it answers. Nothing imports this package; the hub starts it as
`python -m asepsis.hub.signer`. It loads `core.trust`, `core.model` and `core.errors` and nothing
else of ours: no wire format, no web framework, no database engine.
"""
