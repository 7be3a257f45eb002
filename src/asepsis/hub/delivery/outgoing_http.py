"""The hub as an HTTP client of destinations: one address, judged; no redirects, no proxies.

Source: RFC 9110; OWASP SSRF prevention.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from asepsis.core.errors import ConfigError, LimitExceeded, Unavailable
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One destination, at the address that was judged.

    Attributes:
        client: Connects nowhere else, and follows nothing.
        base: Scheme, judged address, port and path.
        place: Host and port as the administrator entered them.
        headers: Of every request.
        server_name: Name that the certificate must carry.
    """

    client: httpx.AsyncClient
    base: str
    place: HostPort
    headers: Mapping[str, str]
    server_name: str

    @asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str],
    ) -> AsyncGenerator[httpx.Response]:
        """Send one request and give its answer, whose body is not read yet.

        Args:
            method: Such as `POST`.
            path: Added to the address's own.
            content: Body; None for none.
            headers: Beside those of every request.

        Raises:
            Unavailable: No answer; a redirect, which is never followed; or one of `_PASSING`, 5xx.
        """
        try:
            request = self.client.build_request(
                method,
                self.base + path,
                content=content,
                headers={**self.headers, **headers},
                extensions={"sni_hostname": self.server_name},
            )
            answer = await self.client.send(request, stream=True)
            try:
                _judged(answer.status_code)
                yield answer
            finally:
                await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            raise Unavailable(
                f"no answer from {self.place.host} ({type(error).__name__})"
            ) from error


class HttpOut:
    """Speaks to destinations.

    Args:
        dialer: Judges addresses.
        context: Makes TLS contexts.
    """

    def __init__(self, dialer: Dialer, context: Callable[[Options], ssl.SSLContext]) -> None:
        self._dialer = dialer
        self._context = context

    @asynccontextmanager
    async def bound(self, destination: Destination) -> AsyncGenerator[Bound]:
        """Resolve a destination once, judge it, and speak to that address until the end.

        Raises:
            Unavailable: The name does not resolve now.
            NotPermitted: The address is one that no destination may be.
            ConfigError: The address is no URL.
        """
        options = destination.options
        url = Url.parse(destination.address, local=options.local)
        address = (await self._dialer.addresses(url.place, local=options.local))[0]
        shown = f"[{address}]" if ":" in address else address
        async with httpx.AsyncClient(
            verify=self._context(options) if url.scheme == "https" else True,
            follow_redirects=False,
            trust_env=False,
            timeout=options.answer_s,
        ) as client:
            token = {"Authorization": f"Bearer {options.bearer}"} if options.bearer else {}
            yield Bound(
                client=client,
                base=f"{url.scheme}://{shown}:{url.place.port}{url.path}",
                place=url.place,
                headers={"Host": f"{url.place.host}:{url.place.port}", **token},
                server_name=options.server_name or url.place.host,
            )

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
            Unavailable: As `Bound.send`.
            NotPermitted: The address is one that no destination may be.
            ConfigError: The address is no URL.
        """
        headers = {"Content-Type": media, "Accept": "application/fhir+json"}
        async with (
            self.bound(destination) as there,
            there.send("POST", path, content=body, headers=headers) as answer,
        ):
            return answer.status_code, await first_words(answer)


async def read_bounded(answer: httpx.Response, *, bytes_max: int) -> bytes:
    """Return the body of an answer.

    Raises:
        LimitExceeded: It is longer than `bytes_max`.
        Unavailable: The connection ended within it.
    """
    found = bytearray()
    try:
        async for part in answer.aiter_bytes(65_536):
            found += part
            if len(found) > bytes_max:
                raise LimitExceeded("the answer of the destination is too long")
    except httpx.HTTPError as error:
        raise Unavailable(f"the answer ended early ({type(error).__name__})") from error
    return bytes(found)


async def first_words(answer: httpx.Response) -> str:
    """Return the first words of an answer; the rest is not read."""
    found = b""
    async for part in answer.aiter_raw(4_096):
        found += part
        if len(found) >= ANSWER_BYTES_MAX:
            break
    return found.decode("utf-8", "replace")[:TEXT_CHARS_MAX]


def _judged(status: int) -> None:
    if 300 <= status < 400:
        raise Unavailable(f"the destination answers {status}: a redirect is never followed")
    if status in _PASSING or status >= 500:
        raise Unavailable(f"the destination answers {status}")
