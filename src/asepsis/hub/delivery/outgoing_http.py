"""The hub as an HTTP client of destinations: one address, judged; no redirects, no proxies.

Source: RFC 9110; OWASP SSRF prevention.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.hub.delivery.dialer import Dialer, HostPort
from asepsis.hub.delivery.model import Destination, Options

ANSWER_BYTES_MAX: Final = 65_536
TEXT_CHARS_MAX: Final = 300
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_PASSING: Final = frozenset({401, 403, 408, 425, 429})
"""A person or time repairs these; the item is not at fault."""


@dataclass(frozen=True, slots=True)
class Url:
    """Where a destination takes requests.

    Attributes:
        scheme: `https`, or `http` for a destination with the local flag.
        place: Host and port.
        path: Path, without a slash at the end.
    """

    scheme: str
    place: HostPort
    path: str

    @classmethod
    def parse(cls, text: str, *, local: bool) -> "Url":
        """Read an absolute URL without user, query and fragment.

        Raises:
            ConfigError: It is none, or is not HTTPS.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise ConfigError("the address is no URL") from error
        extra = parts.username or parts.password or parts.query or parts.fragment
        if extra or not parts.hostname or not port or not text.isascii():
            raise ConfigError("the address is a URL of host and path only")
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise ConfigError("the address is no https:// URL", hint="clear text needs --local")
        return cls(parts.scheme, HostPort(parts.hostname, port), parts.path.rstrip("/"))


class HttpOut:
    """Posts to destinations.

    Args:
        dialer: Judges addresses.
        context: Makes TLS contexts.
    """

    def __init__(self, dialer: Dialer, context: Callable[[Options], ssl.SSLContext]) -> None:
        self._dialer = dialer
        self._context = context

    async def post(
        self, destination: Destination, body: bytes, *, media: str, path: str = ""
    ) -> tuple[int, str]:
        """Send one request and return status and the first words of the answer.

        Args:
            destination: Whose address.
            body: What to send.
            media: Its type.
            path: Added to the address's own.

        Raises:
            Unavailable: No answer; a redirect, which is never followed; or one of `_PASSING`, 5xx.
            NotPermitted: The address is one that no destination may be.
            ConfigError: The address is no URL.
        """
        options = destination.options
        url = Url.parse(destination.address, local=options.local)
        address = (await self._dialer.addresses(url.place, local=options.local))[0]
        shown = f"[{address}]" if ":" in address else address
        headers: Mapping[str, str] = {
            "Host": f"{url.place.host}:{url.place.port}",
            "Content-Type": media,
            "Accept": "application/fhir+json",
            **({"Authorization": f"Bearer {options.bearer}"} if options.bearer else {}),
        }
        try:
            async with httpx.AsyncClient(
                verify=self._context(options) if url.scheme == "https" else True,
                follow_redirects=False,
                trust_env=False,
                timeout=options.answer_s,
            ) as client:
                request = client.build_request(
                    "POST",
                    f"{url.scheme}://{shown}:{url.place.port}{url.path}{path}",
                    content=body,
                    headers=headers,
                    extensions={"sni_hostname": options.server_name or url.place.host},
                )
                answer = await client.send(request, stream=True)
                text = await _first(answer)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            raise Unavailable(
                f"no answer from {url.place.host} ({type(error).__name__})"
            ) from error
        return _judged(answer.status_code), text


async def _first(answer: httpx.Response) -> str:
    """Return the first words of an answer; the rest is not read."""
    found = b""
    try:
        async for part in answer.aiter_raw(4_096):
            found += part
            if len(found) >= ANSWER_BYTES_MAX:
                break
    finally:
        await answer.aclose()
    return found.decode("utf-8", "replace")[:TEXT_CHARS_MAX]


def _judged(status: int) -> int:
    if 300 <= status < 400:
        raise Unavailable(f"the destination answers {status}: a redirect is never followed")
    if status in _PASSING or status >= 500:
        raise Unavailable(f"the destination answers {status}")
    return status
