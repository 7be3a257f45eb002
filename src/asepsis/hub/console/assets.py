"""Scripts, styles and pictures of the console, in memory, with a hash of each in its address.

They are read once, before the hub gives up root: its own user may not read the checkout.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, NotFound
from asepsis.hub.access.rules import Action
from asepsis.hub.web.asgi import Receive, Scope, Send, answer, header
from asepsis.hub.web.routing import Route

FOLDER: Final = Path(__file__).with_name("static")
MEDIA: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PATH: Final = "/static/{name}"
HASH_CHARS: Final = 16
FOREVER: Final = b"public, max-age=31536000, immutable"
ASK_AGAIN: Final = b"public, no-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file that browsers load.

    Attributes:
        name: File name, unique whatever folder it stands in.
        media: Media type.
        body: Its bytes.
        hash: Start of the SHA-256 of its bytes, hexadecimal.
    """

    name: str
    media: str
    body: bytes
    hash: str

    @property
    def path(self) -> str:
        """Address that changes with the content."""
        return f"/static/{self.name}?v={self.hash}"


@cache
def load_assets() -> Mapping[str, Asset]:
    """Return every asset by name.

    Raises:
        ConfigError: Two files of one name.
    """
    found: dict[str, Asset] = {}
    for path in sorted(FOLDER.rglob("*")):
        media = MEDIA.get(path.suffix)
        if media is None or not path.is_file():
            continue
        if path.name in found:
            raise ConfigError(f"two static files are called {path.name}")
        body = path.read_bytes()
        digest = hashlib.sha256(body).hexdigest()[:HASH_CHARS]
        found[path.name] = Asset(name=path.name, media=media, body=body, hash=digest)
    return found


def asset_path(name: str) -> str:
    """Return the address of an asset, for templates.

    Raises:
        ConfigError: There is no such file; our own mistake, found when the page is tested.
    """
    try:
        return load_assets()[name].path
    except KeyError as error:
        raise ConfigError(f"no static file {name}") from error


def asset_route() -> Route:
    """Return the route of all assets; they hold nothing secret, and the sign-in page needs them."""
    assets = load_assets()

    async def serve(scope: Scope, _receive: Receive, send: Send) -> None:
        """GET /static/{name}: 200 with the file, or 304."""
        found = assets.get(scope["asepsis.path_params"]["name"])
        if found is None:
            raise NotFound("there is no such file")
        tag = f'"{found.hash}"'.encode()
        current = scope["query_string"] == f"v={found.hash}".encode()
        headers = [(b"etag", tag), (b"cache-control", FOREVER if current else ASK_AGAIN)]
        if header(scope, b"if-none-match") == tag:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await answer(send, 200, found.body, media=found.media.encode(), headers=headers)

    return Route("GET", PATH, serve, Action.SIGN_IN)
