"""The verifier: one shot, no network; the only process of a device that loads `cryptography`.

`python -m asepsis.edge.device.update.verifying` reads its order from standard input, asks the
fetcher through standard output, and ends with what came of it. Before the first byte of a stranger
is read it gives up everything but its own folders: no socket can be made, nothing is executed, no
other file opened.
"""

import contextlib
import ctypes
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from asepsis.core.errors import (
    AsepsisError,
    FramingError,
    InputError,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.library import CryptoSigner, Metadata, TargetFile, Timestamp
from asepsis.core.trust.metadata.session import Session, prefixed
from asepsis.edge.device.update.keeping import Artefacts, FolderStore
from asepsis.edge.device.update.talk import Kind, fields, receive, send
from asepsis.edge.sandbox import landlock, seccomp
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.seccomp import SyscallClass

MEMORY_MIB: Final = 1_024
FILES: Final = 32
FILE_MIB: Final = 4_096
NAMES_MAX: Final = 64
_REHEARSED: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Order:
    """What the supervisor wants.

    Attributes:
        metadata: Folder of trusted metadata; holds a root.
        artefacts: Folder for checked artefacts; None to refresh only.
        incoming: Folder of what the fetcher wrote.
        names: Target paths, in order.
        now: Trusted time.
    """

    metadata: Path
    artefacts: Path | None
    incoming: Path
    names: tuple[str, ...]
    now: datetime

    @classmethod
    def parse(cls, body: bytes) -> "Order":
        """Read an order.

        Raises:
            FramingError: Not one.
        """
        said = fields(body)
        try:
            artefacts = said["artefacts"]
            return cls(
                metadata=Path(said["metadata"]),
                artefacts=None if artefacts is None else Path(artefacts),
                incoming=Path(said["incoming"]),
                names=tuple(map(str, said["names"]))[:NAMES_MAX],
                now=datetime.fromtimestamp(int(said["now_s"]), UTC),
            )
        except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            raise FramingError("not an order for the verifier") from error


@dataclass(frozen=True, slots=True)
class Line:
    """The fetcher at the other end of two pipes, as a source.

    Attributes:
        asking: To the fetcher.
        answers: From the fetcher.
    """

    asking: IO[bytes]
    answers: IO[bytes]

    def metadata(self, name: str, *, bytes_max: int) -> bytes:
        """Return a metadata file; see `session.Source`."""
        send(self.asking, Kind.METADATA, {"name": name, "bytes": bytes_max})
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
        send(self.asking, Kind.ARTEFACT, {"name": name, "bytes": length, "into": into})
        if self._next() is not None:
            raise FramingError("the fetcher sends an artefact instead of writing it")

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


def fulfil(order: Order, line: Line) -> list[str]:
    """Refresh, then take every artefact that is wanted; returns the files.

    Raises:
        NotFound: No trusted role names an artefact.
        AsepsisError: As `Session.refresh` and `Artefacts.take`.
    """
    session = Session(store=FolderStore(order.metadata), source=line, now=order.now)
    session.refresh()
    if order.artefacts is None:
        return []
    return [
        str(_take(order, session, line, name, Artefacts(order.artefacts))) for name in order.names
    ]


def _take(order: Order, session: Session, line: Line, name: str, kept: Artefacts) -> str:
    target = session.find(name)
    if target is None:
        raise NotFound("no trusted role names that artefact")
    if not kept.has(target):
        into = incoming_name(target)
        place = prefixed(target, consistent=session.consistent)
        line.artefact(place, into=into, length=target.length)
        kept.take(order.incoming / into, target)
    return name


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


def rehearse() -> None:
    """Sign and check once, so that everything is loaded that will be needed later."""
    key = CryptoSigner.generate_ecdsa()
    metadata = Metadata(Timestamp(expires=_REHEARSED))
    metadata.sign(key)
    with translated("the rehearsal"):
        again = Metadata[Timestamp].from_bytes(metadata.to_bytes())
        key.public_key.verify_signature(again.signatures[key.public_key.keyid], again.signed_bytes)
    with contextlib.suppress(OSError):  # Loaded when a thread ends; nothing can be loaded later.
        ctypes.CDLL("libgcc_s.so.1")


def give_up(order: Order) -> None:
    """Take everything away from this process but its own folders.

    Raises:
        ConfigError: A layer that holds here does not take hold now.
    """
    layers = {Layer.NO_NEW_PRIVILEGES, Layer.LIMITS}
    if landlock.abi():
        layers.add(Layer.LANDLOCK)
    if seccomp.available():
        layers.add(Layer.SECCOMP)
    own = [order.metadata] if order.artefacts is None else [order.metadata, order.artefacts]
    confine(
        Confinement(
            layers=frozenset(layers),
            kind=SyscallClass.NETWORK,
            readable=(order.incoming,),
            writable=tuple(own),
            limits=Limits(memory_mib=MEMORY_MIB, files=FILES, file_mib=FILE_MIB),
        )
    )


def main() -> None:
    """Fulfil one order and say what came of it."""
    line = Line(asking=sys.stdout.buffer, answers=sys.stdin.buffer)
    result: dict[str, Any]
    try:
        kind, body = receive(line.answers)
        if kind is not Kind.ORDER:
            raise FramingError("the verifier begins with an order")
        order = Order.parse(body)
        rehearse()
        give_up(order)
        result = {"done": True, "files": fulfil(order, line)}
    except AsepsisError as error:
        result = {"done": False, "code": error.code, "why": str(error)[:500]}
    send(line.asking, Kind.RESULT, result)


if __name__ == "__main__":
    main()
