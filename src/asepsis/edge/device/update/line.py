"""The verifier's side of the two pipes: the fetcher as a source of metadata and artefacts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from asepsis.core.errors import (
    FramingError,
    InputError,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from asepsis.core.trust.metadata.library import TargetFile
from asepsis.core.trust.metadata.session import Session, prefixed
from asepsis.edge.device.update.keeping import Artefacts
from asepsis.edge.device.update.talk import IMAGE, Kind, fields, receive, send


@dataclass(frozen=True, slots=True)
class Line:
    """The fetcher at the other end of two pipes, as a source.

    Attributes:
        asking: To the fetcher.
        answers: From the fetcher.
        repository: Which repository is asked.
    """

    asking: IO[bytes]
    answers: IO[bytes]
    repository: str = IMAGE

    def at(self, repository: str) -> "Line":
        """Return the same line to another repository."""
        return replace(self, repository=repository)

    def metadata(self, name: str, *, bytes_max: int) -> bytes:
        """Return a metadata file; see `session.Source`."""
        send(self.asking, Kind.METADATA, self._question(name, bytes_max))
        content = bytearray()
        while (part := self._next()) is not None:
            content += part
            if len(content) > bytes_max:
                raise LimitExceeded(f"{name} is over {bytes_max} bytes")
        return bytes(content)

    def artefact(self, name: str, *, into: str, length: int) -> None:
        """Let the fetcher write an artefact into the incoming folder.

        Raises:
            NotFound: The repository has none.
            LimitExceeded: It is longer than signed.
            Unavailable: The repository does not answer.
        """
        send(self.asking, Kind.ARTEFACT, {**self._question(name, length), "into": into})
        if self._next() is not None:
            raise FramingError("the fetcher sends an artefact instead of writing it")

    def _question(self, name: str, most: int) -> dict[str, Any]:
        return {"from": self.repository, "name": name, "bytes": most}

    def _next(self) -> bytes | None:
        kind, body = receive(self.answers)
        if kind is Kind.PART:
            return body
        if kind is not Kind.END:
            raise FramingError("the fetcher says what it was not asked")
        said = fields(body)
        status, why = said.get("status"), str(said.get("why", ""))[:200]
        if status == "whole":
            return None
        if status == "missing":
            raise NotFound(why)
        if status == "too long":
            raise LimitExceeded(why)
        raise Unavailable(why)


def bring(
    target: TargetFile, *, session: Session, line: Line, incoming: Path, kept: Artefacts
) -> None:
    """Have an artefact fetched, check it and keep it; nothing is fetched that is here already.

    Raises:
        AsepsisError: As `Line.artefact` and `Artefacts.take`.
    """
    if kept.has(target):
        return
    into = incoming_name(target)
    place = prefixed(target, consistent=session.consistent)
    line.artefact(place, into=into, length=target.length)
    kept.take(incoming / into, target)


def incoming_name(target: TargetFile) -> str:
    """Return the name of an artefact that nobody checked yet.

    It is its hash, so that a resumed download never goes on in another artefact.

    Raises:
        InputError: The metadata names it by no hash in hexadecimal digits.
    """
    digest = next(iter(target.hashes.values()))
    if not (digest.isascii() and digest.isalnum() and len(digest) <= 128):
        raise InputError("an artefact is not named by a hash")
    return digest
