"""A vendor's image repository: metadata signed offline, published as static files (TUF)."""
