"""Checks of origin signatures at a hub: REQ-ORG."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from asepsis.core.mapping.fhir_numeric import Origin, numeric_to_observation
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust.libcrypto import generate_key
from asepsis.core.wire.fhir import Bundle, BundleEntry
from asepsis.core.wire.fhir_codec import encode
from asepsis.core.wire.fhir_types import Identifier
from asepsis.core.wire.origin import SIGNATURE_BYTES, encode_batch
from asepsis.tools.conformance.bench import ALARM, BATCH, FHIR, WAVES, HubBench
from asepsis.tools.conformance.checks import demand, table
from asepsis.tools.conformance.hub_alarms import document
from asepsis.tools.conformance.source import Source, numeric

SOON_S: Final = 5.0
GAP_S: Final = 2.0
LEASE_S: Final = 10.0
SLACK_S: Final = 1.0


def other_epoch(bench: HubBench) -> None:
    """A batch of an earlier boot epoch does not enter a live lane."""
    source = bench.source()
    bench.accept("signing", "/origin", source.values(), BATCH)
    older = replace(source, epoch=source.epoch - 1, sequence=0, previous=bytes(32))
    bench.refuse("signing", "/origin", older.values(), BATCH, 409, 403)


def numbered_from_one(bench: HubBench) -> None:
    """A hole in the numbers is a technical alarm condition until a late batch fills it."""
    source = bench.rebooted()
    bench.accept("signing", "/origin", source.values(), BATCH)
    missing = source.values()
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/origin", source.values(), BATCH)
        view.wait("alarm", _caused("gap", "onset"), seconds=SOON_S, what="a missing number")
        bench.accept("signing", "/late", missing, BATCH)
        view.wait("alarm", _caused("gap", "end"), seconds=SOON_S, what="that the gap is filled")


def chained(bench: HubBench) -> None:
    """A batch that does not name the one before it is refused."""
    source = bench.rebooted()
    bench.accept("signing", "/origin", source.values(), BATCH)
    astray = source.twin()
    astray.previous = bytes(31) + b"\1"
    bench.refuse("signing", "/origin", astray.values(), BATCH, 403)


def names_everything(bench: HubBench) -> None:
    """A batch that is cut short, or has a byte too many, is refused."""
    batch = bench.source().twin().values()
    for wrong in (batch[:-1], batch + b"\0", batch[:40]):
        bench.refuse("signing", "/origin", wrong, BATCH, 400, 403)


def undigested(bench: HubBench) -> None:
    """A waveform frame without a digest is not told; one with a digest is, as the device's own."""
    source, device = bench.rebooted(), bench.name("signing")
    with bench.view(device, waveforms=True) as view:
        unproven, _ = source.packet()
        bench.accept("signing", "/waveforms", unproven, WAVES)
        bench.accept("signing", "/origin", source.values(), BATCH)
        time.sleep(SLACK_S)
        shown = view.find("waveform", lambda w: w["assurance"] == "device-origin")
        demand(shown is None, "a frame without a digest is told as the device's own")
        batch, packet = source.waves()
        bench.accept("signing", "/waveforms", packet, WAVES)
        bench.accept("signing", "/origin", batch, BATCH)
        view.wait(
            "waveform",
            lambda w: w["device"] == device and w["assurance"] == "device-origin",
            seconds=SOON_S,
            what="a proven frame",
        )


def forged(bench: HubBench) -> None:
    """A batch of another key is refused, and a technical alarm condition says so."""
    source = bench.rebooted()
    bench.accept("signing", "/origin", source.values(), BATCH)
    with bench.view(bench.name("signing")) as view:
        forger = replace(source, key=generate_key())
        bench.refuse("signing", "/origin", forger.values(), BATCH, 403)
        batch = bytearray(source.twin().values())
        batch[-SIGNATURE_BYTES - 1] ^= 1
        bench.refuse("signing", "/origin", bytes(batch), BATCH, 400, 403)
        view.wait(
            "alarm",
            lambda e: e["found_by"] == "hub" and e["cause"] not in ("gap", "silence"),
            seconds=SOON_S,
            what="that a batch was forged",
        )


def raw_signature(bench: HubBench) -> None:
    """A signature in another form than 64 bytes r and s is refused."""
    source = bench.source()
    part = encode_batch(source.header(), numerics=[numeric()])
    der = b"\x30\x44\x02\x20" + bytes(32) + b"\x02\x20" + bytes(32)
    bench.refuse("signing", "/origin", part + der, BATCH, 400, 403)


def assured(bench: HubBench) -> None:
    """Every value and every alarm event that is told carries its assurance."""
    with bench.view(bench.name("signing"), bench.name("plain")) as view:
        bench.accept("signing", "/origin", bench.source().values(), BATCH)
        _, own = view.wait("numerics", _of(bench.name("signing")), seconds=SOON_S, what="values")
        demand(own["assurance"] == "device-origin", f"signed values: {own['assurance']}")
        unsigned = bundle(bench.name("plain"))
        bench.accept("plain", "/fhir", unsigned, bench.numbered("plain", FHIR))
        _, other = view.wait("numerics", _of(bench.name("plain")), seconds=SOON_S, what="values")
        demand(other["assurance"] == "device-certificate", f"unsigned: {other['assurance']}")


def fork(bench: HubBench) -> None:
    """Two different batches with one number: the second is refused, and an alarm says so."""
    source = bench.rebooted()
    bench.accept("signing", "/origin", source.values(), BATCH)
    second = source.twin()
    bench.accept("signing", "/origin", source.values(), BATCH)
    with bench.view(bench.name("signing")) as view:
        bench.refuse("signing", "/origin", second.values([numeric(99)]), BATCH, 403)
        view.wait(
            "alarm",
            lambda e: e["found_by"] == "hub" and e["cause"] not in ("gap", "silence"),
            seconds=SOON_S,
            what="a fork",
        )


def gap_in_time(bench: HubBench) -> None:
    """A missing number is a technical alarm condition within two seconds."""
    source = bench.rebooted()
    bench.accept("signing", "/origin", source.values(), BATCH)
    missing = source.values()
    with bench.view(bench.name("signing")) as view:
        sent_s = time.monotonic()
        bench.accept("signing", "/origin", source.values(), BATCH)
        told_s, _ = view.wait("alarm", _caused("gap", "onset"), seconds=SOON_S, what="a gap")
        demand(told_s - sent_s <= GAP_S, f"a gap is told after {told_s - sent_s:.2f} s")
        bench.accept("signing", "/late", missing, BATCH)


def lease(bench: HubBench) -> None:
    """No batch for longer than the lease, at most ten seconds, is a technical alarm condition."""
    with bench.view(bench.name("signing")) as view:
        sent_s = time.monotonic()
        bench.accept("signing", "/origin", bench.source().values(), BATCH)
        told_s, _ = view.wait(
            "alarm", _caused("silence", "onset"), seconds=LEASE_S + SOON_S, what="silence"
        )
        demand(told_s - sent_s <= LEASE_S + SLACK_S, f"after {told_s - sent_s:.1f} s")


def unsigned_of_a_signer(bench: HubBench) -> None:
    """Unsigned alarm events and unsigned late data of a device with an origin key are refused."""
    body = document(bench.name("signing"), [(1, "onset")])
    bench.refuse("signing", "/alerts", body, bench.numbered("signing", ALARM), 403, 422)
    late = bundle(bench.name("signing"), made_ns=time.time_ns() - 60 * 10**9)
    bench.refuse("signing", "/late", late, bench.numbered("signing", FHIR), 403, 409, 422)


def bundle(
    device: str,
    *,
    beside: Source | None = None,
    made_ns: int = 0,
    value: int = 61,
    at_ns: int = 0,
) -> bytes:
    """Return a FHIR bundle with one heart rate.

    Args:
        device: Whose.
        beside: The signing device whose last batch it stands beside; None for a bundle of its own.
        made_ns: When it was made, by its own word; now if 0.
        value: The heart rate.
        at_ns: Start of the interval of the batch beside which it stands; `made_ns` if 0.
    """
    made_ns = made_ns or time.time_ns()
    origin = Origin(device=DeviceId.parse(device), start_ns=at_ns or made_ns)
    name = f"{beside.epoch}/{beside.sequence}" if beside else None
    made = Bundle(
        type="transaction",
        identifier=Identifier(value=name) if name else None,
        entry=(BundleEntry(resource=numeric_to_observation(numeric(value), origin).value),),
    )
    if beside:
        return encode(made)
    stamped: dict[str, Any] = json.loads(encode(made))
    stamped["timestamp"] = to_instant(made_ns)
    return json.dumps(stamped).encode()


def _of(device: str) -> Callable[[Any], bool]:
    return lambda told: told["device"] == device


def _caused(cause: str, phase: str) -> Callable[[Any], bool]:
    return lambda told: told["cause"] == cause and told["phase"] == phase


CHECKS: Final = table(
    ("ORG-002", names_everything),
    ("ORG-003", numbered_from_one),
    ("ORG-004", chained),
    ("ORG-005", other_epoch),
    ("ORG-010", undigested),
    ("ORG-011", forged),
    ("ORG-012", assured),
    ("ORG-013", fork),
    ("ORG-014", gap_in_time),
    ("ORG-015", lease),
    ("ORG-017", raw_signature),
    ("ORG-018", unsigned_of_a_signer),
)
