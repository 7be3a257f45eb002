"""Consumers: pull, commit, replay; expiry never takes what a mandatory one has not seen."""

from typing import Any

import pytest

from asepsis.core.errors import InputError, LimitExceeded, NotFound
from asepsis.core.journal.limits import JournalLimits
from asepsis.core.model.lanes import Account, Lane

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS


def pulled(desk: Any, who: str, lane: Lane = Lane.VITALS) -> list[int]:
    return [r.append.sequence for r in desk.journal.pull(who, lane, records_max=3)]


def test_pull_repeats_until_commit_and_the_cursor_survives(desk: Any) -> None:
    desk.journal.register("charts", {Lane.VITALS: True, Lane.WAVEFORM: False})
    for n in range(1, 6):
        desk.append(n)
        desk.append(n, Lane.WAVEFORM)
    assert pulled(desk, "charts") == pulled(desk, "charts") == [1, 2, 3]
    desk.journal.commit("charts", Lane.VITALS, 3)
    desk.journal.commit("charts", Lane.WAVEFORM, 4)
    desk.reopen()
    assert pulled(desk, "charts") == [4, 5]
    assert pulled(desk, "charts", Lane.WAVEFORM) == [5]
    desk.journal.commit("charts", Lane.VITALS, 1)
    assert pulled(desk, "charts") == [4, 5], "a cursor never goes back"
    assert desk.sequences(Lane.VITALS) == [1, 2, 3, 4, 5], "replay is a matter of reading"


def test_wrong_cursors_are_refused(desk: Any) -> None:
    desk.append(1)
    desk.journal.register("charts", {Lane.VITALS: True})
    with pytest.raises(NotFound):
        desk.journal.pull("nobody", Lane.VITALS, records_max=1)
    with pytest.raises(NotFound):
        desk.journal.commit("charts", Lane.ALERT, 0)
    with pytest.raises(InputError):
        desk.journal.commit("charts", Lane.VITALS, 2)
    with pytest.raises(InputError):
        desk.journal.register("", {Lane.VITALS: True})


def test_registering_again_keeps_the_place_and_drops_lanes(desk: Any) -> None:
    desk.append(1)
    desk.append(2, Lane.ALERT)
    desk.journal.register("charts", {Lane.VITALS: True, Lane.ALERT: True})
    desk.journal.commit("charts", Lane.VITALS, 1)
    desk.journal.register("charts", {Lane.VITALS: False})
    desk.reopen()
    assert pulled(desk, "charts") == []
    with pytest.raises(NotFound):
        pulled(desk, "charts", Lane.ALERT)
    assert desk.journal.status()[Lane.ALERT].undelivered == 0


def test_consumers_are_bounded(desk: Any) -> None:
    desk.limits = JournalLimits(consumers_max=2, reserve_bytes=0)
    desk.journal.register("one", {Lane.VITALS: True})
    desk.journal.register("two", {Lane.VITALS: True})
    with pytest.raises(LimitExceeded):
        desk.journal.register("three", {Lane.VITALS: True})
    desk.journal.register("two", {Lane.VITALS: False})


def test_what_a_mandatory_consumer_has_not_seen_never_expires(desk: Any) -> None:
    desk.journal.register("charts", {Lane.VITALS: True})
    desk.journal.register("live", {Lane.VITALS: False})
    for n in (1, 2, 3):
        desk.append(n)
    desk.journal.commit("charts", Lane.VITALS, 2)
    desk.journal.commit("live", Lane.VITALS, 3)
    assert desk.journal.status()[Lane.VITALS].undelivered == 1
    assert desk.journal.expire(desk.now_ns + 100 * DAY_NS)[Lane.VITALS] == 2
    assert desk.sequences(Lane.VITALS) == [3]
    desk.journal.commit("charts", Lane.VITALS, 3)
    assert desk.journal.expire(desk.now_ns + 100 * DAY_NS)[Lane.VITALS] == 1
    status = desk.journal.status()[Lane.VITALS]
    assert (status.first, status.last, status.bytes_held) == (0, 3, 0)


def test_only_what_is_old_enough_expires(desk: Any) -> None:
    for n in range(1, 1201):
        desk.journal.submit(desk.record(n))
    desk.append(1201)
    desk.now_ns += HOUR_NS
    desk.append(1202)
    assert desk.journal.expire(desk.now_ns)[Lane.VITALS] == 0
    assert desk.journal.expire(desk.now_ns + 1)[Lane.VITALS] == 1201
    assert desk.sequences(Lane.VITALS) == [1202]
    assert desk.journal.status()[Lane.VITALS].first == 1202


def test_late_records_of_both_accounts_expire_behind_one_cursor(desk: Any) -> None:
    desk.journal.register("charts", {Lane.LATE: True})
    desk.append(1, Lane.LATE, account=Account.WAVEFORM, link=None)
    desk.append(1, Lane.LATE)
    desk.append(2, Lane.LATE, account=Account.WAVEFORM, link=None)
    later_ns = desk.now_ns + 2 * HOUR_NS
    assert desk.journal.expire(later_ns)[Lane.LATE] == 0
    desk.journal.commit("charts", Lane.LATE, 2)
    assert desk.journal.expire(later_ns)[Lane.LATE] == 2
    assert desk.sequences(Lane.LATE) == [2]


def test_keys_die_with_the_last_record_of_their_day_and_not_before(desk: Any) -> None:
    keys = desk.folder / "keys"
    desk.append(1)
    desk.now_ns += DAY_NS
    desk.append(2)
    days = sorted(path.name for path in keys.glob("vitals.*"))
    assert days == ["vitals.20000.key", "vitals.20001.key"]
    desk.journal.expire(desk.now_ns)
    assert [path.name for path in keys.glob("vitals.*")] == ["vitals.20001.key"]
    assert desk.sequences(Lane.VITALS) == [2]
    desk.journal.expire(desk.now_ns + DAY_NS)
    assert list(keys.glob("vitals.*")) == []
