"""What somebody does who has broken into a network compartment. Runs in there, nowhere else.

The supervisor of a demonstration puts this file, as text, before the compartment's own code, behind
the attacks of `asepsis device attack`: the intruder then holds all that the compartment holds
(memory, descriptors, folder, TLS key, connected sockets) and no more, because every right was given
up before the first line below is called. Each attempt touches only the device of the demonstration.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from asepsis.core.model.clinical import ClinicalState
from asepsis.core.wire import origin
from asepsis.edge.device import network
from asepsis.edge.device.signing import Signed
from asepsis.tools.attack.payload import TARGETS, attempt
from asepsis.tools.attack.payload_held import ATTACKS as ON_WHAT_IT_HOLDS
from asepsis.tools.attack.payload_system import ATTACKS as ON_THE_SYSTEM

HONEST: Final = 3
"""Batches that it lets pass before it forges; it keeps them for the replay."""
FORGERIES: Final = (
    "change a value",
    "claim that nobody is attached",
    "replay the last three seconds",
)
DONE: Final = "done"
SENT: Final = "sent"


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
        attacks = {**ON_THE_SYSTEM, **ON_WHAT_IT_HOLDS}
        for name in TARGETS["attacks"]:
            self._line.report("attack", name=name, outcome=attempt(attacks[name], self))
        if not TARGETS["forge"]:
            self._line.report("attack", name=DONE, outcome="")
        super().run()

    def _forward(self, number: int, payload: bytes) -> None:
        if payload[0] != Signed.BATCH or not TARGETS["forge"]:
            super()._forward(number, payload)
            return
        self._seen += 1
        if self._seen <= HONEST:
            self._kept.append((number, payload))
            super()._forward(number, payload)
        elif self._seen == HONEST + 1:
            self._forge(number, payload, FORGERIES[0], other_value)
        elif self._seen == HONEST + 2:
            self._forge(number, payload, FORGERIES[1], idle)
        else:
            self._replay()
            super()._forward(number, payload)

    def _forge(
        self, number: int, payload: bytes, what: str, change: Callable[[origin.OriginBatch], bytes]
    ) -> None:
        batch = origin.decode_batch(payload[1:])
        forged = origin.attach_signature(change(batch), batch.signature)
        self._line.report("attack", name=what, outcome=SENT, sequence=batch.sequence)
        super()._forward(number, payload[:1] + forged)

    def _replay(self) -> None:
        if not self._kept:
            return
        for number, payload in self._kept:
            super()._forward(number, payload)
        self._kept.clear()
        self._line.report("attack", name=FORGERIES[2], outcome=SENT)
        self._line.report("attack", name=DONE, outcome="")


network.Network = Intruder
