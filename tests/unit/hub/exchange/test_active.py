"""Which alarm conditions are active, whatever the network did to events, lists and their order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmNotice,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.identity import Assurance
from asepsis.hub.exchange.active import ActiveConditions, Place, Reason, Revealed

A = "urn:dev:mac:0000000000000001"
ONSET, CHANGE, END = AlarmPhase


def notice(
    number: int, phase: AlarmPhase, priority: AlarmPriority = AlarmPriority.HIGH
) -> AlarmNotice:
    event = AlarmEvent(
        condition_id=bytes([number] * 16),
        phase=phase,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=priority,
        latching=False,
        inactivation=Inactivation.NONE,
        mdc_code=196_652,
        source_handle=1,
        offset_ms=number,
        text="ASYSTOLE",
    )
    return AlarmNotice(
        device=A,
        assurance=Assurance.DEVICE_ORIGIN,
        device_time_ns=0,
        received_at_ns=0,
        event=event,
    )


def place(sequence: int, epoch: int = 1) -> Place:
    return Place(A, epoch, sequence)


def told(found: list[Revealed]) -> list[tuple[int, AlarmPhase, Reason]]:
    return [(r.notice.event.condition_id[0], r.notice.event.phase, r.reason) for r in found]


def active(conditions: ActiveConditions) -> set[int]:
    return {n.event.condition_id[0] for n in conditions.notices()}


def test_a_list_reveals_what_began_changed_and_ended_unseen() -> None:
    """Goal: REQ-ALM-015; the event that was withheld shows in the next list."""
    book = ActiveConditions()
    assert book.events([notice(1, ONSET), notice(2, ONSET)], place(1), position=7) == []
    lower = notice(2, CHANGE, AlarmPriority.LOW)
    assert told(book.listed(A, [lower, notice(3, CHANGE)], place(3), position=8)) == [
        (2, CHANGE, Reason.LISTED),
        (3, ONSET, Reason.LISTED),
        (1, END, Reason.UNLISTED),
    ]
    assert book.listed(A, [lower, notice(3, CHANGE)], place(4), position=9) == []
    assert active(book) == {2, 3}
    assert book.oldest_position() == 8


def test_late_data_ends_and_never_begins() -> None:
    """Goal: REQ-ALM-012, REQ-ALM-018; also when no list ever comes."""
    book = ActiveConditions()
    book.events([notice(1, ONSET)], place(1), position=1)
    assert book.late([notice(2, ONSET)]) == []
    assert told(book.late([notice(2, END), notice(1, END)])) == [(1, END, Reason.ENDED_LATE)]
    assert active(book) == set()
    assert not book.any_of(A)


def test_an_event_after_a_newer_list_or_its_own_end_is_history() -> None:
    """Goal: REQ-ALM-016; receivers are told the end at once."""
    book = ActiveConditions()
    book.listed(A, [notice(1, CHANGE)], place(5), position=1)
    assert told(book.events([notice(2, ONSET)], place(4), position=2)) == [(2, END, Reason.HISTORY)]
    book.events([notice(3, END)], place(7), position=3)
    assert told(book.events([notice(3, ONSET)], place(6), position=4)) == [(3, END, Reason.HISTORY)]
    assert told(book.events([notice(1, ONSET)], place(3), position=5)) == []
    assert active(book) == {1}


def test_an_older_list_changes_nothing_and_a_newer_event_outlives_it() -> None:
    book = ActiveConditions()
    book.events([notice(1, ONSET)], place(6), position=1)
    assert book.listed(A, [], place(5), position=1) == []
    assert book.listed(A, [notice(2, CHANGE)], place(4), position=1) == []
    assert active(book) == {1}
    assert book.list_covers(A, place(4))
    assert not book.list_covers(A, place(5))


def test_a_removed_device_has_no_active_condition() -> None:
    book = ActiveConditions()
    book.events([notice(1, ONSET)], place(1), position=1)
    assert told(book.removed(A)) == [(1, END, Reason.REMOVED)]
    assert book.removed(A) == []
    assert book.oldest_position() is None


class Receiver:
    """What somebody who reads the alert lane believes."""

    def __init__(self) -> None:
        self.active: set[int] = set()

    def take(self, notices: list[AlarmNotice]) -> None:
        for one in notices:
            number = one.event.condition_id[0]
            if one.event.phase is END:
                self.active.discard(number)
            else:
                self.active.add(number)


@given(st.lists(st.integers(0, 9), max_size=40), st.randoms())
def test_a_list_mends_whatever_the_network_did(moves: list[int], rng: random.Random) -> None:
    """Goal: 0 ended alarms active, 0 active alarms gone, for the hub and for every receiver.

    Each move begins or ends a condition; each batch of it arrives, arrives a little late, arrives
    on the late lane or never. Then one list arrives.
    """
    book, receiver, truth = ActiveConditions(), Receiver(), dict[int, int]()
    fresh = iter(range(1, 250))
    waiting: list[tuple[int, list[AlarmNotice]]] = []
    sequence = 0
    for move in moves:
        sequence += 1
        known = truth.pop(move, None)
        number = next(fresh) if known is None else known
        if known is None:
            truth[move] = number
        waiting.append((sequence, [notice(number, ONSET if known is None else END)]))
        rng.shuffle(waiting)
        while waiting and rng.random() < 0.6:
            number_of, notices = waiting.pop()
            way = rng.random()
            if way < 0.7:
                receiver.take(notices)
                found = book.events(notices, place(number_of), position=1)
            else:
                found = book.late(notices) if way < 0.85 else []
            receiver.take([r.notice for r in found])
    now = [notice(number, CHANGE) for number in truth.values()]
    found = book.listed(A, now, place(sequence + 1), position=1)
    receiver.take([r.notice for r in found])
    for number_of, notices in waiting:
        receiver.take(notices)
        found = book.events(notices, place(number_of), position=1)
        receiver.take([r.notice for r in found])
    assert active(book) == receiver.active == set(truth.values())
