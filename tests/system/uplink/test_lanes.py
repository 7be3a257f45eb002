"""A device's lanes against a hub that refuses, stalls and comes back."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asepsis.core import errors
from asepsis.edge.uplink import lanes
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.drain import Drain
from asepsis.edge.uplink.lanes import LaneRule, LiveLane
from asepsis.edge.uplink.outgoing import Fate, InFlight, Outgoing
from asepsis.edge.uplink.spool import Spool

BATCH = "application/vnd.asepsis.origin-batch"
ACKED, LATE, SPOOLED = Fate.ACKNOWLEDGED, Fate.ACKNOWLEDGED_LATE, Fate.SPOOLED
FINAL = (errors.InputError, errors.LimitExceeded, errors.UnsupportedMedia, errors.ContentMismatch)
Start = Callable[..., LiveLane]


def record(sequence: int, *, size: int = 0) -> Outgoing:
    return Outgoing(BATCH, 1, sequence, b"%04d" % sequence + bytes(size))


@pytest.fixture
def start(hub: Any, spool: Spool, fates: Any) -> Iterator[Start]:
    """Return a function that starts a live lane; it ends with the test."""
    started: list[LiveLane] = []

    def start_(*, run: bool = True, **changes: Any) -> LiveLane:
        settings: dict[str, Any] = {
            "connect": hub.connect,
            "spool": spool,
            "in_flight": InFlight(),
            "backoff": Backoff(rng=random.Random(1), first_s=0.01, cap_s=0.05),
            "report": fates,
        }
        started.append(LiveLane("origin", **(settings | changes)))
        if run:
            started[-1].start()
        return started[-1]

    yield start_
    for lane in started:
        lane.close()
        if lane.ident is not None:
            lane.join(20)
            assert not lane.is_alive()


def test_records_go_in_order_over_one_connection(start: Start, hub: Any, fates: Any) -> None:
    lane = start()
    for n in range(1, 21):
        lane.offer(record(n))
    assert fates.wait(20) == [(b"%04d" % n, ACKED) for n in range(1, 21)]
    assert hub.bodies("/origin") == [b"%04d" % n for n in range(1, 21)]
    assert {request.media_type for request in hub.got} == {BATCH}
    assert lane.reachable.is_set()
    assert not lane.refused.is_set()


@pytest.mark.parametrize("kind", FINAL, ids=lambda kind: kind.code)
def test_what_is_final_is_not_sent_again_and_blocks_nobody(
    start: Start, hub: Any, fates: Any, spool: Spool, kind: type[errors.AsepsisError]
) -> None:
    """Goal: REQ-ERR-004."""
    hub.script = lambda request: kind("no") if request.body == b"0001" else None
    lane = start()
    lane.offer(record(1))
    lane.offer(record(2))
    assert fates.wait(2) == [(b"0001", Fate.REFUSED), (b"0002", ACKED)]
    assert spool.peek() == []
    assert hub.bodies("/origin") == [b"0001", b"0002"]


@pytest.mark.parametrize("kind", [errors.ChainBroken, errors.SignatureInvalid])
def test_a_refused_signature_is_final_too(
    start: Start, hub: Any, fates: Any, kind: type[errors.AsepsisError]
) -> None:
    hub.script = lambda request: kind("no") if request.body == b"0001" else None
    lane = start()
    lane.offer(record(1))
    lane.offer(record(2))
    assert fates.wait(2) == [(b"0001", Fate.REFUSED), (b"0002", ACKED)]
    assert not lane.refused.is_set()


def test_what_is_too_old_for_a_live_lane_becomes_late_data(
    start: Start, hub: Any, fates: Any, spool: Spool
) -> None:
    hub.script = lambda request: errors.Conflict("too old") if request.body == b"0001" else None
    lane = start()
    lane.offer(record(1))
    lane.offer(record(2))
    assert fates.wait(2) == [(b"0001", SPOOLED), (b"0002", ACKED)]
    assert [waiting.body for waiting in spool.peek()] == [b"0001"]


@pytest.mark.parametrize(
    "kind", [errors.BackPressure, errors.RateLimited, errors.Unavailable, errors.AsepsisError]
)
def test_without_an_acknowledgement_nothing_is_lost(
    start: Start, hub: Any, fates: Any, spool: Spool, kind: type[errors.AsepsisError]
) -> None:
    """Goal: REQ-ERR-005; a fault of the hub (500) counts as no answer."""
    hub.script = lambda request: kind("later") if request.body == b"0001" else None
    lane = start()
    lane.offer(record(1))
    assert fates.wait(1) == [(b"0001", SPOOLED)]
    assert not lane.reachable.is_set()
    assert [waiting.body for waiting in spool.peek()] == [b"0001"]
    lane.offer(record(2))
    assert fates.wait(2)[1] == (b"0002", ACKED)
    assert lane.reachable.is_set()


def test_an_alarm_event_is_tried_again_while_it_is_young(
    start: Start, hub: Any, fates: Any, spool: Spool
) -> None:
    """Goal: one fault of the hub must not make history of an alarm condition that lasts."""
    faults = iter([errors.BackPressure("full"), errors.Unavailable("away")])
    hub.script = lambda request: next(faults, None) if request.body == b"0001" else None
    lane = start(rule=LaneRule(patience_s=10.0))
    lane.offer(record(1))
    lane.offer(record(2))
    assert fates.wait(2) == [(b"0001", ACKED), (b"0002", ACKED)]
    assert list(spool.peek()) == []


def test_an_alarm_event_that_grew_old_is_history(start: Start, hub: Any, fates: Any) -> None:
    hub.script = lambda _request: errors.Unavailable("away")
    lane = start(rule=LaneRule(patience_s=0.3))
    lane.offer(record(1))
    assert fates.wait(1) == [(b"0001", SPOOLED)]
    assert len(hub.bodies("/origin")) > 1, "it was tried more than once"


def test_a_lost_answer_costs_no_record(start: Start, hub: Any, fates: Any, spool: Spool) -> None:
    """Goal: the hub may have it or not; it is sent again, and REQ-ERR-002 makes that harmless."""
    hub.hangs_up_on.add(b"0001")
    lane = start()
    lane.offer(record(1))
    assert fates.wait(1) == [(b"0001", SPOOLED)]
    assert hub.bodies("/origin") == [b"0001"]
    assert [waiting.body for waiting in spool.peek()] == [b"0001"]
    lane.offer(record(2))
    assert fates.wait(2)[1] == (b"0002", ACKED)


def test_a_revoked_device_keeps_its_data_and_says_so(
    start: Start, hub: Any, fates: Any, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "REFUSED_WAIT_S", 0.1)
    hub.script = lambda _: errors.IdentityRevoked("revoked")
    lane = start()
    lane.offer(record(1))
    assert fates.wait(1) == [(b"0001", SPOOLED)]
    assert lane.refused.is_set()
    hub.script = lambda _: None
    lane.offer(record(2))
    assert fates.wait(2)[1] == (b"0002", ACKED)
    assert not lane.refused.is_set()
    assert [waiting.body for waiting in spool.peek()] == [b"0001"]


def test_only_the_newest_goes_live_after_an_outage(
    start: Start, hub: Any, fates: Any, spool: Spool
) -> None:
    """Goal: a value that waited is late data, never live (REQ-OBS-010)."""
    lane = start(run=False)
    for n in range(1, 6):
        lane.offer(record(n))
    hub.script = lambda request: errors.Unavailable("restart") if request.body == b"0001" else None
    lane.start()
    found = dict(fates.wait(5))
    assert found == {b"%04d" % n: SPOOLED for n in range(1, 5)} | {b"0005": ACKED}
    assert [waiting.body for waiting in spool.peek()] == [b"%04d" % n for n in range(1, 5)]


def test_a_hub_that_is_away_costs_no_record(start: Start, fates: Any, spool: Spool) -> None:
    def nowhere() -> Any:
        raise errors.Unavailable("nobody listens")

    class Nowhere:
        """A connection to nobody."""

        reached = False

        def open(self) -> bool:
            return nowhere()

        def close(self) -> None:
            pass

    lane = start(connect=Nowhere)
    for n in range(1, 4):
        lane.offer(record(n))
        fates.wait(n)
    assert [waiting.body for waiting in spool.peek()] == [b"%04d" % n for n in range(1, 4)]


def test_a_lane_that_waits_goes_on_when_another_one_hears_the_hub(
    start: Start, hub: Any, fates: Any
) -> None:
    """Goal: no lane sits out its own back-off when the hub is known to be back."""
    away = [True]

    def answers(_request: Any) -> errors.AsepsisError | None:
        return errors.Unavailable("not yet") if away[0] else None

    hub.script = answers
    patient = LaneRule(patience_s=30.0)
    slow = Backoff(rng=random.Random(1), first_s=30.0, cap_s=30.0)
    waiting = start(rule=patient, backoff=slow)
    waiting.offer(record(1))
    with hub.changed:
        assert hub.changed.wait_for(lambda: hub.got, 10)
    away[0] = False
    other = start(on_contact=waiting.try_again)
    other.offer(record(2))
    assert {fate for _, fate in fates.wait(2, seconds=10)} == {ACKED}


def test_a_lane_that_probes_finds_a_hub_that_took_no_connection_soon(
    start: Start, hub: Any, fates: Any
) -> None:
    """Goal: what spares a failing hub does not delay the finding of one that is back."""
    back_s: list[float] = []

    class Absent:
        """A connection that nobody takes for a while."""

        reached = False
        _until_s = time.monotonic() + 1.5

        def __init__(self) -> None:
            self._real = hub.connect()

        def open(self) -> bool:
            if time.monotonic() < self._until_s:
                raise errors.Unavailable("nobody answers")
            back_s.append(time.monotonic() - self._until_s)
            return self._real.open()

        def request(self, *args: Any, **options: Any) -> Any:
            return self._real.request(*args, **options)

        def close(self) -> None:
            self._real.close()

    lane = start(
        rule=LaneRule(patience_s=30.0, probes=True),
        connect=Absent,
        backoff=Backoff(rng=random.Random(1), first_s=30.0, cap_s=30.0),
    )
    lane.offer(record(1))
    assert fates.wait(1, seconds=10) == [(record(1).body, ACKED)]
    assert back_s[0] < 0.6


def test_what_is_unsent_at_the_end_is_spooled(start: Start, fates: Any, spool: Spool) -> None:
    lane = start(run=False)
    for n in range(1, 4):
        lane.offer(record(n))
    lane.close()
    lane.start()
    lane.join(20)
    assert sorted(fates.wait(3)) == [(b"%04d" % n, SPOOLED) for n in range(1, 4)]
    assert [waiting.body for waiting in spool.peek()] == [b"%04d" % n for n in range(1, 4)]


def test_a_full_lane_and_a_full_spool_are_said_and_never_block(
    start: Start, fates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "QUEUE_RECORDS_MAX", 2)
    lane = start(run=False)
    for n in range(1, 31):
        lane.offer(record(n, size=4_096))
    found = [fate for _, fate in fates.wait(28)]
    assert found.count(Fate.LOST_SPOOL_FULL) > 0
    assert found.index(Fate.LOST_SPOOL_FULL) > 5, "first the spool was used"
    assert set(found) == {SPOOLED, Fate.LOST_SPOOL_FULL}


def test_the_alert_lane_is_warm_before_the_first_alarm(start: Start, hub: Any) -> None:
    start(rule=LaneRule(warm_s=0.1))
    with hub.changed:
        assert hub.changed.wait_for(lambda: len(hub.got) >= 3, 20)
    assert {request.path for request in hub.got} == {"/metadata"}


def test_a_renewed_certificate_is_used_at_the_next_record(
    start: Start, hub: Any, fates: Any
) -> None:
    opened: list[Any] = []

    def connect() -> Any:
        opened.append(hub.connect())
        return opened[-1]

    lane = start(connect=connect)
    lane.offer(record(1))
    fates.wait(1)
    assert len(opened) == 1
    lane.renewed.set()
    lane.offer(record(2))
    assert fates.wait(2)[1] == (b"0002", ACKED)
    assert len(opened) == 2


@pytest.fixture
def drain(hub: Any, spool: Spool, fates: Any) -> Iterator[Callable[..., Drain]]:
    """Return a function that starts the drain; it ends with the test."""
    started: list[Drain] = []

    def start_(
        *, in_flight: InFlight | None = None, reachable: Callable[[], bool] = lambda: True
    ) -> Drain:
        started.append(
            Drain(
                spool=spool,
                connect=hub.connect,
                in_flight=in_flight or InFlight(),
                reachable=reachable,
                read_header=lambda s: Outgoing(s.media_type, 1, int(s.body[:4]), s.body),
                backoff=Backoff(rng=random.Random(1), first_s=0.01, cap_s=0.05),
                report=fates,
            )
        )
        started[-1].start()
        return started[-1]

    yield start_
    for each in started:
        each.close()
        each.join(20)
        assert not each.is_alive()


def test_the_spool_is_sent_in_ascending_order(
    drain: Callable[..., Drain], hub: Any, spool: Spool, fates: Any
) -> None:
    """Goal: REQ-OBS-009, in whatever order the records were spooled."""
    for n in (3, 1, 5, 2, 4):
        spool.put(BATCH, b"%04d" % n)
    running = drain()
    assert fates.wait(5) == [(b"%04d" % n, LATE) for n in range(1, 6)]
    assert running.empty.wait(20)
    assert hub.bodies("/late") == [b"%04d" % n for n in range(1, 6)]
    assert spool.peek() == []


def test_a_lower_number_that_was_spooled_much_later_still_goes_first(
    drain: Callable[..., Drain], hub: Any, spool: Spool, fates: Any
) -> None:
    """Goal: an alarm batch that its lane gave up late is not overtaken over the edge of a window.

    The hub refuses it then, and everything behind it, for good.
    """
    order = [*range(1, 40), *range(41, 140), 40, *range(140, 150)]
    for n in order:
        spool.put(BATCH, b"%04d" % n)
    running = drain()
    fates.wait(149)
    assert running.empty.wait(20)
    assert hub.bodies("/late") == [b"%04d" % n for n in range(1, 150)]


def test_the_drain_waits_for_a_reachable_hub(
    drain: Callable[..., Drain], hub: Any, spool: Spool, fates: Any
) -> None:
    there: list[bool] = []
    spool.put(BATCH, b"0001")
    drain(reachable=lambda: bool(there))
    with hub.changed:
        assert not hub.changed.wait_for(lambda: hub.got, 0.5)
    there.append(True)
    assert fates.wait(1) == [(b"0001", LATE)]


def test_the_drain_overtakes_no_record_of_a_live_lane(
    drain: Callable[..., Drain], hub: Any, spool: Spool, fates: Any
) -> None:
    held, older = InFlight(), record(1)
    held.add(older)
    spool.put(BATCH, b"0002")
    drain(in_flight=held)
    with hub.changed:
        assert not hub.changed.wait_for(lambda: hub.got, 0.5)
    held.remove(older)
    assert fates.wait(1) == [(b"0002", LATE)]


def test_a_refused_record_does_not_block_those_behind_it(
    drain: Callable[..., Drain], hub: Any, spool: Spool, fates: Any
) -> None:
    hub.script = lambda request: errors.ContentMismatch("no") if request.body == b"0001" else None
    for n in (1, 2):
        spool.put(BATCH, b"%04d" % n)
    drain()
    assert fates.wait(2) == [(b"0001", Fate.REFUSED), (b"0002", LATE)]


@pytest.mark.parametrize("kind", [errors.Conflict, errors.BackPressure, errors.Unavailable])
def test_what_may_succeed_later_is_tried_again(
    drain: Callable[..., Drain],
    hub: Any,
    spool: Spool,
    fates: Any,
    kind: type[errors.AsepsisError],
) -> None:
    """Goal: nothing leaves the spool before the hub has it."""
    hub.script = lambda _: kind("later") if len(hub.got) <= 2 else None
    spool.put(BATCH, b"0001")
    drain()
    assert fates.wait(1) == [(b"0001", LATE)]
    assert hub.bodies("/late") == [b"0001"] * 3
