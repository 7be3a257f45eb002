"""Checks of values and waveforms at a hub: REQ-OBS, REQ-WAV."""

import time
from typing import Any, Final

from asepsis.tools.conformance.bench import BATCH, FHIR, WAVES, HubBench
from asepsis.tools.conformance.checks import demand, table
from asepsis.tools.conformance.hub_origin import bundle
from asepsis.tools.conformance.source import (
    HEART_RATE,
    HEART_RATE_SHOWN,
    PER_MINUTE,
    numeric,
)

SOON_S: Final = 5.0
PAST_NS: Final = 60 * 10**9
PRIVATE_METRIC: Final = 1_024 << 16 | 0xF001
NOT_A_NUMBER: Final = 0x007FFFFF
DISPLAYED: Final = 0xFE000E4C
"""36.60 as FLOAT-Type (standard/frames.md section 2)."""


def named_by_code(bench: HubBench) -> None:
    """A value is told with the codes of its metric and its unit."""
    _, told = _told(bench, HEART_RATE)
    demand(told["mdc_code"] == HEART_RATE, "the metric's code was changed")
    demand(told["unit_code"] == PER_MINUTE, "the unit's code was changed")


def decimals_stay(bench: HubBench) -> None:
    """A value keeps the decimals that the device displays."""
    source = bench.source()
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/origin", source.values([numeric(DISPLAYED)]), BATCH)
        view.wait(
            "numerics",
            lambda told: any(n["value"] == "36.60" for n in told["numerics"]),
            seconds=SOON_S,
            what="36.60 with both decimals",
        )


def invalid_is_no_number(bench: HubBench) -> None:
    """A value that is not valid, or not a number, is never told as a number."""
    source = bench.source()
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/origin", source.values([numeric(NOT_A_NUMBER)]), BATCH)
        view.wait(
            "numerics",
            lambda told: (
                told["sequence"] == source.sequence and told["numerics"][0]["value"] is None
            ),
            seconds=SOON_S,
            what="a value without a number",
        )


def wrong_dimension(bench: HubBench) -> None:
    """A unit whose dimension does not fit the metric is refused with 422."""
    body = bundle(bench.name("plain")).replace(b'"/min"', b'"mm[Hg]"')
    bench.refuse("plain", "/fhir", body, bench.numbered("plain", FHIR), 422)


def private_metric(bench: HubBench) -> None:
    """A vendor's private metric is taken and told under its own code."""
    _told(bench, PRIVATE_METRIC)


def mdc_coding(bench: HubBench) -> None:
    """A FHIR observation without an MDC coding is refused."""
    body = bundle(bench.name("plain")).replace(
        b"urn:iso:std:iso:11073:10101", b"urn:example:codes-of-our-own"
    )
    bench.refuse("plain", "/fhir", body, bench.numbered("plain", FHIR), 400, 422)


def equals_its_batch(bench: HubBench) -> None:
    """A bundle of a signing device equals the batch that it names, or is refused."""
    source = bench.source()
    at_ns = source.header().instant.wall_ns
    bench.accept("signing", "/origin", source.values([numeric(61)]), BATCH)
    lie = bundle(bench.name("signing"), beside=source, value=62, at_ns=at_ns)
    bench.refuse("signing", "/fhir", lie, FHIR, 422)
    nameless = bundle(bench.name("signing"))
    bench.refuse("signing", "/fhir", nameless, FHIR, 400, 422)


def numbers_of_unsigned(bench: HubBench) -> None:
    """A source without an origin key that does not number what it sends is refused."""
    body = bundle(bench.name("plain"))
    bench.refuse("plain", "/fhir", body, FHIR, 400)
    bench.accept("plain", "/fhir", body, bench.numbered("plain", FHIR))


def late_in_order(bench: HubBench) -> None:
    """Late data keeps its number, signature and previous hash, and the lane holds it so."""
    source = bench.source()
    bench.accept("signing", "/origin", source.values(), BATCH)
    missed = [source.values(), source.values()]
    bench.accept("signing", "/origin", source.values(), BATCH)
    for batch in missed:
        bench.accept("signing", "/late", batch, BATCH)
    for batch, record in zip(missed, list(_late(bench, missed)), strict=True):
        demand(record["sequence"] > 0, f"a late record of {len(batch)} bytes has no number")


def late_is_not_live(bench: HubBench) -> None:
    """What comes on the late lane reaches no live view."""
    source = bench.source()
    bench.accept("signing", "/origin", source.values(), BATCH)
    missed = source.values([numeric(199)])
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/origin", source.values(), BATCH)
        bench.accept("signing", "/late", missed, BATCH)
        time.sleep(1.0)
        shown = view.find("numerics", lambda t: any(n["value"] == "199" for n in t["numerics"]))
        demand(shown is None, "a late value was shown as live")


def both_times(bench: HubBench) -> None:
    """A record holds the device's own bytes with its time, and the time of arrival."""
    before_ns = time.time_ns()
    batch = bench.source().values()
    bench.accept("signing", "/origin", batch, BATCH)
    record = bench.stored("vitals", batch)
    away_ns = abs(record["received_at_ns"] - before_ns)
    demand(away_ns < PAST_NS, "the time of arrival is not that of the arrival")


def signed_held_back(bench: HubBench) -> None:
    """A signed batch that took over four seconds longer than others gets 409 on a live lane."""
    source = bench.source()
    bench.accept("signing", "/origin", source.values(), BATCH)
    old = source.held_back()
    bench.refuse("signing", "/origin", old, BATCH, 409)
    bench.accept("signing", "/late", old, BATCH)


def unsigned_held_back(bench: HubBench) -> None:
    """Unsigned data that was made over ten seconds ago gets 409 on a live lane."""
    old = bundle(bench.name("plain"), made_ns=time.time_ns() - PAST_NS)
    headers = bench.numbered("plain", FHIR)
    bench.refuse("plain", "/fhir", old, headers, 409)
    bench.accept("plain", "/late", old, headers)


def wrong_crc(bench: HubBench) -> None:
    """A packet with a frame whose CRC is wrong is refused as a whole."""
    packet, _ = bench.source().packet()
    damaged = bytearray(packet)
    damaged[-1] ^= 1
    bench.refuse("signing", "/waveforms", bytes(damaged), WAVES, 400)


def whole_frame(bench: HubBench) -> None:
    """A frame is told with its metric, unit, time, period, scale and offset; a cut one is not."""
    source, device = bench.rebooted(), bench.name("signing")
    batch, packet = source.waves()
    bench.refuse("signing", "/waveforms", packet[:-3], WAVES, 400)
    with bench.view(device, waveforms=True) as view:
        bench.accept("signing", "/waveforms", packet, WAVES)
        bench.accept("signing", "/origin", batch, BATCH)
        _, told = view.wait(
            "waveform", lambda w: w["device"] == device, seconds=SOON_S, what="a frame"
        )
    fields = ("handle", "mdc_code", "unit_code", "wall_ns", "period_ns", "scale", "offset")
    missing = [name for name in fields if told.get(name) is None]
    demand(not missing, f"a frame is told without {', '.join(missing)}")


def _told(bench: HubBench, metric: int) -> tuple[Any, Any]:
    source = bench.source()
    with bench.view(bench.name("signing")) as view:
        batch = source.values([numeric(metric=metric)])
        bench.accept("signing", "/origin", batch, BATCH)
        at_s, told = view.wait(
            "numerics",
            lambda t: any(
                n["mdc_code"] == metric and n["value"] == HEART_RATE_SHOWN for n in t["numerics"]
            ),
            seconds=SOON_S,
            what=f"a value of metric {metric}",
        )
        return at_s, next(n for n in told["numerics"] if n["mdc_code"] == metric)


def _late(bench: HubBench, missed: list[bytes]) -> list[dict[str, Any]]:
    found = [r for r in bench.records("late") if r["producer"] == bench.name("signing")]
    demand(len(found) >= len(missed), "the late lane lacks what was acknowledged")
    return found[-len(missed) :]


CHECKS: Final = table(
    ("OBS-001", named_by_code),
    ("OBS-002", decimals_stay),
    ("OBS-003", invalid_is_no_number),
    ("OBS-004", wrong_dimension),
    ("OBS-005", private_metric),
    ("OBS-006", mdc_coding),
    ("OBS-007", equals_its_batch),
    ("OBS-008", numbers_of_unsigned),
    ("OBS-009", late_in_order),
    ("OBS-010", late_is_not_live),
    ("OBS-011", both_times),
    ("OBS-013", signed_held_back),
    ("OBS-014", unsigned_held_back),
    ("WAV-002", whole_frame),
    ("WAV-004", wrong_crc),
)
