"""The rules of campaigns: tables as graphs, waves, gates, slots and their reasons."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core.errors import Conflict, InputError, LimitExceeded
from asepsis.core.model.calendar import SECOND_NS, Openings
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.model.update import Outcome, TestResult, UpdateReport
from asepsis.hub.fleet.campaigns import releasing, reports, states, waves
from asepsis.hub.fleet.campaigns.document import DOCUMENT_BYTES_MAX, read_calendar, read_campaign
from asepsis.hub.fleet.campaigns.model import (
    DONE,
    SLOTTED,
    Budget,
    Emergency,
    Gate,
    Kind,
    Member,
    Order,
    Reserve,
    Selector,
    Standing,
    State,
    Tally,
    Target,
    Wave,
)
from asepsis.hub.fleet.campaigns.releasing import Load, Running, Why
from asepsis.hub.fleet.campaigns.waves import Verdict
from asepsis.hub.fleet.ports import ReleaseFacts

SHA = "ab" * 32
NOW = 1_800_000_000 * SECOND_NS
OPEN = Openings(((NOW // SECOND_NS - 3_600, NOW // SECOND_NS + 36_000),))
CLOSED = Openings(())
DOCUMENT = f"""
name = "net-41"
release = "{SHA}"
change = "CHG-2026-114"
calendars = ["nights"]
[select]
classes = ["ventilator"]
[[waves]]
kind = "bench"
devices = ["d0"]
[[waves]]
kind = "canary"
each = 1
gate = {{ observe_h = 1 }}
[[waves]]
kind = "ward"
wards = ["ICU-2"]
gate = {{ verified_percent = 90, failed_max = 1 }}
[[waves]]
kind = "site"
[[budgets]]
at_once_max = 1
[[reserves]]
area = "intensive care"
wards = ["ICU-1", "ICU-2"]
class = "ventilator"
ready_min = 2
"""
SPEC = read_campaign(DOCUMENT)
FACTS = ReleaseFacts(
    sha256=SHA, vendor="acme", path="v/n", length=1, model="V8", models=("V8",), component="net",
    version="41", counter=41, floor=40, reboot="component", authorisation=SHA, not_before_ns=0,
    expires_ns=2 * NOW, document=SHA, out_of_cycle=True, clinical_states=(), acceptance=False,
    run_s=600, rollback_s=300,
)  # fmt: skip
RUNNING = Running(spec=SPEC, state=State.RUNNING, wave=3, release=FACTS)


def member(number: int, ward: str = "ICU-2", **more: Any) -> Member:
    values: dict[str, Any] = {"model": "V8", "device_class": "ventilator", "idle": True}
    return Member(device=f"d{number}", ward=ward, seen_ns=NOW, **(values | more))


def report(outcome: Outcome, sequence: int = 1, tests: tuple[TestResult, ...] = ()) -> UpdateReport:
    return UpdateReport(
        device=DeviceId("urn:dev:mac:0000000000000001"), epoch=1, sequence=sequence,
        at=Instant(bytes(16), 0, 0, 0), release=SHA, component="network", counter=41,
        outcome=outcome, tests=tests,
    )  # fmt: skip


GOOD = (TestResult(name="signal", measured=1.0, low=0.9, high=1.1, unit="mV"),)
BAD = (TestResult(name="signal", measured=2.0, low=0.9, high=1.1, unit="mV"),)


def take(target: Target, *said: UpdateReport, acceptance: bool = False) -> Target:
    for one in said:
        target = reports.take(target, one, acceptance=acceptance, now_ns=NOW)
    return target


def test_no_order_leads_out_of_an_ended_campaign_and_all_others_can_end() -> None:
    for state, order in product(State, Order):
        if (state, order) in states.CAMPAIGN:
            assert states.after(state, order) is states.CAMPAIGN[state, order]
        else:
            with pytest.raises(Conflict):
                states.after(state, order)
    for state in State:
        ways = {after for (before, _), after in states.CAMPAIGN.items() if before is state}
        assert (not ways) == (state in states.ENDED)
        assert not ways or State.SUPERSEDED in ways


def test_there_is_no_way_to_success_past_a_slot() -> None:
    for before, ways in states.TARGET.items():
        if ways & DONE:
            assert before in SLOTTED | DONE
        for way in Standing:
            if way not in ways:
                with pytest.raises(Conflict):
                    states.moved(before, way)
    assert states.TARGET[Standing.LEFT] == {Standing.PENDING}


def test_only_verified_with_its_tests_is_success() -> None:
    slot = Target(device="d1", wave=0, standing=Standing.ASSIGNED)
    installed = take(slot, *(report(o, n) for n, o in enumerate(
        (Outcome.OFFERED, Outcome.DOWNLOADED, Outcome.STAGED, Outcome.INSTALLING, Outcome.BOOTED,
         Outcome.SELF_TESTED), 1)))  # fmt: skip
    assert installed.standing is Standing.ASSIGNED
    assert take(installed, report(Outcome.VERIFIED, 7, GOOD)).standing is Standing.VERIFIED
    accepted = take(installed, report(Outcome.VERIFIED, 7, GOOD), acceptance=True)
    assert accepted.standing is Standing.AWAITING_ACCEPTANCE
    for tests in ((), BAD):
        lied = take(installed, report(Outcome.VERIFIED, 7, tests))
        assert lied.standing is Standing.FAILED
        assert "verified" in lied.reason


def test_a_device_that_falls_back_after_success_failed() -> None:
    for standing in DONE:
        done = Target(device="d1", wave=0, standing=standing, outcome=Outcome.VERIFIED)
        assert take(done, report(Outcome.ROLLED_BACK)).standing is Standing.FAILED


def test_old_news_changes_nothing_and_what_cannot_follow_is_a_failure() -> None:
    slot = Target(device="d1", wave=0, standing=Standing.ASSIGNED)
    staged = take(slot, report(Outcome.STAGED, 5))
    assert take(staged, report(Outcome.ROLLED_BACK, 4)) is staged
    assert take(staged, report(Outcome.OFFERED, 6)).standing is Standing.FAILED
    pending = Target(device="d1", wave=0)
    assert take(pending, report(Outcome.OFFERED)).standing is Standing.PENDING
    assert take(pending, report(Outcome.INSTALLING)).standing is Standing.FAILED
    assert take(pending, report(Outcome.VERIFIED, 1, GOOD)).standing is Standing.FAILED


def test_a_slot_that_was_taken_back_is_free_when_the_device_says_so() -> None:
    back = Target(device="d1", wave=0, standing=Standing.RECALLED, outcome=Outcome.WAITING)
    assert take(back, report(Outcome.WITHDRAWN)).standing is Standing.PENDING
    began = take(back, report(Outcome.INSTALLING))
    assert began.standing is Standing.RECALLED
    assert not releasing.freed(replace(began, since_ns=0), seen_ns=NOW, now_ns=NOW)
    assert take(began, report(Outcome.VERIFIED, 2, GOOD)).standing is Standing.VERIFIED
    assert releasing.freed(replace(back, since_ns=0), seen_ns=0, now_ns=NOW)
    recent = replace(back, since_ns=NOW - 400 * SECOND_NS)
    assert not releasing.freed(recent, seen_ns=NOW, now_ns=NOW)
    assert releasing.freed(replace(recent, outcome=None), seen_ns=NOW, now_ns=NOW)
    assert not releasing.freed(replace(recent, outcome=None), seen_ns=0, now_ns=NOW)


@settings(max_examples=200)
@given(said=st.lists(st.tuples(st.sampled_from(Outcome), st.integers(1, 9), st.booleans())))
def test_whatever_devices_say_standing_keeps_to_its_table(
    said: list[tuple[Outcome, int, bool]],
) -> None:
    target = Target(device="d1", wave=0, standing=Standing.ASSIGNED)
    for outcome, sequence, good in said:
        after = take(target, report(outcome, sequence, GOOD if good else BAD))
        moved = after.standing is not target.standing
        assert not moved or after.standing in states.TARGET[target.standing]
        assert (after.epoch, after.sequence) >= (target.epoch, target.sequence)
        target = after


def test_waves_take_bench_then_canaries_then_wards_then_the_rest() -> None:
    fleet = [member(0), *(member(n) for n in range(1, 5)), *(member(n, "ICU-1") for n in (5, 6, 7))]
    placed = waves.placed(SPEC, [*fleet, member(9, device_class="pump")])
    assert placed["d0"] == 0
    assert "d9" not in placed
    by_wave = [sum(wave == n for wave in placed.values()) for n in range(4)]
    assert by_wave == [1, 2, 3, 2]
    assert waves.placed(SPEC, reversed(fleet)) == placed
    with pytest.raises(InputError, match="no device"):
        waves.placed(SPEC, fleet[1:])


def test_who_joins_later_is_never_a_canary() -> None:
    dynamic = replace(SPEC, dynamic=True)
    assert waves.joined(dynamic, member(8)) == 2
    assert waves.joined(dynamic, member(8, "ER")) == 3
    assert waves.joined(dynamic, member(8, device_class="pump")) is None
    assert waves.joined(SPEC, member(8)) is None


def test_attributes_narrow() -> None:
    wanted = Selector(attributes={"battery": "b2"}, devices=frozenset({"d1"}))
    assert waves.matches(wanted, member(1, attributes={"battery": "b2"}))
    assert not waves.matches(wanted, member(1, attributes={"battery": "b1"}))
    assert not waves.matches(wanted, member(2, attributes={"battery": "b2"}))


@pytest.mark.parametrize(
    ("counts", "age_s", "verdict"),
    [
        ({Standing.VERIFIED: 9, Standing.ASSIGNED: 1}, 3_600, Verdict.PASS),
        ({Standing.VERIFIED: 8, Standing.ASSIGNED: 2}, 3_600, Verdict.WAIT),
        ({Standing.ACCEPTED: 9, Standing.FAILED: 1}, 3_600, Verdict.PASS),
        ({Standing.VERIFIED: 9, Standing.FAILED: 2}, 3_600, Verdict.HALT),
        ({Standing.AWAITING_ACCEPTANCE: 9, Standing.PENDING: 1}, 59, Verdict.WAIT),
        ({Standing.LEFT: 5}, 0, Verdict.PASS),
    ],
)
def test_a_gate_counts_verified(counts: dict[Standing, int], age_s: int, verdict: Verdict) -> None:
    gate = Gate(verified_percent=90, failed_max=1, observe_s=60)
    newest = NOW - age_s * SECOND_NS if counts.keys() & DONE else 0
    assert waves.judge(gate, Tally(counts=counts, newest_ns=newest), now_ns=NOW)[0] is verdict


def held(running: Running = RUNNING, target: Target | None = None, **more: Any) -> Why | None:
    one = member(1, **more)
    where = target or Target(device="d1", wave=2)
    found = releasing.hold(running, where, one, opened=OPEN, now_ns=NOW)
    return found.why if found else None


def test_each_reason_not_now() -> None:
    assert held() is None
    assert held(replace(RUNNING, state=State.PAUSED)) is Why.CAMPAIGN
    assert held(replace(RUNNING, release=None)) is Why.RELEASE
    assert held(replace(RUNNING, wave=1)) is Why.WAVE
    assert held(model="V7") is Why.MODEL
    unseen = replace(member(1), seen_ns=0)
    target = Target(device="d1", wave=2)
    found = releasing.hold(RUNNING, target, unseen, opened=OPEN, now_ns=NOW)
    assert found
    assert found.why is Why.UNSEEN
    found = releasing.hold(RUNNING, target, member(1), opened=CLOSED, now_ns=NOW)
    assert found
    assert found.why is Why.WINDOW


def test_a_window_must_hold_the_update_and_the_way_back() -> None:
    needed = FACTS.run_s + FACTS.rollback_s + releasing.NOTICE_S
    for spare, expected in ((0, None), (-1, Why.WINDOW)):
        opened = Openings(((0, NOW // SECOND_NS + needed + spare),))
        target = Target(device="d1", wave=0)
        found = releasing.hold(RUNNING, target, member(1), opened=opened, now_ns=NOW)
        assert (found.why if found else None) is expected


def test_an_emergency_skips_windows_and_waves_and_nothing_else() -> None:
    both = Emergency(reason="exploited now", first="a", second="b")
    urgent = replace(RUNNING, wave=0, emergency=both)
    target = Target(device="d1", wave=3)
    assert releasing.hold(urgent, target, member(1), opened=CLOSED, now_ns=NOW) is None
    assert held(replace(urgent, release=None)) is Why.RELEASE
    assert held(replace(urgent, state=State.HALTED)) is Why.CAMPAIGN
    assert held(urgent, model="V7") is Why.MODEL
    for wrong in ({"second": "a"}, {"second": ""}, {"reason": " "}):
        with pytest.raises(InputError):
            Emergency(**({"reason": "r", "first": "a", "second": "b"} | wrong))


def choose(load: Load, *members: Member, held: frozenset[str] = frozenset()) -> list[str]:
    releasing.counted(load, ((one, False) for one in members))
    waiting = [(Target(device=one.device, wave=3), one) for one in members]
    return releasing.choose(waiting, load, held=held)


def test_never_more_than_the_budget_of_a_ward_and_idle_ones_first() -> None:
    fleet = [member(1, idle=False), member(2), member(3), member(4, "ER")]
    assert choose(Load([Budget()], []), *fleet) == ["d2", "d4"]
    assert choose(Load([Budget()], []), *fleet, held=frozenset({"d2"})) == ["d3", "d4"]
    assert choose(Load([Budget(at_once_max=5), Budget(ward="ICU-2", at_once_max=2)], []), *fleet)[
        :2
    ] == ["d2", "d3"]
    assert choose(Load([Budget(at_once_max=0)], []), *fleet) == []


def test_the_last_ready_ones_of_an_area_stay() -> None:
    reserve = Reserve(
        area="ic", wards=frozenset({"ICU-1", "ICU-2"}), device_class="ventilator", ready_min=2
    )
    wide = [Budget(at_once_max=9)]
    fleet = [member(1), member(2), member(3, "ICU-1"), member(4, idle=False)]
    # Three are ready, two must stay; the one in use is nobody's reserve and may have a slot.
    assert choose(Load(wide, [reserve]), *fleet) == ["d1", "d4"]
    assert choose(Load(wide, [replace(reserve, ready_min=4)]), *fleet) == ["d4"]


@settings(max_examples=200)
@given(
    fleet=st.lists(
        st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(["v", "p"]), st.booleans(),
                  st.booleans()),
        max_size=30,
    ),
    at_once=st.integers(0, 4),
    ready_min=st.integers(0, 6),
)  # fmt: skip
def test_no_choice_breaks_budget_or_reserve(
    fleet: list[tuple[str, str, bool, bool]], at_once: int, ready_min: int
) -> None:
    """Goal: counted by hand, over any fleet, with devices that were away already."""
    members = [
        member(n, ward, device_class=kind, idle=idle)
        for n, (ward, kind, idle, _) in enumerate(fleet)
    ]
    reserve = Reserve(
        area="all", wards=frozenset({"A", "B"}), device_class="v", ready_min=ready_min
    )
    load = Load([Budget(at_once_max=at_once)], [reserve])
    away = {one.device for one, (*_, gone) in zip(members, fleet, strict=True) if gone}
    releasing.counted(load, ((one, one.device in away) for one in members))
    waiting = [(Target(device=m.device, wave=0), m) for m in members if m.device not in away]
    before = sum(m.device_class == "v" and m.idle and m.device not in away for m in members)
    chosen = set(releasing.choose(waiting, load, held=frozenset(away)))
    for ward, kind in product("AB", "vp"):
        group = {m.device for m in members if (m.ward, m.device_class) == (ward, kind)}
        assert len(group & (chosen | away)) <= max(at_once, len(group & away))
    gone = chosen | away
    ready = sum(m.device_class == "v" and m.idle and m.device not in gone for m in members)
    assert ready >= min(before, ready_min)


def test_what_has_begun_is_never_taken_back() -> None:
    slot = Target(device="d1", wave=0, standing=Standing.ASSIGNED, since_ns=NOW)
    paused = replace(RUNNING, state=State.PAUSED)

    def recall(target: Target, running: Running = RUNNING, **more: Any) -> str:
        values: dict[str, Any] = {"opened": OPEN, "others_wait": False, "now_ns": NOW}
        return releasing.recall(running, target, member(1), **(values | more))

    assert recall(slot) == ""
    assert "paused" in recall(slot, paused)
    assert "window" in recall(slot, opened=CLOSED)
    assert recall(replace(slot, outcome=Outcome.INSTALLING), paused, opened=CLOSED) == ""
    late = {"now_ns": NOW + (SPEC.recall_s + 1) * SECOND_NS}
    assert recall(slot, **late) == ""
    assert "others wait" in recall(slot, **late, others_wait=True)


def test_calendars_of_every_level_count() -> None:
    uses = {("site", ""): ["visits"], ("ward", "ICU-2"): ["rounds"], ("ward", "ER"): ["er"]}
    found = releasing.windows_of(SPEC, member(1, calendar="own"), uses)
    assert found == {"nights", "visits", "rounds", "own"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "site"', 'kind = "bench"\ndevices = ["d7"]'),
        ('kind = "site"', 'kind = "site"\ndevices = ["d7"]'),
        ('devices = ["d0"]', ""),
        ("at_once_max = 1", "at_once_max = -1"),
        ("each = 1", "each = 0"),
        ('calendars = ["nights"]', "calendars = []"),
        ('change = "CHG-2026-114"', ""),
        (SHA, "AB" * 32),
        ('name = "net-41"', 'name = "../x"'),
        ('name = "net-41"', 'name = "net-41"\nforce = true'),
        ("[select]", "[select"),
    ],
)
def test_a_campaign_is_read_strictly(old: str, new: str) -> None:
    assert old in DOCUMENT
    with pytest.raises(InputError):
        read_campaign(DOCUMENT.replace(old, new))


def test_what_is_written_is_what_is_read() -> None:
    assert SPEC.waves[1] == Wave(kind=Kind.CANARY, gate=Gate(observe_s=3_600))
    assert SPEC.budgets == (Budget(),)
    assert SPEC.calendars == ("nights",)
    assert read_campaign(DOCUMENT.replace('["nights"]', '["always"]')).calendars == ()
    with pytest.raises(LimitExceeded):
        read_campaign("#" * (DOCUMENT_BYTES_MAX + 1))


CALENDAR = """
name = "nights"
zone = "Europe/Berlin"
windows = [{ days = ["mon", "sun"], start = 22:00:00, end = 05:00:00 }]
blackouts = [{ start = 2026-12-24T00:00:00, end = 2026-12-27T00:00:00, reason = "holidays" }]
"""


def test_a_calendar_is_read_strictly() -> None:
    found = read_calendar(CALENDAR)
    assert found.windows[0].days == {0, 6}
    assert found.zone.key == "Europe/Berlin"
    for old, new in (
        ("Europe/Berlin", "Europe/Bärlin"),
        ("Europe/Berlin", "Europe/Nowhere"),
        ("Europe/Berlin", "Europe"),
        ("2026-12-24T00:00:00", "2026-12-24T00:00:00Z"),
        ('"sun"', '"sunday"'),
        ('"nights"', '"always"'),
        ("22:00:00", "25:00:00"),
    ):
        with pytest.raises(InputError):
            read_calendar(CALENDAR.replace(old, new))
