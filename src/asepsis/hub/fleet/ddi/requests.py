"""What the routes of update clients read of a request, and how they render an answer."""

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from asepsis.core.errors import InputError, NotFound
from asepsis.core.wire import ddi
from asepsis.core.wire.ddi_cbor import write_cbor
from asepsis.hub.fleet.ddi.answers import Place
from asepsis.hub.web.asgi import Scope, header

HAL: Final = "application/hal+json"
_HOST: Final = re.compile(
    r"[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](?::\d{1,5})?"
)
_OFFERED: Final = {
    ddi.CBOR: ddi.CBOR,
    ddi.JSON[0]: ddi.JSON[0],
    HAL: HAL,
    "application/*": HAL,
    "*/*": HAL,
}


def place_of(scope: Scope) -> Place:
    """Return where links of a request lead: to where it came, as its client wrote it.

    Raises:
        InputError: The Host field is none that a link can be made of.
    """
    host = (header(scope, b"host") or b"").decode("latin-1")
    if not _HOST.fullmatch(host):
        raise InputError("the Host field is no host")
    params: dict[str, str] = scope["asepsis.path_params"]
    return Place(f"https://{host}", params["tenant"], params["name"])


def number_of(scope: Scope, name: str) -> int:
    """Return a number of the path.

    Raises:
        NotFound: It is none that we give.
    """
    text: str = scope["asepsis.path_params"][name]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFound("no such number")
    return int(text)


def media_of(scope: Scope) -> str:
    """Return the media type of the answer."""
    return _negotiated(header(scope, b"accept") or b"*/*")


@lru_cache(maxsize=256)
def _negotiated(accept: bytes) -> str:
    best, weight = HAL, 0.0
    for each in accept.decode("latin-1").lower().split(","):
        media, *params = [part.strip() for part in each.split(";")]
        share = next((_share(p[2:]) for p in params if p.startswith("q=")), 1.0)
        offered = _OFFERED.get(media)
        if offered is not None and share > weight:
            best, weight = offered, share
    # A client that asks for something else altogether gets what every client reads (RFC 9110
    # section 12.4.1): no update must fail for a header.
    return best


def _share(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def render(document: Any, media: str) -> bytes:
    """Return a document in its media type."""
    return write_cbor(document) if media == ddi.CBOR else msgspec.json.encode(document)
