"""What somebody does who has broken into a network compartment. Runs in there, nowhere else.

The supervisor of a demonstration puts this file, as text, before the compartment's own code: the
intruder then holds all that the compartment holds (memory, descriptors, folder, TLS key, connected
sockets) and no more, because every right was given up before the first line below is called.

It uses nothing but the standard library, `asepsis.core` and `asepsis.edge`, and each attempt
touches only the device of the demonstration.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asepsis.core.model.clinical import ClinicalState
from asepsis.core.wire import origin
from asepsis.edge.device import network
from asepsis.edge.device.signing import Signed

HONEST: Final = 3
"""Batches that it lets pass before it forges; it keeps them for the replay."""
SUCCEEDED: Final = "SUCCEEDED"


def attempt(attack: Callable[[], object]) -> str:
    """Return what an attempt came to."""
    try:
        attack()
    except OSError as error:
        return f"denied ({type(error).__name__})"
    return SUCCEEDED


def new_socket() -> None:
    """Make a socket, to talk to somebody else than the hub."""
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def origin_key() -> None:
    """Read the key that signs, where it would lie beside the compartment's own folder."""
    places = [Path("/state/../origin.key"), Path("/state/origin.key"), *_parents()]
    for place in places[:-1]:
        try:
            place.read_bytes()
        except OSError:
            continue
        return
    places[-1].read_bytes()


def _parents() -> list[Path]:
    folder = Path(f"/proc/{os.getppid()}/cwd")
    return [folder / "origin.key", Path("/proc/1/root/origin.key")]


def shell() -> None:
    """Start a program."""
    os.execv("/bin/sh", ["sh", "-c", "true"])  # noqa: S606 - it is an attack


def write_ring() -> None:
    """Change what the origin compartment has signed, in the memory file it was read from."""
    rings = [number for number in range(3, 64) if _is_ring(number)]
    if not rings:
        raise PermissionError("no descriptor of a ring is left")
    for number in rings:
        os.pwrite(number, b"forged", 4_096)


def _is_ring(number: int) -> bool:
    try:
        return os.fstat(number).st_size > 1 << 20
    except OSError:
        return False


BREAK_OUT: Final = {
    "make a socket": new_socket,
    "read the signing key": origin_key,
    "start a program": shell,
    "write the ring": write_ring,
}


def other_value(batch: origin.OriginBatch) -> bytes:
    """Return the batch with another first value."""
    first, *others = batch.numerics()
    return origin.encode_batch(
        batch.header,
        numerics=[replace(first, value=first.value ^ 1), *others],
        alarms=batch.alarm_events,
        digests=batch.waveform_digests(),
    )


def idle(batch: origin.OriginBatch) -> bytes:
    """Return the batch of a device that is not in use."""
    return origin.encode_batch(
        replace(batch.header, clinical_state=ClinicalState.IDLE),
        numerics=batch.numerics(),
        alarms=batch.alarm_events,
        digests=batch.waveform_digests(),
    )


class Intruder(network.Network):
    """A network compartment that forwards nothing as it is told to."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._kept: list[tuple[int, bytes]] = []
        self._seen = 0

    def run(self) -> None:
        """Try to break out, then forward like an enemy."""
        for name, attack in BREAK_OUT.items():
            self._line.report("attack", name=name, outcome=attempt(attack))
        super().run()

    def _forward(self, number: int, payload: bytes) -> None:
        if payload[0] != Signed.BATCH:
            super()._forward(number, payload)
            return
        self._seen += 1
        if self._seen <= HONEST:
            self._kept.append((number, payload))
            super()._forward(number, payload)
        elif self._seen == HONEST + 1:
            self._forge(number, payload, "change a value", other_value)
        elif self._seen == HONEST + 2:
            self._forge(number, payload, "claim that nobody is attached", idle)
        else:
            self._replay()
            super()._forward(number, payload)

    def _forge(
        self, number: int, payload: bytes, what: str, change: Callable[[origin.OriginBatch], bytes]
    ) -> None:
        batch = origin.decode_batch(payload[1:])
        forged = origin.attach_signature(change(batch), batch.signature)
        self._line.report("attack", name=what, outcome="sent", sequence=batch.sequence)
        super()._forward(number, payload[:1] + forged)

    def _replay(self) -> None:
        if not self._kept:
            return
        for number, payload in self._kept:
            super()._forward(number, payload)
        self._kept.clear()
        self._line.report("attack", name="replay the last three seconds", outcome="sent")
        self._line.report("attack", name="done", outcome="")


network.Network = Intruder
