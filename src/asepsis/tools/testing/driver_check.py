"""What every driver must pass, with its peer: `asepsis driver check`, and one test per driver.

No crash on any bytes, bounded answers and memory, every declared metric mapped with a unit that
fits, silence noticed, recovery after silence and after a restart of the device, no number where
the device has none. A check says what it found in one sentence; a driver that passes has none.
"""

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from asepsis.core.errors import ContentMismatch
from asepsis.core.mapping import nomenclature
from asepsis.edge.gateway.drivers.sdk import (
    CONDITIONS_MAX,
    OUTPUTS_MAX,
    SAMPLES_MAX,
    SEND_BYTES_MAX,
    TICK_NS,
    VALUES_MAX,
    Conditions,
    Driver,
    Linked,
    Output,
    Samples,
    Send,
    Transport,
    Unlinked,
    Values,
)
from asepsis.tools.testing.scripted_peer import Conversation, Peer

ROUNDS: Final = 600
SETTLED_S: Final = 8.0
MEMORY_BYTES_MAX: Final = 4 << 20
KEY_CHARS_MAX: Final = 64
TEXT_CHARS_MAX: Final = 120
START_NS: Final = 1_000_000_000
SERIAL_CHUNK: Final = 64


@dataclass(frozen=True, slots=True)
class Failing:
    """One thing that a driver does not do.

    Attributes:
        check: Name of the check.
        why: One sentence.
    """

    check: str
    why: str


PeerMaker = Callable[[], Peer]


def check_driver(driver: Driver, make_peer: PeerMaker, *, rng: Random) -> Sequence[Failing]:
    """Run every check; return what fails, nothing for a driver that conforms.

    Args:
        driver: Whom to check.
        make_peer: Makes a device that measures at least one value.
        rng: Source of hostile bytes; the same seed makes the same ones.
    """
    found: list[Failing] = []
    for check in (_describes, _maps):
        found += [Failing(check.__name__.strip("_"), why) for why in check(driver)]
    for talk in (_measures, _notices_silence, _recovers):
        found += [Failing(talk.__name__.strip("_"), why) for why in talk(driver, make_peer)]
    found += [Failing("endures", why) for why in _endures(driver, make_peer, rng)]
    return found


def _describes(driver: Driver) -> Iterator[str]:
    """Name, document, edition and what was never seen stand in the driver."""
    for field in ("name", "title", "document", "edition", "unverified"):
        if not getattr(driver, field).strip():
            yield f"{field} is empty"
    if driver.transport is Transport.UDP and not driver.port:
        yield "a driver over datagrams names the usual port of the device"
    if not 0 < driver.silence_s <= 10:
        yield "silence must be noticed within 10 s"


def _maps(driver: Driver) -> Iterator[str]:
    """Every declared metric has a code of the nomenclature and a unit that fits."""
    for what, table in (("metric", driver.metrics), ("waveform", driver.waveforms)):
        for key, metric in table.items():
            try:
                checked = nomenclature.check_unit(metric.code, metric.unit)
            except ContentMismatch as error:
                yield f"{what} {key:#x}: {error}"
                continue
            if not checked and not nomenclature.is_private(metric.code):
                yield f"{what} {key:#x}: code {metric.code} or unit {metric.unit} is not known"
    for key, event in driver.events.items():
        if event.code not in nomenclature.EVENTS_BY_CODE:
            yield f"event {key:#x}: code {event.code} is not known"


def _measures(driver: Driver, make_peer: PeerMaker) -> Iterator[str]:
    """It links, and tells values with unique meaning, each with a code and a unit."""
    talk = Conversation(driver.make(), make_peer())
    talk.start()
    talk.run(SETTLED_S)
    if not talk.hear(Linked):
        yield "it does not link to its peer"
    values = [value for told in talk.hear(Values) for value in told.values]
    if not values:
        yield "it tells no value"
    declared = {metric.code for metric in driver.metrics.values()}
    for value in values:
        known = value.code in declared or nomenclature.is_private(value.code)
        if not known and nomenclature.metric_of(value.code) is None:
            yield f"it tells code {value.code}, which its table does not declare"
    if driver.lists_alarms and not talk.hear(Conditions):
        yield "it never says which alarm conditions are active, not even that none is"
    first_ns = next((at for at, told in talk.told if isinstance(told, Linked)), 0)
    if any(isinstance(told, Values) and at < first_ns for at, told in talk.told):
        yield "it tells values before it is linked"


def _notices_silence(driver: Driver, make_peer: PeerMaker) -> Iterator[str]:
    """Without its peer it says once that it is lost, and tells nothing of the present."""
    talk = Conversation(driver.make(), make_peer())
    talk.start()
    talk.run(SETTLED_S)
    talk.peer, cut_ns = None, talk.now_ns
    talk.run(driver.silence_s + 3.0)
    lost = [at for at, told in talk.told if isinstance(told, Unlinked) and at > cut_ns]
    if len(lost) != 1:
        yield f"it says {len(lost)} times that it is lost after the cable was pulled"
    elif lost[0] - cut_ns > driver.silence_s * 1e9 + 2 * TICK_NS:
        yield "it notices silence later than it declares"
    after = [told for at, told in talk.told if at > cut_ns]
    if any(isinstance(told, (Values, Samples, Conditions)) for told in after):
        yield "it tells values although nobody says any"


def _recovers(driver: Driver, make_peer: PeerMaker) -> Iterator[str]:
    """It comes back after silence, and after a device that forgot it."""
    talk = Conversation(driver.make(), None)
    talk.start()
    talk.run(SETTLED_S)
    for what in ("a device that came late", "a device that was switched off and on"):
        talk.peer = make_peer()
        since_ns = talk.now_ns
        talk.run(SETTLED_S + driver.silence_s)
        if not talk.hear(Values, since_ns=since_ns + 1):
            yield f"it tells no values of {what}"
    stopped = [told for told in talk.machine.stop(talk.now_ns) if isinstance(told, Unlinked)]
    if len(stopped) != 1:
        yield "it does not say that it is unlinked when it is stopped"


def _endures(driver: Driver, make_peer: PeerMaker, rng: Random) -> Iterator[str]:
    """Any bytes at any time: it raises nothing, and what it answers and keeps is bounded."""
    recorded = _recorded(driver, make_peer)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for linked in (False, True):
            talk = Conversation(driver.make(), make_peer() if linked else None)
            talk.start()
            talk.run(SETTLED_S / 2)
            for data in _hostile(recorded, rng):
                talk.now_ns += TICK_NS // 10
                yield from _bounded(talk.machine.receive(data, talk.now_ns))
                yield from _bounded(talk.machine.tick(talk.now_ns))
            talk.told.clear()
            if tracemalloc.get_traced_memory()[0] - before > MEMORY_BYTES_MAX:
                yield "it keeps more than 4 MiB of what strangers send"
    finally:
        tracemalloc.stop()


def _bounded(outputs: Sequence[Output]) -> Iterator[str]:
    if len(outputs) > OUTPUTS_MAX:
        yield f"{len(outputs)} outputs of one call"
    for output in outputs:
        yield from _too_large(output)


def _too_large(output: Output) -> Iterator[str]:
    match output:
        case Send(data) if not 0 < len(data) <= SEND_BYTES_MAX:
            yield f"it sends {len(data)} bytes at once"
        case Values(values) if not 0 < len(values) <= VALUES_MAX:
            yield f"it tells {len(values)} values at once"
        case Samples() if not 0 < len(output.samples) <= SAMPLES_MAX:
            yield f"it tells {len(output.samples)} samples at once"
        case Conditions(active) if len(active) > CONDITIONS_MAX:
            yield f"it tells {len(active)} conditions at once"
        case Conditions(active):
            if any(len(c.key) > KEY_CHARS_MAX or len(c.text) > TEXT_CHARS_MAX for c in active):
                yield "a condition has a key or text that is too long"
        case _:
            return


class _Recorder:
    """A peer that keeps what another one sends."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.sent: list[bytes] = []

    def receive(self, data: bytes, now_ns: int) -> Sequence[bytes]:
        return self._keep(self._peer.receive(data, now_ns))

    def tick(self, now_ns: int) -> Sequence[bytes]:
        return self._keep(self._peer.tick(now_ns))

    def _keep(self, sent: Sequence[bytes]) -> Sequence[bytes]:
        self.sent += sent
        return sent


def _recorded(driver: Driver, make_peer: PeerMaker) -> Sequence[bytes]:
    recorder = _Recorder(make_peer())
    talk = Conversation(driver.make(), recorder)
    talk.start()
    talk.run(SETTLED_S / 2)
    return recorder.sent or [b"\0"]


def _hostile(recorded: Sequence[bytes], rng: Random) -> Iterator[bytes]:
    """Return noise, true messages cut, stretched and bent, and true ones at the wrong time."""
    for number in range(ROUNDS):
        data = bytearray(rng.choice(recorded))
        match number % 5:
            case 0:
                yield rng.randbytes(rng.randrange(2_000))
            case 1:
                yield bytes(data[: rng.randrange(len(data) + 1)])
            case 2:
                yield bytes(data) + rng.randbytes(rng.randrange(1, SERIAL_CHUNK))
            case 3:
                for _ in range(rng.randrange(1, 6)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                yield bytes(data)
            case _:
                yield bytes(data)
