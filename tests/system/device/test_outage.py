"""The link is cut under alarms: what the ward sees, what comes back, and that nothing is lost.

`ASEPSIS_OUTAGE_S=600` cuts it for ten minutes instead of some seconds.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.model.alarm import AlarmPhase
from asepsis.core.wire import frames
from asepsis.core.wire.origin import decode_batch
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital, IdentityFolder

HOLDING = detect().holding
OUTAGE_S = float(os.environ.get("ASEPSIS_OUTAGE_S", "20"))
NAME = "urn:dev:mac:0012210000000041"
NO_DATA_S_MAX = 10.0
BACK_S_MAX = 1.0
SETTLE_S = 4.2
"""An alarm condition begins or ends after two seconds, and is looked at once a second: three at
most, and one more for a machine that is busy."""
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180 + 2 * OUTAGE_S)]


@pytest.fixture
def links(outage: ModuleType, hub: Any) -> Iterator[list[Any]]:
    made = [
        outage.Link(port) for port in (hub.addresses.clinical.port, hub.addresses.enrolment.port)
    ]
    yield made
    for link in made:
        link.close()


def behind(folder: IdentityFolder, links: list[Any]) -> IdentityFolder:
    """Let the device know its hub at the links' own ports."""
    name, addresses, root_der = folder.load()
    clinical, enrolment = (Endpoint(addresses.clinical.host, link.port) for link in links)
    folder.finish(name, Hospital(clinical, enrolment), root_der)
    return folder


class Bedside:
    """Presses keys and waits until vitals has judged what they did."""

    def __init__(self, under_test: Any, supervisor: Any) -> None:
        self._under_test = under_test
        self._supervisor = supervisor

    def __call__(self, *episodes: str) -> None:
        for episode in episodes:
            self._supervisor.bedside(episode)
            self._under_test.during(SETTLE_S)


def records(hub: Any) -> tuple[list[Any], list[Any]]:
    """Return the signed batches and the waveform packets that the hub has of the device."""
    batches = sorted(hub.of(NAME, "vitals", "alert", "late"))
    packets = sorted(hub.of(NAME, "waveform", "late", account="waveform"))
    return [decode_batch(body) for *_, body in batches], [
        frames.decode_packet(body) for *_, body in packets
    ]


@dataclass
class Course:
    """What was seen of one outage; seconds count from the cut, or from the return."""

    before: str = ""
    silence_s: float | None = None
    stale_s: float | None = None
    unsure: dict[str, bool] = field(default_factory=dict[str, bool])
    back_s: float = 0.0
    live_s: float | None = None
    alarm_s: float | None = None
    shown: set[str] = field(default_factory=set[str])
    settled: dict[str, bool] = field(default_factory=dict[str, bool])


def lead_up(press: Any, under_test: Any, view: Any, course: Course) -> None:
    under_test.until(lambda: view.first("numerics", after_s=0), timeout_s=30)
    press("tachycardia")
    under_test.until(view.active)
    (course.before,) = view.active()


def cut(press: Any, under_test: Any, hub: Any, links: list[Any], view: Any, course: Course) -> None:
    """Cut; the alarm of before ends, others begin and end, the last begins and stays."""
    for link in links:
        link.cut()
    cut_s = time.monotonic()
    press("normal", "desaturation", "normal")
    while time.monotonic() - cut_s < OUTAGE_S - SETTLE_S:
        press("desaturation", "normal") if OUTAGE_S > 60 else under_test.during(0.5)
        hub.pull()
    press("hypotension")
    course.silence_s = view.first("alarm", after_s=cut_s, cause="silence", phase="onset")
    course.stale_s = view.first("stale", after_s=cut_s)
    course.unsure = view.active()


def come_back(under_test: Any, hub: Any, links: list[Any], view: Any, course: Course) -> None:
    for link in links:
        link.mend()
    course.back_s = back_s = time.monotonic()
    under_test.until(lambda: view.first("numerics", after_s=back_s) is not None)
    course.live_s = view.first("numerics", after_s=back_s)
    under_test.until(
        lambda: view.first("alarm", after_s=back_s, cause="silence", phase="end") is not None
    )
    under_test.until(lambda: view.first("alarm", after_s=back_s, found_by="device") is not None)
    course.alarm_s = view.first("alarm", after_s=back_s, found_by="device")
    course.shown = {condition for condition, sure in view.active().items() if sure}
    under_test.until(lambda: _drained(hub, under_test, view), timeout_s=60 + OUTAGE_S / 4)
    course.settled = view.active()


def test_an_outage_under_alarms(
    intrusion: ModuleType, outage: ModuleType, hub: Any, links: list[Any]
) -> None:
    """Goal: "no data" soon, live again within a second, no ended alarm active, no record lost."""
    under_test = intrusion.Ward(behind(hub.enrolled(NAME), links), HOLDING)
    course = Course()
    hub.pull()
    with (
        outage.watching(hub, hub.consumer_folder, NAME) as view,
        under_test.running() as supervisor,
    ):
        press = Bedside(under_test, supervisor)
        lead_up(press, under_test, view, course)
        cut(press, under_test, hub, links, view, course)
        come_back(under_test, hub, links, view, course)
        press("normal")
    for _ in range(2):
        time.sleep(0.5)
        hub.pull()
    batches, packets = records(hub)
    _nothing_is_lost(batches, packets, under_test)
    _nothing_old_is_live(batches, view, course)
    figures = {k: v for k, v in asdict(course).items() if k.endswith("_s") and k != "back_s"}
    sys.stdout.write(f"outage of {OUTAGE_S} s: {figures}\n")
    assert course.unsure == {course.before: False}, "not known whether it is still active"
    assert course.silence_s is not None
    assert course.silence_s < NO_DATA_S_MAX
    assert course.stale_s is not None
    assert course.stale_s < NO_DATA_S_MAX
    assert course.live_s is not None
    assert course.live_s < BACK_S_MAX


def _drained(hub: Any, under_test: Any, view: Any) -> bool:
    """Whether the hub misses no number up to the newest that it has shown."""
    under_test.during(0.5)
    hub.pull()
    numbers = {sequence for _, sequence, _ in hub.of(NAME, "vitals", "alert", "late")}
    newest = max(d["sequence"] for _, name, d in view.seen if name == "numerics")
    return numbers >= set(range(1, newest + 1)) and bool(under_test)


def _nothing_is_lost(batches: list[Any], packets: list[Any], under_test: Any) -> None:
    assert {batch.epoch for batch in batches} == {batches[0].epoch}
    assert [batch.sequence for batch in batches] == list(range(1, len(batches) + 1))
    assert all(b.previous == a.digest for a, b in pairwise(batches))
    assert all(b.header.ring_first == a.header.ring_last + 1 for a, b in pairwise(batches))
    assert len(batches) >= under_test.told("origin", "alive")[-1]["batches"]
    got = {frame.digest for packet in packets for frame in packet.frames}
    promised = {digest.sha256 for batch in batches for digest in batch.waveform_digests()}
    assert promised == got, "a waveform frame is missing"


def _nothing_old_is_live(batches: list[Any], view: Any, course: Course) -> None:
    numerics = [(at_s, told["sequence"]) for at_s, name, told in view.seen if name == "numerics"]
    assert [n for _, n in numerics] == sorted(n for _, n in numerics), "late data in a live view"
    first_live = min(n for at_s, n in numerics if at_s >= course.back_s)
    began, ended = (
        {
            event.condition_id.hex(): batch.sequence
            for batch in batches
            for event in batch.alarms()
            if event.phase is phase
        }
        for phase in (AlarmPhase.ONSET, AlarmPhase.END)
    )
    assert began.keys() == ended.keys(), "every alarm condition of this test ends"
    over = {condition for condition, number in ended.items() if number < first_live}
    told = {e["condition_id"] for e in view.alarms(after_s=course.back_s) if e["phase"] != "end"}
    assert over & told == set(), "an ended alarm condition was told as active"
    assert over & course.shown == set()
    assert course.before in over
    assert len(over) >= 2
    assert began.keys() - over == told, "what was active on return was not told"
    assert course.settled == dict.fromkeys(told, True)
