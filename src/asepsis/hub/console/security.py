"""The header fields of every answer of the people listener.

Nothing is loaded but our own files, nothing runs but our own scripts, nobody frames us, and nothing
leaves: not a request, not an address in a Referer. `require-trusted-types-for` makes the browser
refuse text where HTML or script is expected, should one of our own scripts ever try.

Source: W3C Content Security Policy 3, Trusted Types, Fetch Metadata; RFC 6797 is left out on
purpose: the hospital's names serve other ports too.
"""

from typing import Final

from asepsis.hub.web.asgi import Headers

_SOURCES: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "default",
}
CSP: Final = "; ".join(f"{directive} {value}" for directive, value in _SOURCES.items())
PERMISSIONS: Final = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "usb",
    )
)

HEADERS: Final[Headers] = [
    (b"content-security-policy", CSP.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", PERMISSIONS.encode()),
]
"""`X-Content-Type-Options: nosniff` and `Cache-Control: no-store` come with every listener."""
