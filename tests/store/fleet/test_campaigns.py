"""Campaigns on SQLite and PostgreSQL: waves, gates, slots, people's acts, two hubs and kills."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from asepsis.core.errors import Conflict, InputError, NotFound, NotPermitted, Unavailable
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.update import Outcome
from asepsis.hub.audit import log
from asepsis.hub.fleet.campaigns import member_rows, orders
from asepsis.hub.fleet.campaigns.model import Member, Order, Standing
from asepsis.hub.fleet.campaigns.orders import Kind
from asepsis.hub.fleet.campaigns.releasing import NOTICE_S, UNHEARD_S, Why
from asepsis.hub.store.leases import Lease

S = Standing


def to_wave_two(house: Any, count: int = 4) -> None:
    house.began(count)
    house.step()
    house.says(0, *house.way)
    house.step(2)


def reasons(house: Any) -> dict[int, Why | None]:
    lines = house.run(house.planning.plan("net-41"))
    return {int(x.target.device[-4:], 16): x.reason and x.reason.why for x in lines}


def test_the_bench_first_then_no_more_than_the_budget_at_once(house: Any, desk: Any) -> None:
    house.began(4)
    assert desk.has == {}
    house.step()
    assert house.slots() == {0}
    assert desk.has == {house.name_of(0): house.new}
    house.says(0, *house.way[:-1])
    house.step()
    assert (house.wave(), house.slots()) == (0, {0})
    house.says(0, house.way[-1])
    house.step(2)
    assert (house.wave(), house.slots()) == (1, {1, 2})
    house.says(1, *house.way)
    house.step()
    assert house.slots() == {2, 3}
    for number in (2, 3):
        house.says(number, *house.way)
    house.step()
    assert house.state == "finished"
    assert [call for call in desk.calls if call[0] == "clear"] == []
    assert len(desk.calls) == 4


def test_a_plan_says_why_not_now(house: Any) -> None:
    house.members(4)
    house.run(house.service.create(house.document, person="olga"))
    assert reasons(house) == {0: None, 1: Why.WAVE, 2: Why.WAVE, 3: Why.WAVE}
    house.order("start")
    to_members = [replace(house.members(4, seen_ns=0)[1], in_service=True)]
    house.run(house.fleet.list_members(to_members, person="olga"))
    house.step()
    house.says(0, *house.way)
    house.step(2)
    found = reasons(house)
    assert found[3] is Why.BUDGET
    house.order("pause")
    assert set(reasons(house).values()) == {None, Why.CAMPAIGN}


def test_a_failed_self_test_halts_and_takes_back_what_has_not_begun(house: Any, desk: Any) -> None:
    to_wave_two(house)
    house.says(1, Outcome.OFFERED)
    house.says(2, *house.way[:4])
    house.says(2, Outcome.ROLLED_BACK)
    house.step(2)
    assert house.state == "halted"
    stands = house.stands()
    assert stands == {0: S.VERIFIED, 1: S.RECALLED, 2: S.FAILED, 3: S.PENDING}
    assert desk.has == {house.name_of(0): house.new}
    house.step()
    assert house.stands() == stands
    with house.store.reading() as connection:
        found = orders.listed(connection, open_only=True)
    assert [(one.device, one.kind) for one in found] == [(house.name_of(2), Kind.FAILED)]


def test_a_slot_is_free_only_when_the_device_says_so(house: Any, clock: Any) -> None:
    to_wave_two(house)
    house.says(1, *house.way[:3])
    house.says(1, Outcome.WAITING)
    house.order("pause")
    house.step()
    assert house.stands()[1] is S.RECALLED
    house.order("resume")
    house.step()
    assert house.slots() == set()
    house.says(1, Outcome.WITHDRAWN)
    house.members(4)
    house.step()
    # Device 2 never spoke of its slot: it may still act on it.
    assert house.stands()[2] is S.RECALLED
    assert len(house.slots()) == 1
    clock.advance_s(NOTICE_S + 1)
    house.run(house.fleet.follow(Everybody(ClinicalState.IDLE)))
    house.step(2)
    assert house.stands()[2] is not S.RECALLED


def test_the_directors_word_ends_and_with_it_a_silent_slot(house: Any, clock: Any) -> None:
    to_wave_two(house)
    house.says(1, Outcome.OFFERED)
    house.order("pause")
    house.step()
    clock.advance_s(UNHEARD_S + 1)
    house.step()
    assert house.stands()[1] is S.PENDING


def test_a_device_that_falls_back_reopens_what_was_finished(house: Any, desk: Any) -> None:
    house.began(1, house.document.partition('[[waves]]\nkind = "site"')[0])
    house.step()
    house.says(0, *house.way)
    house.step()
    assert house.state == "finished"
    house.says(0, Outcome.ROLLED_BACK)
    house.step()
    assert house.state == "halted"
    assert desk.has == {}


def test_who_lies_about_success_is_not_counted(house: Any) -> None:
    house.began(2)
    house.step()
    house.says(0, *house.way, good=False)
    house.step()
    assert house.state == "halted"
    assert house.stands()[0] is S.FAILED


def test_resuming_accepts_the_failures_so_far_and_no_more(house: Any) -> None:
    to_wave_two(house, 5)
    house.says(1, *house.way[:4], Outcome.ROLLED_BACK)
    house.step()
    assert house.state == "halted"
    with pytest.raises(InputError):
        house.order("resume", reason=" ")
    house.order("resume")
    house.says(2, Outcome.OFFERED, Outcome.WITHDRAWN)
    house.step(2)
    assert house.state == "running"
    house.run(house.work.retry("net-41", house.name_of(1), person="olga", reason="new battery"))
    assert house.stands()[1] is S.PENDING
    number = min(house.slots())
    house.store.clock.advance_s(1)
    house.says(number, Outcome.REFUSED)
    house.step()
    assert house.state == "halted"


def test_acceptance_keeps_a_device_away_until_somebody_signed(house: Any) -> None:
    house.began(
        4, "acceptance = true\n" + house.document.replace("at_once_max = 2", "at_once_max = 1")
    )
    house.step()
    house.says(0, *house.way)
    house.step(2)
    # The device awaits acceptance: it is away, and the budget of one is used up.
    assert (house.wave(), house.slots()) == (1, set())
    assert house.stands()[0] is S.AWAITING_ACCEPTANCE
    with pytest.raises(InputError):
        house.run(
            house.work.accept("net-41", house.name_of(0), as_found="", as_left="", person="p")
        )
    (order,) = house.run(house.store.read(lambda c: orders.listed(c, open_only=True)))
    house.run(house.work.refer_order(order.id, "WO-77", person="olga"))
    house.run(house.work.close_order(order.id, as_found="ok", as_left="checked", person="olga"))
    house.step()
    assert house.stands()[0] is S.ACCEPTED
    assert len(house.slots()) == 1
    found = house.run(house.store.read(lambda c: orders.order(c, order.id)))
    assert (found.reference, found.as_left, found.person) == ("WO-77", "checked", "olga")
    with pytest.raises(Conflict):
        house.run(house.work.close_order(order.id, as_found="x", as_left="y", person="olga"))


def test_no_assessment_no_campaign_and_withdrawn_means_no_more_slots(
    house: Any, shelf: Any, desk: Any
) -> None:
    house.members(4)
    kept = shelf.known.pop(house.new)
    with pytest.raises(NotPermitted):
        house.run(house.service.create(house.document, person="olga"))
    shelf.known[house.new] = kept
    house.run(house.service.create(house.document, person="olga"))
    house.order("start")
    house.step()
    del shelf.known[house.new]
    house.step(2)
    assert house.stands()[0] is S.RECALLED
    assert desk.has == {}
    assert reasons(house)[1] is Why.RELEASE


def test_a_campaign_names_what_is_there(house: Any) -> None:
    with pytest.raises(InputError, match="no device"):
        house.run(house.service.create(house.document, person="olga"))
    house.members(2)
    wrong = house.document.replace("always", "nights")
    with pytest.raises(NotFound, match="calendar"):
        house.run(house.service.create(wrong, person="olga"))
    house.run(house.service.create(house.document, person="olga"))
    with pytest.raises(Conflict):
        house.run(house.service.create(house.document, person="olga"))
    with pytest.raises(NotFound):
        house.run(house.service.order("nobody", Order.START, person="olga", reason=""))
    with pytest.raises(InputError):
        house.run(house.service.order("net-41", Order.FINISH, person="olga", reason="x"))


def test_an_emergency_takes_two_people_and_skips_waves_but_no_budget(
    house: Any, clock: Any
) -> None:
    house.began(4)
    number = house.run(house.service.propose_emergency("net-41", person="ann", reason="exploited"))
    with pytest.raises(NotPermitted):
        house.run(house.service.confirm_emergency("net-41", number, person="ann"))
    with pytest.raises(NotFound):
        house.run(house.service.confirm_emergency("net-41", number + 50, person="bob"))
    house.run(house.service.confirm_emergency("net-41", number, person="bob"))
    house.step()
    assert len(house.slots()) == 2
    late = house.run(house.service.propose_emergency("net-41", person="ann", reason="again"))
    clock.advance_s(16 * 60)
    with pytest.raises(Conflict):
        house.run(house.service.confirm_emergency("net-41", late, person="bob"))


def test_a_closed_window_gives_nothing_and_takes_back_what_has_not_begun(
    house: Any, clock: Any
) -> None:
    # The clock stands at 2027-01-15T08:00Z, a Friday.
    calendar = """
name = "mornings"
zone = "UTC"
windows = [{ days = ["fri", "sat"], start = 07:00:00, end = 09:00:00 }]
"""
    house.members(4)
    house.run(house.fleet.put_calendar(calendar, person="olga"))
    house.run(house.fleet.use_calendars("ICU-2", ["mornings"], person="olga"))
    house.run(house.service.create(house.document, person="olga"))
    house.order("start")
    house.step()
    assert house.slots() == {0}
    clock.advance_s(41 * 60)
    house.step()
    assert house.stands()[0] is S.RECALLED
    house.says(0, Outcome.WITHDRAWN)
    house.step()
    assert house.slots() == set()
    assert reasons(house)[0] is Why.WINDOW
    (line, *_) = house.run(house.planning.plan("net-41", most=1))
    assert line.next_ns == clock.now_ns + (22 * 3_600 + 19 * 60) * 10**9
    with pytest.raises(NotFound):
        house.run(house.fleet.use_calendars("", ["nobody"], person="olga"))


def test_rolling_back_is_a_campaign_of_its_own_within_the_same_limits(
    house: Any, shelf: Any, desk: Any
) -> None:
    to_wave_two(house)
    house.says(1, *house.way)
    shelf.known[house.new] = replace(shelf.known[house.new], floor=41)
    back = {"to": house.old, "wave": None, "person": "olga", "reason": "leaks"}
    with pytest.raises(Conflict, match="floor"):
        house.run(house.service.roll_back("net-41", **back))
    shelf.known[house.new] = replace(shelf.known[house.new], floor=40)
    name = house.run(house.service.roll_back("net-41", **back))
    house.step(2)
    assert house.state == "rolled-back"
    assert house.stands()[3] is S.LEFT
    assert house.stands()[2] is S.RECALLED
    # One slot of the old campaign is still out: the budget of two leaves room for one.
    assert list(house.stands(name).values()).count(S.ASSIGNED) == 1
    house.says(2, Outcome.OFFERED, Outcome.WITHDRAWN)
    house.step()
    assert house.stands()[2] is S.LEFT
    assert desk.has == {house.name_of(0): house.old, house.name_of(1): house.old}


def test_superseding_ends_one_and_starts_the_other(house: Any) -> None:
    house.began(4)
    house.step()
    newer = house.document.replace('"net-41"', '"net-42"')
    house.run(house.service.create(newer, person="olga"))
    house.run(house.service.supersede("net-41", by="net-42", person="olga"))
    house.step(2)
    assert house.stands()[0] is S.RECALLED
    assert house.stands("net-42")[0] is S.PENDING
    house.says(0, Outcome.OFFERED, Outcome.WITHDRAWN)
    house.step()
    assert house.stands()[0] is S.LEFT
    assert house.stands("net-42")[0] is S.ASSIGNED


def test_who_comes_to_match_joins(house: Any) -> None:
    house.began(2, "dynamic = true\n" + house.document)
    house.step()
    house.says(0, *house.way)
    house.step(2)
    house.says(1, *house.way)
    house.members(3)
    house.step()
    assert house.slots() == {2}


def test_two_hubs_never_act_twice(house: Any, second: Any, desk: Any) -> None:
    house.began(6)
    house.step()
    assert not second.run(second.engine.task.step())
    house.says(0, *house.way)
    house.step(2)
    house.store.clock.advance_s(16)
    second.step()
    # The first one slept through its lease, and has a step in its hands.
    asleep = Lease(name="campaigns", holder="hub-a", token=1, expires_at_ns=0)
    with pytest.raises(Conflict):
        house.run(house.engine.work(asleep))
    assert len(desk.calls) == len(set(desk.calls)) == 3


@pytest.mark.parametrize("dies", [1, 2, 3, 4, 5, 6])
def test_a_hub_killed_at_any_point_leaves_what_another_goes_on_with(
    house: Any, second: Any, desk: Any, dies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the n-th access to state or signer never happens; nobody gets a slot twice or none."""
    house.began(3)
    left = [dies]

    def cut(call: Any) -> Any:
        async def wrapped(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Unavailable("killed")
            return await call(*arguments, **named)

        return wrapped

    with monkeypatch.context() as patched:
        patched.setattr(house.store, "write", cut(house.store.write))
        patched.setattr(desk, "assign", cut(desk.assign))
        with contextlib.suppress(Unavailable):
            house.run(house.engine.task.step())
    house.store.clock.advance_s(16)
    second.step(2)
    assert second.slots() == {0}
    assert desk.has == {house.name_of(0): house.new}
    assert set(desk.calls) == {("assign", house.name_of(0))}


def test_whom_the_director_refuses_leaves_with_a_work_order(house: Any, desk: Any) -> None:
    desk.refuses = {house.name_of(0)}
    house.began(2)
    house.step()
    assert house.stands()[0] is S.LEFT
    (order,) = house.run(house.store.read(lambda c: orders.listed(c, campaign="net-41")))
    assert order.kind is Kind.REFUSED


def test_the_signer_away_loses_nothing(house: Any, desk: Any) -> None:
    house.began(2)
    desk.down = True
    with pytest.raises(Unavailable):
        house.step()
    desk.down = False
    house.step()
    assert desk.has == {house.name_of(0): house.new}


def test_the_hunt_names_who_was_not_seen(house: Any, clock: Any) -> None:
    house.began(3)
    clock.advance_s(25 * 3_600)
    house.step()
    assert house.slots() == set()
    found = house.run(house.planning.hunt("net-41"))
    assert [one.device for one, _ in found] == [house.name_of(n) for n in range(3)]
    assert reasons(house)[0] is Why.UNSEEN


def test_a_person_leaves_a_device_out(house: Any) -> None:
    to_wave_two(house)
    house.run(house.work.leave("net-41", house.name_of(3), person="olga", reason="scrapped"))
    assert house.stands()[3] is S.LEFT
    with pytest.raises(Conflict):
        house.run(house.work.leave("net-41", house.name_of(1), person="olga", reason="x"))
    for number in (1, 2):
        house.says(number, *house.way)
    house.step()
    assert house.state == "finished"


def test_everything_is_in_the_audit_log(house: Any) -> None:
    to_wave_two(house)
    with house.store.reading() as connection:
        found = log.page(connection, after=-1, entries_max=200)
    actions = [one.action for one in found]
    assert actions == [
        "list-members", "create-campaign", "start-campaign", "assign-release", "update-verified",
        "campaign-next-wave", "assign-release",
    ]  # fmt: skip
    tested = next(one for one in found if one.action == "update-verified")
    assert '"signal",1.0,0.9,1.1,"mV"' in tested.detail.replace(" ", "")


class Everybody:
    """Every device is there and does the same."""

    def __init__(self, state: ClinicalState) -> None:
        self.state = state

    def is_present(self, device: str) -> bool:
        return bool(device)

    def clinical_state(self, device: str) -> ClinicalState | None:
        return self.state if device else None


def test_the_fleet_follows_what_devices_say(house: Any, clock: Any, shelf: Any) -> None:
    shelf.unlisted = {house.name_of(1)}
    house.members(2, idle=False)
    assert house.run(house.fleet.follow(Everybody(ClinicalState.IN_USE))) == 0
    assert house.run(house.fleet.follow(Everybody(ClinicalState.IDLE))) == 2
    clock.advance_s(61)
    assert house.run(house.fleet.follow(Everybody(ClinicalState.IDLE))) == 2
    with house.store.reading() as connection:
        found = member_rows.all_members(connection, now_ns=clock.now_ns)
    assert [(one.model, one.idle) for one in found] == [("V8", True), ("", True)]
    clock.advance_s(301)
    with house.store.reading() as connection:
        assert not any(one.idle for one in member_rows.all_members(connection, now_ns=clock.now_ns))
    wrong = [Member(device=house.name_of(1), calendar="nobody")]
    with pytest.raises(NotFound):
        house.run(house.fleet.list_members(wrong, person="olga"))
