"""What each ADT event does, as a table: in order, again, and before what it follows.

The messages are real bytes, read as the follower reads them; the scene is in memory.
"""

import itertools
from collections.abc import Sequence
from datetime import UTC

import pytest

from asepsis.core.mapping.adt import read_adt
from asepsis.core.model.patient import PatientId, Place
from asepsis.core.wire.hl7 import Message
from asepsis.hub.registry.associations import acts, movements
from asepsis.hub.registry.associations.rules import EFFECTS
from asepsis.hub.registry.associations.scene import Scene

from .conftest import ADA, BED_A, BED_B, BEN, SECOND_NS, adt

MINUTE_NS = 60 * SECOND_NS
START_NS = 1_800_000_000 * SECOND_NS
AT = {BED_A: "urn:dev:mac:0000000000000001", BED_B: "urn:dev:mac:0000000000000002"}
Said = tuple[str, PatientId, Place | None] | tuple[str, PatientId, Place | None, PatientId]
TO_A: Said = ("A01", ADA, BED_A)
TO_B: Said = ("A01", BEN, BED_B)
TABLE: dict[str, tuple[Sequence[Said], Said, PatientId | None, PatientId | None]] = {
    # event: what was said before, the event, who is confirmed at bed A and at bed B afterwards
    "A01": ((), TO_A, ADA, None),
    "A02": ((TO_A,), ("A02", ADA, BED_B), None, ADA),
    "A03": ((TO_A,), ("A03", ADA, BED_A), None, None),
    "A04": ((), ("A04", ADA, BED_A), ADA, None),
    "A06": ((TO_A,), ("A06", ADA, BED_B), None, ADA),
    "A06 in place": ((TO_A,), ("A06", ADA, BED_A), ADA, None),
    "A07": ((TO_A,), ("A07", ADA, BED_B), None, ADA),
    "A07 in place": ((TO_A,), ("A07", ADA, BED_A), ADA, None),
    "A08": ((TO_A,), ("A08", ADA, BED_B), ADA, None),
    "A09": ((TO_A,), ("A09", ADA, None), None, None),
    "A10": ((TO_A, ("A09", ADA, None)), ("A10", ADA, BED_B), None, ADA),
    "A11": ((TO_A,), ("A11", ADA, BED_A), None, None),
    "A12": ((TO_A, ("A02", ADA, BED_B)), ("A12", ADA, BED_A), ADA, None),
    "A13": ((TO_A, ("A03", ADA, BED_A)), ("A13", ADA, BED_A), ADA, None),
    "A17": ((TO_A, TO_B), ("A17", ADA, BED_B), BEN, ADA),
    "A21": ((TO_A,), ("A21", ADA, BED_A), None, None),
    "A22": ((TO_A, ("A21", ADA, BED_A)), ("A22", ADA, BED_B), None, ADA),
    "A28": ((TO_A,), ("A28", ADA, BED_B), ADA, None),
    "A31": ((TO_A,), ("A31", ADA, BED_B), ADA, None),
    "A40": ((TO_A,), ("A40", BEN, None, ADA), BEN, None),
    "A45": ((TO_A,), ("A45", BEN, BED_A, ADA), None, None),
    "A47": ((TO_A,), ("A47", BEN, None, ADA), BEN, None),
}


def bodies(said: Sequence[Said]) -> list[bytes]:
    """Return the messages, each entered a minute after the one before."""
    made: list[bytes] = []
    for number, (trigger, patient, place, *merged) in enumerate(said):
        at_ns = START_NS + number * MINUTE_NS
        old = merged[0] if merged else None
        body = adt(trigger, patient, place, entered_ns=at_ns, merged=old)
        if trigger == "A17":  # The other patient, with a PID and PV1 of their own.
            other = adt(trigger, BEN, BED_A, entered_ns=at_ns)
            body += other[other.index(b"PID") :]
        made.append(body)
    return made


def played(messages: Sequence[bytes]) -> tuple[PatientId | None, ...]:
    """Apply messages, each as it comes, and return who is confirmed at bed A and bed B."""
    numbers = itertools.count()
    scene = Scene(now_ns=START_NS - MINUTE_NS, fresh_id=lambda: f"{next(numbers)}")
    scene.rules["ICU"] = 0
    for bed, device in AT.items():
        acts.place_device(scene, device, bed, fixed=True)
    for number, body in enumerate(messages):
        scene.now_ns = START_NS + (number + 1) * MINUTE_NS
        event = read_adt(Message.parse(body), zone=UTC)
        moves: list[movements.Movement] = []
        for one in event.patients:
            movements.learn(scene, one.ids[0], one)
            move = movements.movement(event, one, one.ids[0], arrived_ns=scene.now_ns)
            assert move is not None
            moves.append(move)
        movements.apply(scene, moves)
    found = [scene.confirmed(device) for device in AT.values()]
    return tuple(one.patient if one is not None else None for one in found)


def test_the_table_has_every_event_that_is_handled() -> None:
    assert {name[:3] for name in TABLE} == EFFECTS.keys()


@pytest.mark.parametrize("name", TABLE)
def test_an_event_does_what_the_table_says(name: str) -> None:
    before, event, at_a, at_b = TABLE[name]
    assert played(bodies([*before, event])) == (at_a, at_b)


@pytest.mark.parametrize("name", TABLE)
def test_an_event_that_comes_again_changes_nothing(name: str) -> None:
    before, event, at_a, at_b = TABLE[name]
    messages = bodies([*before, event])
    assert played([*messages, messages[-1]]) == (at_a, at_b)
    assert played([*messages, *messages]) == (at_a, at_b)


@pytest.mark.parametrize("name", TABLE)
def test_in_another_order_a_bed_is_its_patients_or_nobodys(name: str) -> None:
    """Goal: disorder may leave a gap for a person to fill; it never puts another patient there."""
    before, event, at_a, at_b = TABLE[name]
    for messages in itertools.permutations(bodies([*before, event])):
        found = played(messages)
        assert found[0] in (at_a, None), messages
        assert found[1] in (at_b, None), messages
