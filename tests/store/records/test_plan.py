"""The plan's bytes are those of the real encoder."""

import uuid
from pathlib import Path

import pytest
from record_house import MONITOR, RETENTION, START, House, S
from reference_bed import ReferenceBed

from asepsis.core.journal.cipher import record_aad
from asepsis.core.journal.ports import Append, Link, Record
from asepsis.core.mapping.alarm_document import alarms_to_document
from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.wire.fhir_alarm import encode_alarms
from asepsis.hub.records import plan
from asepsis.hub.records.kinds import Kind

SEALING_BYTES = 28
ROW_BYTES = 60
"""A row of a lane beside its body: numbers, kind, two digests of a batch."""


def measure(folder: Path, *, seconds: int, beds: int, waves: bool) -> dict[str, float]:
    """Return bytes a bed-second of the record's files and of the journal's bodies."""
    house = House(folder)
    bodies = {Lane.VITALS: 0, Lane.WAVEFORM: 0}
    made = [ReferenceBed(n + 1, waves=waves).seconds(seconds) for n in range(beds)]
    for second in range(seconds):
        house.clock.now_ns = START + (second + 1) * S
        for number, bed in enumerate(made):
            for append in next(bed):
                position = second * beds + number + 1
                house.keeper.take(append.lane, [Record(position, append)])
                bodies[append.lane] += len(append.body) + len(record_aad(append))
        if second % 5 == 0:
            house.keeper.flush()  # As the process does: pages fill as they fill in earnest.
    house.keeper.flush(everything=True)
    house.keeper.close()
    total = seconds * beds
    found = {kind.value: house.keeper.partitions.byte_count(kind) / total for kind in Kind}
    return found | {
        lane.value: count / total + SEALING_BYTES + ROW_BYTES for lane, count in bodies.items()
    }


def test_the_plan_is_what_the_encoder_takes(tmp_path: Path) -> None:
    """Goal: a change of the encoder that costs disk changes the plan with it."""
    both = measure(tmp_path / "both", seconds=100, beds=4, waves=True)
    numerics = measure(tmp_path / "numerics", seconds=1_200, beds=6, waves=False)
    measured = both | {Kind.NUMERICS.value: numerics[Kind.NUMERICS.value]}
    for kind in (Kind.NUMERICS, Kind.WAVEFORMS):
        assert measured[kind.value] == pytest.approx(plan.BYTES_PER_BED_S[kind], rel=0.15)
    for lane, planned in plan.JOURNAL_BYTES_PER_BED_S.items():
        assert measured[lane] == pytest.approx(planned, rel=0.15)


def test_alarms_take_what_the_plan_says(tmp_path: Path) -> None:
    """Goal: 350 conditions a day, each with onset and end, a minute of its own at worst."""
    house = House(tmp_path / "records")
    conditions = 60
    for number in range(conditions):
        condition_id = uuid.UUID(int=number * 7919 << 64).bytes
        for phase, shift_s in ((AlarmPhase.ONSET, 0), (AlarmPhase.END, 20)):
            at_ns = START + number * 247 * S + shift_s * S
            event = AlarmEvent(
                condition_id=condition_id, phase=phase, kind=AlarmKind.PHYSIOLOGICAL,
                priority=AlarmPriority.MEDIUM, latching=False, inactivation=Inactivation.NONE,
                mdc_code=196_652, source_handle=1, offset_ms=0, text="HR 131 > 120",
            )  # fmt: skip
            body = encode_alarms(alarms_to_document((event,), device=MONITOR, start_ns=at_ns))
            append = Append(
                lane=Lane.ALERT, account=Account.FHIR, producer=MONITOR, epoch=1,
                sequence=house.positions.get(Lane.ALERT, 0) + 1, kind="alarm-document", body=body,
                received_at_ns=at_ns, link=Link.of(body),
            )  # fmt: skip
            house.take(append)
    house.keeper.flush(everything=True)
    house.keeper.close()
    used = house.keeper.partitions.byte_count(Kind.ALARMS)
    per_day = used / conditions * plan.CONDITIONS_PER_DAY
    assert per_day / plan.DAY_S <= plan.BYTES_PER_BED_S[Kind.ALARMS] * 1.15


def test_a_plan_counts_whole_days() -> None:
    ages = {"vitals": 2 * plan.DAY_S, "waveform": plan.DAY_S}
    lines = {line.what: line for line in plan.plan(1_000, RETENTION, ages)}
    assert lines["record: waveforms"].held_s == 4 * plan.DAY_S
    assert lines["journal: vitals"].held_s == 2 * plan.DAY_S
    twice = plan.plan(2_000, RETENTION, ages)
    assert [a.byte_count * 2 for a in lines.values()] == pytest.approx(
        [b.byte_count for b in twice], abs=2
    )
