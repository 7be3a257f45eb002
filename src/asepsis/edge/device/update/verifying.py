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
from typing import Any, Final

from asepsis.core.errors import (
    AsepsisError,
    FramingError,
    NotFound,
    Unavailable,
)
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.library import CryptoSigner, Metadata, Timestamp
from asepsis.core.trust.metadata.session import Session
from asepsis.edge.device.update import assigned
from asepsis.edge.device.update.keeping import Artefacts, FolderStore
from asepsis.edge.device.update.line import Line, bring
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
    kept = Artefacts(order.artefacts)
    for name in order.names:
        target = session.find(name)
        if target is None:
            raise NotFound("no trusted role names that artefact")
        bring(target, session=session, line=line, incoming=order.incoming, kept=kept)
    return list(order.names)


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


def give_up(*, readable: Path, writable: tuple[Path, ...]) -> None:
    """Take everything away from this process but its own folders.

    Raises:
        ConfigError: A layer that holds here does not take hold now.
    """
    layers = {Layer.NO_NEW_PRIVILEGES, Layer.LIMITS}
    if landlock.abi():
        layers.add(Layer.LANDLOCK)
    if seccomp.available():
        layers.add(Layer.SECCOMP)
    confine(
        Confinement(
            layers=frozenset(layers),
            kind=SyscallClass.NETWORK,
            readable=(readable,),
            writable=writable,
            limits=Limits(memory_mib=MEMORY_MIB, files=FILES, file_mib=FILE_MIB),
        )
    )


def _obey(kind: Kind, body: bytes, line: Line) -> list[str]:
    if kind is Kind.ORDER:
        order = Order.parse(body)
        kept = () if order.artefacts is None else (order.artefacts,)
        give_up(readable=order.incoming, writable=(order.metadata, *kept))
        return fulfil(order, line)
    if kind is Kind.ASSIGNMENTS:
        wanted = assigned.Order.parse(body)
        give_up(readable=wanted.incoming, writable=(wanted.folder,))
        return assigned.fulfil(wanted, line)
    raise FramingError("the verifier begins with an order")


def main() -> None:
    """Fulfil one order and say what came of it.

    Where the command line names a descriptor, the supervisor hears it there: the fetcher at the
    other end of the pipe may be somebody else's by now.
    """
    line = Line(asking=sys.stdout.buffer, answers=sys.stdin.buffer)
    result: dict[str, Any]
    try:
        kind, body = receive(line.answers)
        rehearse()
        result = {"done": True, "files": _obey(kind, body, line)}
    except AsepsisError as error:
        result = {"done": False, "code": error.code, "why": str(error)[:500]}
    if len(sys.argv) > 1:
        with open(int(sys.argv[1]), "wb") as supervisor:  # noqa: PTH123 - a descriptor
            send(supervisor, Kind.RESULT, result)
    with contextlib.suppress(Unavailable):  # The fetcher may have gone first.
        send(line.asking, Kind.RESULT, result)


if __name__ == "__main__":
    main()
