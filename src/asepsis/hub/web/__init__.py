"""HTTP for the hub: TLS listeners, limits, admission, problem details and routing.

Nothing here knows a route of the product. `serve` runs several listeners on one event loop, each
with its own TLS context, ASGI application and limits; every limit is listed in
`docs/reference/limits.md` and every answer to an error in `docs/reference/problems.md`.
"""
