"""The two lines between the fetcher of updates, which has no key, and the network compartment.

A question is one JSON object of fixed form: a path below `/updates/`, from which byte on, and how
many bytes at most. An answer is messages of one letter and a body: parts, then an end that says
what came of it. Neither side believes the other: the fetcher may be owned by a server that it
asked, and the network compartment is expected to be broken into.
"""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import (
    AsepsisError,
    FramingError,
    LimitExceeded,
    NotFound,
    Unavailable,
)

ASKED, BROUGHT = "update-asked", "update-brought"
"""Names of the lines."""
ASKED_BYTES_MAX: Final = 1_024
BROUGHT_BYTES_MAX: Final = 4_096
PART_BYTES: Final = BROUGHT_BYTES_MAX - 1
PART, END = b"P", b"E"
WHOLE, MISSING, TOO_LONG, UNAVAILABLE = "whole", "missing", "too-long", "unavailable"
WAIT_S: Final = 40.0
"""Longest wait for the next message, seconds: live data goes first, and a hub may be slow."""
METADATA_BYTES_MAX: Final = 5_000_000
ARTEFACT_BYTES_MAX: Final = 4 << 30
_NAME: Final = r"[0-9A-Za-z][0-9A-Za-z._+~%-]{0,250}"
_TARGET: Final = re.compile(rf"/updates/images/{_NAME}/targets/{_NAME}/{_NAME}")
_METADATA: Final = re.compile(
    rf"/updates/(?:director/(?:authorisations/)?{_NAME}"
    rf"|images/{_NAME}/metadata/(?:documents/)?{_NAME})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the fetcher wants read.

    Attributes:
        path: One of the routes for releases; there is no other.
        begin: First byte, from 0; metadata is read whole.
        most: Bytes at most, up to `ARTEFACT_BYTES_MAX` of an artefact and `METADATA_BYTES_MAX`
            of anything else.
    """

    path: str
    begin: int
    most: int

    @property
    def artefact(self) -> bool:
        """Whether it is an artefact, which is read in pieces."""
        return bool(_TARGET.fullmatch(self.path))


def read_asked(message: bytes) -> Asked:
    """Read a question; whoever asks may be anybody.

    Raises:
        FramingError: Another form, or a path that is not a route for releases.
        LimitExceeded: It asks for more than is ever read.
    """
    try:
        said = cast("dict[str, Any]", json.loads(message[:ASKED_BYTES_MAX]))
        path, begin, most = said["path"], said["begin"], said["most"]
        known = said.keys() == {"path", "begin", "most"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FramingError("not a question of a fetcher") from error
    if not known or not isinstance(path, str) or type(begin) is not int or type(most) is not int:
        raise FramingError("not a question of a fetcher")
    asked = Asked(path=path, begin=begin, most=most)
    if ".." in path or not (asked.artefact or _METADATA.fullmatch(path)):
        raise FramingError("a fetcher asks for something else than releases")
    limit = ARTEFACT_BYTES_MAX if asked.artefact else METADATA_BYTES_MAX
    if not 0 <= begin < most <= limit or (begin and not asked.artefact):
        raise LimitExceeded("a fetcher asks for more than is ever read")
    return asked


class HubReader:
    """The fetcher's side: reads at the hub by way of whoever has the device's connection.

    Args:
        asking: Sends questions; owned from now on.
        brought: Receives answers; owned from now on.

    Resource handling: holds both lines until `close`.
    """

    def __init__(self, asking: socket.socket, brought: socket.socket) -> None:
        for line in (asking, brought):
            line.settimeout(WAIT_S)
        self._asking, self._brought = asking, brought
        self._broken = False

    def parts(self, path: str, *, begin: int, most: int) -> Iterator[bytes]:
        """Yield what lies at a path from a byte on.

        Args:
            path: Below `/updates/`.
            begin: First byte.
            most: Length at most, from the first byte of the file on.

        Raises:
            NotFound: The hub has no such file.
            LimitExceeded: It is longer.
            Unavailable: The hub, or the way to it, does not answer.
            FramingError: The answer is none.
        """
        if self._broken:  # What comes now may still belong to the question before.
            raise Unavailable("the way to the hub was cut")
        question = json.dumps({"path": path, "begin": begin, "most": most}).encode()
        self._broken = True
        try:
            self._asking.send(question)
            while (part := self._next()) is not None:
                yield part
        except OSError as error:
            raise Unavailable("the way to the hub is cut") from error

    def close(self) -> None:
        """Let go of the lines; who carries hears that the contact is over."""
        self._asking.close()
        self._brought.close()

    def _next(self) -> bytes | None:
        message = self._brought.recv(BROUGHT_BYTES_MAX + 1)
        kind, body = message[:1], message[1:]
        if kind == PART and len(message) <= BROUGHT_BYTES_MAX:
            return body
        if kind != END:
            raise Unavailable("the way to the hub is cut")
        self._broken = False
        found = _ended(body)
        if found is not None:
            raise found
        return None


def _ended(body: bytes) -> AsepsisError | None:
    try:
        said = cast("dict[str, Any]", json.loads(body))
        status, why = str(said["status"]), str(said["why"])[:200]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FramingError("not an answer to a fetcher") from error
    if status == WHOLE:
        return None
    if status == MISSING:
        return NotFound(why)
    return LimitExceeded(why) if status == TOO_LONG else Unavailable(why)


def end(status: str, why: str = "") -> bytes:
    """Return the message that ends an answer."""
    return END + json.dumps({"status": status, "why": why[:200]}).encode()
