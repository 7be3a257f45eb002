"""The fetcher: brings bytes from a repository over HTTP, and believes and decides nothing.

It holds no key of trust and can write only to the folder for incoming artefacts. A cut download
goes on where it ended (RFC 9110 section 14, ranges). A server that is too slow, sends too much or
sends somebody elsewhere is given up.
"""

import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote, urlsplit

from asepsis.core.errors import (
    AsepsisError,
    ConfigError,
    LimitExceeded,
    NotFound,
    TransientError,
    Unavailable,
)
from asepsis.edge.device.update.talk import PART_BYTES, Kind, fields, receive, send
from asepsis.edge.device.update_line import HubReader

TIMEOUT_S: Final = 10.0
GRACE_S: Final = 10.0
"""Time before the slowness of a transfer is judged, seconds."""
BYTES_PER_S_MIN: Final = 4_096
"""Slowest transfer that is waited for; TUF calls less a slow retrieval attack."""
ARTEFACT_BYTES_MAX: Final = 4 << 30
METADATA_BYTES_MAX: Final = 5_000_000
BUDGET_BYTES_PER_S_MIN: Final = 4 * BYTES_PER_S_MIN
"""A smaller budget would look like a server that is too slow."""
TRIES: Final = 3
"""Connections for one artefact; each goes on where the last one was cut."""
_ABSENT: Final = frozenset({403, 404})
HUB: Final = "hub"
"""Scheme of what lies at the hub of this device, and the word for it in settings."""
UPDATES: Final = "/updates/"
_PATH_SAFE: Final = "/%:@!$&'()*+,;=-._~"
_WORDS: Final[dict[type[AsepsisError], str]] = {NotFound: "missing", LimitExceeded: "too long"}


@dataclass(frozen=True, slots=True)
class Place:
    """The address of a folder of a repository.

    Attributes:
        scheme: `http` or `https`; nothing is trusted for either. Or `hub`: read by way of whoever
            has the device's connection.
        host: Name or address; empty for the hub.
        port: TCP port, or None for the scheme's own.
        path: Path, ending with a slash.
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, url: str) -> "Place":
        """Read a URL.

        Raises:
            ConfigError: Not an absolute HTTP URL.
        """
        try:
            found = urlsplit(url)
            port = found.port
        except ValueError as error:
            raise ConfigError("not a URL of a repository") from error
        path = found.path if found.path.endswith("/") else found.path + "/"
        if found.scheme == HUB and not found.netloc and path.startswith(UPDATES):
            return cls(HUB, "", None, path)
        if found.scheme not in ("http", "https") or not found.hostname:
            raise ConfigError("not a URL of a repository", hint="http://HOST[:PORT]/PATH, or hub")
        return cls(found.scheme, found.hostname, port, path)

    @property
    def default_port(self) -> int:
        """The port where none is said."""
        return self.port or (443 if self.scheme == "https" else 80)


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a repository is.

    Attributes:
        metadata: Where its metadata is.
        artefacts: Where its artefacts are, or None if none is fetched from there.
    """

    metadata: Place
    artefacts: Place | None = None


def _dial(place: Place) -> socket.socket:
    return socket.create_connection((place.host, place.default_port), TIMEOUT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Answers what a verifier asks.

    Attributes:
        repositories: Those that may be asked, by name.
        incoming: Folder for artefacts that nobody has checked.
        now_s: Monotonic seconds.
        dial: Returns a connection to the place of a repository; raises OSError or TransientError.
        context: For `https`; None for the system's own. Nothing is trusted for it.
        hub: Reads at the hub; None where nobody does.
        bytes_per_s: Bandwidth budget for artefacts; 0 for none. Metadata is small and waits for
            nothing.
        wait: Waits for seconds.
    """

    repositories: Mapping[str, Repository]
    incoming: Path
    now_s: Callable[[], float]
    dial: Callable[[Place], socket.socket] = _dial
    context: ssl.SSLContext | None = None
    hub: HubReader | None = None
    bytes_per_s: int = 0
    wait: Callable[[float], None] = time.sleep

    def serve(self, asked: IO[bytes], answers: IO[bytes]) -> dict[str, Any]:
        """Answer until the verifier says what came of it; returns that.

        Raises:
            Unavailable: The verifier ended without a word.
            FramingError: It asks for something that is not known here.
        """
        while True:
            kind, body = receive(asked)
            said = fields(body)
            if kind is Kind.RESULT:
                return said
            try:
                self._answer(kind, said, answers)
            except AsepsisError as error:
                word = next((w for c, w in _WORDS.items() if isinstance(error, c)), "unavailable")
                send(answers, Kind.END, {"status": word, "why": str(error)})
            else:
                send(answers, Kind.END, {"status": "whole"})

    def _answer(self, kind: Kind, said: dict[str, Any], answers: IO[bytes]) -> None:
        name, most = str(said["name"]), int(said["bytes"])
        found = self.repositories.get(str(said["from"]))
        if found is None:
            raise NotFound("no such repository is known here")
        if kind is Kind.METADATA:
            if most > METADATA_BYTES_MAX:
                raise LimitExceeded("the verifier asks for too much metadata")
            for part in self._parts(found.metadata, name, bytes_max=most, begin=0):
                send(answers, Kind.PART, part)
        elif kind is Kind.ARTEFACT and found.artefacts is not None:
            self._bring(found.artefacts, name, into=str(said["into"]), length=most)
        else:
            raise Unavailable("no such thing is fetched here")

    def _bring(self, place: Place, name: str, *, into: str, length: int) -> None:
        """Write an artefact into `incoming`, going on after what is there already.

        What is there whole was not taken by a verifier, so it is fetched anew.
        """
        if length > ARTEFACT_BYTES_MAX or Path(into).name != into:
            raise LimitExceeded("an artefact is too large, or named strangely")
        for left in reversed(range(TRIES)):
            try:
                return self._go_on(place, name, self.incoming / into, length=length)
            except TransientError:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _go_on(self, place: Place, name: str, path: Path, *, length: int) -> None:
        try:
            with path.open("ab") as file:
                begin = file.tell()
                if begin >= length:
                    file.truncate(0)
                    begin = 0
                began_s, came = self.now_s(), 0
                for part in self._parts(place, name, bytes_max=length, begin=begin):
                    file.write(part)
                    came += len(part)
                    self._keep_to_budget(came, began_s)
                file.flush()
                os.fsync(file.fileno())
        except AsepsisError:
            raise
        except OSError as error:
            raise Unavailable(f"nothing can be written: {error.strerror}") from error

    def _keep_to_budget(self, came: int, began_s: float) -> None:
        """Wait where an artefact comes faster than its budget: the ward's network is not ours."""
        if self.bytes_per_s:
            early_s = came / max(self.bytes_per_s, BUDGET_BYTES_PER_S_MIN) + began_s - self.now_s()
            if early_s > 0:
                self.wait(min(early_s, TIMEOUT_S / 2))

    def _parts(self, place: Place, name: str, *, bytes_max: int, begin: int) -> Iterator[bytes]:
        if place.scheme == HUB:
            if self.hub is None:
                raise Unavailable("nobody reads at the hub for this fetcher")
            path = place.path + quote(name, safe=_PATH_SAFE)
            parts = self.hub.parts(path, begin=begin, most=bytes_max)
            yield from self._watched(parts, skip=0, most=bytes_max - begin)
            return
        connection = http.client.HTTPConnection(place.host, place.port, timeout=TIMEOUT_S)
        path = place.path + quote(name, safe=_PATH_SAFE)
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        try:
            connection.sock = self._connected(place)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            skip = begin if _judge(answer.status, begin=begin) else 0
            parts = iter(partial(answer.read1, PART_BYTES), b"")
            yield from self._watched(parts, skip=skip, most=bytes_max - begin + skip)
            if answer.length:
                raise Unavailable("the repository's answer was cut")
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the repository does not answer ({type(error).__name__})") from error
        finally:
            connection.close()

    def _connected(self, place: Place) -> socket.socket:
        plain = self.dial(place)
        plain.settimeout(TIMEOUT_S)
        if place.scheme == "http":
            return plain
        context = self.context or ssl.create_default_context()
        return context.wrap_socket(plain, server_hostname=place.host)

    def _watched(self, parts: Iterable[bytes], *, skip: int, most: int) -> Iterator[bytes]:
        """Yield what comes after `skip` bytes, at most `most` in all and not too slowly."""
        began_s, came = self.now_s(), 0
        for part in parts:
            came += len(part)
            if came > most:
                raise LimitExceeded("the repository sends more than was asked for")
            wanted = part[max(0, len(part) - max(0, came - skip)) :]
            if wanted:
                yield wanted
            took_s = self.now_s() - began_s
            if took_s > GRACE_S and came < took_s * BYTES_PER_S_MIN:
                raise Unavailable("the repository is too slow")


def _judge(status: int, *, begin: int) -> bool:
    """Return whether the whole comes although only its end was asked for.

    Raises:
        NotFound: There is no such file.
        Unavailable: Anything else, redirections too: an address is configured, not followed.
    """
    if status == http.HTTPStatus.OK:
        return begin > 0
    if status == http.HTTPStatus.PARTIAL_CONTENT and begin:
        return False
    if status in _ABSENT:
        raise NotFound("the repository has no such file")
    raise Unavailable(f"the repository answers {status}")
