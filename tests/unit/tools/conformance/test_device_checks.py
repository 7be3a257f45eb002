"""Every check of a device can fail: what a trial saw is spoiled in one way for each."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from asepsis.core.model.alarm import AlarmPhase
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust.libcrypto import generate_key
from asepsis.core.wire.origin import encode_batch
from asepsis.tools.conformance.checks import Outcome
from asepsis.tools.conformance.device_checks import DEVICE_CHECKS
from asepsis.tools.conformance.device_trial import Evidence
from asepsis.tools.conformance.run import run
from asepsis.tools.conformance.source import PER_MINUTE, Source, condition, numeric

NAME = "urn:dev:mac:0211223344556677"
SECOND_NS = 10**9
BASE_NS = 1_790_000_000 * SECOND_NS
OLD_HELLO = bytes.fromhex("16030100280100002403010000") + bytes(31) + b"\0" + b"\0\2\0\x2f\1\0"
HELLO = (
    b"\x16\x03\x01\x00\x4a\x01\x00\x00\x46\x03\x03"
    + bytes(32)
    + b"\0"
    + b"\0\2\x13\x01"
    + b"\1\0"
    + b"\0\x07"
    + b"\0\x2b\0\3\2\x03\x04"
)
EARLY = HELLO[: -len(b"\0\x07\0\x2b\0\3\2\x03\x04")] + b"\0\x0b\0\x2a\0\0\0\x2b\0\3\2\x03\x04"
COMPRESSED = HELLO.replace(b"\1\0\0\x07", b"\2\0\1\0\x07")


def record(lane_kind: str, body: bytes, *, epoch: int, sequence: int, at_ns: int) -> dict[str, Any]:
    return {
        "kind": lane_kind,
        "producer": NAME,
        "epoch": epoch,
        "sequence": sequence,
        "received_at_ns": at_ns,
        "body": base64.b64encode(body).decode(),
    }


class Recorded(Source):
    """A device whose seconds follow each other exactly, whatever the test's clock does."""

    def header(self, *, age_ns: int = 0) -> Any:
        made = super().header(age_ns=age_ns)
        at_ns = self.sequence * SECOND_NS
        instant = replace(made.instant, wall_ns=BASE_NS + at_ns, monotonic_ns=at_ns)
        return replace(made, instant=instant)


def seen() -> Evidence:
    """Return what a right device shows: two boots, a cut, waveforms, lists, one alarm."""
    found = Evidence(NAME, hellos=[HELLO], refused_impostor=True, visits_later=1)
    for epoch in (1, 2):
        source = Recorded(DeviceId.parse(NAME), KEY, epoch=epoch)
        for second in range(1, 9):
            add_second(found, source, second)
    return found


KEY = generate_key()


def add_second(found: Evidence, source: Source, second: int) -> None:
    arrived_ns = BASE_NS + second * SECOND_NS
    listed = second % 4 == 0
    if second == 6:
        batch, lane = source.alarms(condition(1)), "alert"
    elif listed:
        batch, lane = source.alarms(condition(1, AlarmPhase.CHANGE), listed=True), "vitals"
    else:
        packet, digest = source.packet()
        found.records["waveform"].append(
            record("waveform", packet, epoch=source.epoch, sequence=source.frames, at_ns=arrived_ns)
        )
        batch = source.values([numeric()], digests=[digest])
        lane = "late" if second in (2, 3) else "vitals"
    found.records[lane].append(
        record("origin-batch", batch, epoch=source.epoch, sequence=second, at_ns=arrived_ns)
    )


def outcome(requirement: str, evidence: Evidence) -> Outcome:
    (result,) = run(evidence, DEVICE_CHECKS, only=frozenset({requirement}))
    return result.outcome


def without(lane: str, at: int) -> Callable[[Evidence], None]:
    def spoil(evidence: Evidence) -> None:
        del evidence.records[lane][at]

    return spoil


def rewritten(
    change: Callable[[Any], Any], *, at: int = 4, unit: int = PER_MINUTE
) -> Callable[[Evidence], None]:
    """Replace a batch of the first epoch by one with another header."""

    def spoil(evidence: Evidence) -> None:
        source = Recorded(DeviceId.parse(NAME), KEY, epoch=1, sequence=at, previous=b"\1" * 32)
        batch = source.sign(encode_batch(change(source.header()), numerics=[numeric(unit=unit)]))
        evidence.records["vitals"].append(
            record("origin-batch", batch, epoch=1, sequence=at + 1, at_ns=BASE_NS + at * SECOND_NS)
        )

    return spoil


def set_to(**fields: Any) -> Callable[[Evidence], None]:
    def spoil(evidence: Evidence) -> None:
        for name, value in fields.items():
            setattr(evidence, name, value)

    return spoil


def emptied(*lanes: str) -> Callable[[Evidence], None]:
    return lambda evidence: [evidence.records[lane].clear() for lane in lanes] and None


def delayed(lane: str) -> Callable[[Evidence], None]:
    def spoil(evidence: Evidence) -> None:
        for found in evidence.records[lane]:
            found["received_at_ns"] += 60 * SECOND_NS

    return spoil


def unlisted(evidence: Evidence) -> None:
    """Take the lists out, so that none is left in an epoch."""
    kept = [r for r in evidence.records["vitals"] if r["sequence"] % 4]
    evidence.records["vitals"] = kept


def turned(evidence: Evidence) -> None:
    evidence.records["late"].reverse()


def one_boot(evidence: Evidence) -> None:
    for lane, found in evidence.records.items():
        evidence.records[lane] = [r for r in found if r["epoch"] == 1]


SPOILED: dict[str, Callable[[Evidence], None]] = {
    "REQ-TLS-001": set_to(hellos=[OLD_HELLO]),
    "REQ-TLS-002": set_to(hellos=[COMPRESSED]),
    "REQ-TLS-004": set_to(hellos=[EARLY]),
    "REQ-TLS-005": set_to(told_later=b"POST /origin"),
    "REQ-TLS-008": set_to(told_later=b"POST /origin"),
    "REQ-ID-001": set_to(name="urn:dev:mac:02aabbccddeeff00"),
    "REQ-ID-008": set_to(told_at_enrolment=b"Authorization: Basic"),
    "REQ-ORG-001": emptied("vitals", "late", "alert"),
    "REQ-ORG-002": rewritten(lambda h: replace(h, ring_first=1, ring_last=10)),
    "REQ-ORG-003": without("vitals", 1),
    "REQ-ORG-004": rewritten(lambda h: replace(h, sequence=2, previous=b"x" * 32)),
    "REQ-ORG-005": one_boot,
    "REQ-ORG-006": emptied("vitals", "late", "alert"),
    "REQ-ORG-007": delayed("vitals"),
    "REQ-ORG-008": delayed("alert"),
    "REQ-ORG-009": emptied("vitals", "late"),
    "REQ-OBS-001": rewritten(lambda h: h, unit=2 << 16 | 1),
    "REQ-OBS-009": turned,
    "REQ-WAV-001": without("waveform", 3),
    "REQ-WAV-003": without("waveform", 1),
    "REQ-ALM-014": unlisted,
    "REQ-ERR-002": rewritten(lambda h: replace(h, ring_last=h.ring_last + 1)),
}


def test_a_right_device_passes() -> None:
    results = {r.requirement: (r.outcome, r.reason) for r in run(seen(), DEVICE_CHECKS)}
    assert {o for o, _ in results.values()} == {Outcome.PASS}, results


@pytest.mark.parametrize("requirement", sorted(SPOILED))
def test_a_check_can_fail(requirement: str) -> None:
    evidence = seen()
    SPOILED[requirement](evidence)
    assert outcome(requirement, evidence) is not Outcome.PASS
