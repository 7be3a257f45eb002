"""Checks of alarm conditions at a hub: REQ-ALM."""

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.alarm import AlarmPhase, AlarmPriority
from asepsis.tools.conformance.bench import ALARM, BATCH, HubBench
from asepsis.tools.conformance.checks import demand, table
from asepsis.tools.conformance.source import condition

SOON_S: Final = 5.0
SILENCE_S: Final = 10.0
"""Within this loss of a device must show (REQ-ALM-010)."""
MDC_ASYSTOLE: Final = 196_652
GOING, ENDED, WITHHELD, OVER, LATER = range(0xC0, 0xC5)
ONSET, CHANGE, END = AlarmPhase


def entry(number: int, phase: str, *, at_ns: int = 0, **other: Any) -> dict[str, Any]:
    """Return one event of an alarm document; a field given as None is left out."""
    made = {
        "conditionId": f"00000000-0000-4000-8000-{number:012x}",
        "phase": phase,
        "kind": "physiological",
        "priority": "high",
        "latching": False,
        "inactivation": "none",
        "mdcCode": MDC_ASYSTOLE,
        "at": to_instant(at_ns or time.time_ns()),
    } | other
    return {name: value for name, value in made.items() if value is not None}


def document(
    device: str, events: Sequence[tuple[int, str] | dict[str, Any]], **other: Any
) -> bytes:
    """Return an alarm document of a source without an origin key."""
    entries = [e if isinstance(e, dict) else entry(*e) for e in events]
    return json.dumps({"device": device, "events": entries} | other).encode()


def words_are_kept(bench: HubBench) -> None:
    """Kind, priority, latching and inactivation reach a live view as the source said them."""
    said: dict[str, Any] = {
        "kind": "technical",
        "priority": "low",
        "latching": True,
        "inactivation": "audio-off",
    }
    with bench.view(bench.name("plain")) as view:
        _plain(bench, entry(1, "onset", **said))
        number = f"{1:x}"
        _, told = view.wait(
            "alarm",
            lambda e: e["found_by"] == "device" and e["condition_id"].endswith(number),
            seconds=SOON_S,
            what="an alarm document's event",
        )
        demand(all(told[name] == word for name, word in said.items()), f"it was told as {told}")
        _plain(bench, entry(1, "end", **said))


def kind_is_said(bench: HubBench) -> None:
    """An event that does not say whether it is physiological or technical is refused."""
    _lacking(bench, "kind")


def priority_is_said(bench: HubBench) -> None:
    """An event without priority, or with an unknown one, is refused."""
    _lacking(bench, "priority")
    _wrong(bench, priority="urgent")


def latching_is_said(bench: HubBench) -> None:
    """An event that does not say whether its signal is latching is refused."""
    _lacking(bench, "latching")


def inactivation_is_said(bench: HubBench) -> None:
    """An event without the state of its signals is refused; all six states are known."""
    _lacking(bench, "inactivation")
    words_are_kept(bench)


def three_phases(bench: HubBench) -> None:
    """Onset, change and end of a condition are three events with one id."""
    device, source = bench.name("signing"), bench.source()
    with bench.view(device) as view:
        phases = (ONSET, CHANGE, END)
        for phase, priority in zip(phases, (*AlarmPriority,), strict=True):
            bench.accept(
                "signing",
                "/alerts",
                source.alarms(condition(GOING, phase, priority=priority)),
                BATCH,
            )
            name, number = phase.name.lower(), f"{GOING:x}"
            _, told = view.wait(
                "alarm",
                lambda e, name=name, number=number: (
                    e["phase"] == name
                    and e["found_by"] == "device"
                    and e["condition_id"].endswith(number)
                ),
                seconds=SOON_S,
                what=f"the {name} of a condition",
            )
            demand(told["priority"] == priority.name.lower(), "a priority was changed")


def durable(bench: HubBench) -> None:
    """An acknowledged alarm event stands in the alert lane, byte for byte."""
    batch = bench.source().alarms(condition(OVER), condition(OVER, END))
    bench.accept("signing", "/alerts", batch, BATCH)
    bench.stored("alert", batch)


def silence(bench: HubBench) -> None:
    """A silent device is a technical alarm condition of the hub's own within ten seconds."""
    source = bench.source()
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/origin", source.values(), BATCH)
        _, told = view.wait(
            "alarm",
            lambda e: e["found_by"] == "hub" and e["phase"] == "onset",
            seconds=SILENCE_S,
            what="the silence of a device",
        )
        demand(told["kind"] == "technical", "silence is not a technical alarm condition")


def unchanged(bench: HubBench) -> None:
    """The hub tells an alarm condition at once and with the priority of its device."""
    source = bench.source()
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/origin", source.alarms(listed=True), BATCH)
        sent_s = time.monotonic()
        bench.accept("signing", "/alerts", source.alarms(condition(LATER)), BATCH)
        number = f"{LATER:x}"
        told_s, told = view.wait(
            "alarm",
            lambda e: e["found_by"] == "device" and e["condition_id"].endswith(number),
            seconds=SOON_S,
            what="an alarm event",
        )
        demand(told["priority"] == "high", "a priority was changed")
        demand(told_s - sent_s < 1.0, f"it was told after {told_s - sent_s:.2f} s")
        bench.accept("signing", "/alerts", source.alarms(condition(LATER, END)), BATCH)


def history_is_history(bench: HubBench) -> None:
    """What began and ended while the hub was away never becomes active in a live view."""
    source = bench.source()
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/origin", source.alarms(listed=True), BATCH)
        missed = [source.alarms(condition(ENDED)), source.alarms(condition(ENDED, END))]
        bench.accept("signing", "/origin", source.alarms(listed=True), BATCH)
        for batch in missed:
            bench.accept("signing", "/late", batch, BATCH)
        bench.accept("signing", "/alerts", source.alarms(condition(LATER)), BATCH)
        view.wait(
            "alarm",
            lambda e: e["found_by"] == "device" and e["phase"] == "onset",
            seconds=SOON_S,
            what="an alarm event of now",
        )
        time.sleep(1.0)
        number = f"{ENDED:x}"
        told = view.find(
            "alarm", lambda e: e["condition_id"].endswith(number) and e["phase"] != "end"
        )
        demand(told is None, "an alarm condition of the past was shown as active")
        bench.accept("signing", "/alerts", source.alarms(condition(LATER, END)), BATCH)


def own_are_marked(bench: HubBench) -> None:
    """A technical alarm condition that the hub found says so and names its cause."""
    source = bench.source()
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/origin", source.values(), BATCH)
        _, told = view.wait(
            "alarm",
            lambda e: e["kind"] == "technical" and e["found_by"] == "hub",
            seconds=SILENCE_S,
            what="a technical alarm condition",
        )
        demand(told["cause"], "a condition of the hub's own names no cause")


def list_is_the_truth(bench: HubBench) -> None:
    """What the newest list names is active, what it leaves out has ended."""
    source = bench.source()
    with bench.view(bench.name("signing")) as view:
        bench.accept(
            "signing", "/origin", source.alarms(condition(WITHHELD, CHANGE), listed=True), BATCH
        )
        number = f"{WITHHELD:x}"
        for phase in ("change", "end"):
            view.wait(
                "alarm",
                lambda e, phase=phase: (
                    e["condition_id"].endswith(number) and (e["phase"] == "end") == (phase == "end")
                ),
                seconds=SOON_S,
                what=f"what a list says ({phase})",
            )
            bench.accept("signing", "/origin", source.alarms(listed=True), BATCH)


def held_back(bench: HubBench) -> None:
    """An alarm event that a network held back is refused live and taken late, as history."""
    source = bench.source()
    bench.accept("signing", "/origin", source.values(), BATCH)
    late = source.held_back(condition(ENDED + 0x100))
    bench.refuse("signing", "/alerts", late, BATCH, 409)
    bench.accept("signing", "/late", late, BATCH)


def unknown_since(bench: HubBench) -> None:
    """After a lease that ran out the active conditions of a device are told as unknown."""
    source = bench.source()
    with bench.view(bench.name("signing")) as view:
        listed = source.alarms(condition(GOING + 0x200, CHANGE), listed=True)
        bench.accept("signing", "/origin", listed, BATCH)
        view.wait(
            "alarm",
            lambda e: e["found_by"] == "device" and e["unknown_since_ns"] is not None,
            seconds=SILENCE_S,
            what="that an active condition is unknown",
        )
        bench.accept("signing", "/origin", source.alarms(listed=True), BATCH)


def late_documents(bench: HubBench) -> None:
    """An alarm document that can no longer be live is refused live and taken late."""
    body = document(bench.name("plain"), [entry(7, "onset", at_ns=time.time_ns() - 60 * 10**9)])
    headers = bench.numbered("plain", ALARM)
    bench.refuse("plain", "/alerts", body, headers, 409)
    bench.accept("plain", "/late", body, headers)


def silent_gateway(bench: HubBench) -> None:
    """A gateway that was heard and falls silent is one technical alarm condition."""
    with bench.view(bench.name("gateway")) as view:
        bench.client("gateway").get("/metadata")
        view.wait(
            "alarm",
            lambda e: e["device"] == bench.name("gateway") and e["phase"] != "end",
            seconds=SILENCE_S + SOON_S,
            what="the silence of a gateway",
        )


def list_says_when(bench: HubBench) -> None:
    """A list of active conditions that does not say when it was made is refused."""
    body = document(bench.name("plain"), [], listsActive=True)
    bench.refuse("plain", "/alerts", body, bench.numbered("plain", ALARM), 400, 422)
    made = document(bench.name("plain"), [], listsActive=True, madeAt=to_instant(time.time_ns()))
    bench.accept("plain", "/alerts", made, bench.numbered("plain", ALARM))


def _plain(bench: HubBench, event: dict[str, Any]) -> None:
    body = document(bench.name("plain"), [event])
    bench.accept("plain", "/alerts", body, bench.numbered("plain", ALARM))


def _lacking(bench: HubBench, field: str) -> None:
    _wrong(bench, **{field: None})


def _wrong(bench: HubBench, **fields: Any) -> None:
    body = document(bench.name("plain"), [entry(2, "onset", **fields)])
    bench.refuse("plain", "/alerts", body, bench.numbered("plain", ALARM), 400, 422)


CHECKS: Final = table(
    ("ALM-001", kind_is_said),
    ("ALM-002", priority_is_said),
    ("ALM-003", three_phases),
    ("ALM-004", latching_is_said),
    ("ALM-005", inactivation_is_said),
    ("ALM-008", durable),
    ("ALM-010", silence),
    ("ALM-011", unchanged),
    ("ALM-012", history_is_history),
    ("ALM-013", own_are_marked),
    ("ALM-015", list_is_the_truth),
    ("ALM-016", held_back),
    ("ALM-017", unknown_since),
    ("ALM-019", late_documents),
    ("ALM-020", silent_gateway),
    ("ALM-021", list_says_when),
)
