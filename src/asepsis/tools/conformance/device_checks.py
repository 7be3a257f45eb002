"""Checks of a device: what one trial has shown of it (REQ-TLS, -ID, -ORG, -OBS, -WAV, -ALM)."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.frames import WaveformFrame
from asepsis.core.wire.origin import OriginBatch
from asepsis.tools.conformance.checks import Check, NotShown, Violation, demand, table
from asepsis.tools.conformance.device_trial import Evidence
from asepsis.tools.conformance.wires import EARLY_DATA, hello_facts

TLS_1_2: Final = 0x0303
SECOND_NS: Final = 10**9
GREASE: Final = 0x0A0A
LIST_S: Final = 5.0
SLACK_S: Final = 1.0
SENT_S: Final = 2.0
"""From the end of an interval to its arrival, on loopback, on a busy machine."""


def modern_only(seen: Evidence) -> None:
    """Every connection offers TLS 1.2 or newer and nothing older, and no compression."""
    demand(seen.hellos, "the device made no connection")
    for hello in seen.hellos:
        versions, _, compressions = hello_facts(hello)
        old = {v for v in versions if v < TLS_1_2 and v & 0x0F0F != GREASE}
        demand(not old, f"a ClientHello offers {', '.join(f'{v:#06x}' for v in sorted(old))}")
        demand(compressions == b"\0", "a ClientHello offers compression")


def no_early_data(seen: Evidence) -> None:
    """No connection offers early data."""
    for hello in seen.hellos:
        demand(EARLY_DATA not in hello_facts(hello)[1], "a ClientHello offers early data")


def knows_its_hub(seen: Evidence) -> None:
    """An enrolled device tells an impostor of its hub nothing."""
    if not seen.visits_later:
        raise NotShown("the device did not come to the impostor while the trial waited")
    demand(not seen.told_later, f"it told an impostor {len(seen.told_later)} bytes")


def pin_before_secret(seen: Evidence) -> None:
    """A device with a token tells a hub with another root nothing, and does not enrol there."""
    demand(not seen.told_at_enrolment, "it told an impostor of the hub something of its token")
    demand(seen.refused_impostor, "`enrol` at an impostor ends as if it had enrolled")


def right_name(seen: Evidence) -> None:
    """What it sends names it as it was listed."""
    demand(seen.batches(), "nothing came under its name")
    for batch in _batches(seen):
        demand(batch.header.device == DeviceId.parse(seen.name), "a batch names another device")


def signed_batches(seen: Evidence) -> None:
    """It sends signed origin batches that the hub verified and stored."""
    demand(_batches(seen), "no origin batch of the device was stored")


def covers_the_ring(seen: Evidence) -> None:
    """Each batch takes up the ring where the one before it ended."""
    for before, after in _pairs(_batches(seen)):
        demand(
            after.header.ring_first >= before.header.ring_last + 1,
            f"batch {after.header.sequence} repeats what the one before it covered",
        )


def without_a_hole(seen: Evidence) -> None:
    """The batches of an epoch are numbered from 1 without a hole, the late ones among them."""
    for epoch, batches in _epochs(_batches(seen)).items():
        numbers = [b.header.sequence for b in batches]
        missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
        demand(not missing, f"epoch {epoch} lacks {len(missing)} numbers, first {missing[:3]}")


def hash_chain(seen: Evidence) -> None:
    """Each batch holds the digest of the one before it, zeros for the first."""
    for batches in _epochs(_batches(seen)).values():
        if batches[0].header.sequence == 1:
            demand(batches[0].header.previous == bytes(32), "the first batch names one before it")
    for before, after in _pairs(_batches(seen)):
        if after.header.sequence == before.header.sequence + 1:
            wanted = hashlib.sha256(before.signed_part).digest()
            demand(after.header.previous == wanted, f"batch {after.header.sequence} is astray")


def higher_epoch(seen: Evidence) -> None:
    """After a restart the boot epoch is higher."""
    epochs = sorted(_epochs(_batches(seen)))
    demand(len(epochs) > 1, "after its restart the device went on in the same epoch")


def clinical_state(seen: Evidence) -> None:
    """Every batch carries a clinical state."""
    states = {b.header.clinical_state for b in _batches(seen)}
    demand(states, "no batch, no clinical state")


def each_second(seen: Evidence) -> None:
    """A batch covers at most one second, and live ones arrive as soon as they are signed."""
    live = [(at, b) for lane, at, b in seen.batches() if lane != "late"]
    for at_ns, batch in live:
        header = batch.header
        demand(header.interval_ms <= 1_000, f"batch {header.sequence} covers too much")
        if header.instant.uncertainty_ms > SECOND_NS // 10**6:
            continue  # Without trusted time its arrival cannot be compared.
        ended_ns = header.instant.wall_ns + header.interval_ms * 10**6
        took_s = (at_ns - ended_ns) / SECOND_NS
        demand(took_s <= SENT_S, f"batch {header.sequence} came {took_s:.1f} s after its end")


def alarms_at_once(seen: Evidence) -> None:
    """A batch with alarm events is sent at once."""
    found = [
        (at, b)
        for lane, at, b in seen.batches()
        if lane == "alert" and b.alarm_events and not b.header.lists_active
    ]
    if not found:
        raise NotShown("the device had no alarm condition during the trial")
    for at_ns, batch in found:
        took_s = (at_ns - batch.header.instant.wall_ns) / SECOND_NS
        demand(took_s <= SENT_S, f"alarm batch {batch.header.sequence} took {took_s:.1f} s")


def promised_frames(seen: Evidence) -> None:
    """The digest of every waveform frame stands in a batch of its epoch."""
    promised = {
        (b.header.epoch, d.handle, d.frame_sequence, d.sha256)
        for b in _batches(seen)
        for d in b.waveform_digests()
    }
    newest = max((b.header.epoch for b in _batches(seen)), default=0)
    for epoch, frame in _frames(seen):
        key = (epoch, frame.handle, frame.frame_sequence, frame.digest)
        # The last frames of the trial may come before their batch.
        demand(key in promised or epoch == newest, "a waveform frame stands in no batch")


def coded(seen: Evidence) -> None:
    """Every numeric names an MDC metric and an MDC unit."""
    numerics = [n for b in _batches(seen) for n in b.numerics()]
    if not numerics:
        raise NotShown("the device sent no numerics")
    demand(
        all(n.mdc_code and n.unit_code >> 16 == 4 for n in numerics),
        "a numeric has no code of a metric or of a unit (partition 4)",
    )


def late_as_it_was(seen: Evidence) -> None:
    """What it could not send while the cable was cut came late, complete and in order."""
    late = [b for lane, _, b in seen.batches() if lane == "late"]
    if not late:
        raise NotShown("nothing came late: the device sent nothing while the cable was cut")
    arrived = [
        (int(r["epoch"]), int(r["sequence"]))
        for r in seen.records["late"]
        if r["kind"] == "origin-batch" and r["producer"] == seen.name
    ]
    demand(arrived == sorted(arrived), "late batches came out of order")


def packet_each_second(seen: Evidence) -> None:
    """While a waveform is measured there is at least one packet a second."""
    packets = seen.packets()
    if not packets:
        raise NotShown("the device sent no waveforms")
    for (_, before), (_, after) in pairwise(packets):
        if before.epoch == after.epoch:
            apart = (_first_ns(after.frames) - _first_ns(before.frames)) / SECOND_NS
            demand(apart <= 1.0 + SLACK_S, f"two packets are {apart:.1f} s apart")


def frames_without_a_hole(seen: Evidence) -> None:
    """Frames of one metric are numbered without a hole."""
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for epoch, frame in _frames(seen):
        found[epoch, frame.handle].append(frame.frame_sequence)
    if not found:
        raise NotShown("the device sent no waveforms")
    for (_, handle), numbers in found.items():
        missing = set(range(min(numbers), max(numbers) + 1)) - set(numbers)
        demand(not missing, f"waveform {handle} lacks {len(missing)} frames")


def lists(seen: Evidence) -> None:
    """The active alarm conditions are listed at most five seconds apart."""
    for epoch, batches in _epochs(_batches(seen)).items():
        listed = [b.header.instant.monotonic_ns for b in batches if b.header.lists_active]
        demand(listed, f"epoch {epoch} holds no list of active alarm conditions")
        for before, after in pairwise(listed):
            apart = (after - before) / SECOND_NS
            demand(apart <= LIST_S + SLACK_S, f"two lists are {apart:.1f} s apart")


def once(seen: Evidence) -> None:
    """What it repeated after the cut was the same record, never other bytes under its number."""
    found: dict[tuple[int, int], bytes] = {}
    for batch in _batches(seen):
        key = batch.header.epoch, batch.header.sequence
        demand(found.setdefault(key, batch.digest) == batch.digest, f"two batches {key}")


def _batches(seen: Evidence) -> list[OriginBatch]:
    try:
        return [batch for _, _, batch in seen.batches()]
    except InputError as error:
        raise Violation(f"a stored batch cannot be read: {error}") from error


def _epochs(batches: Sequence[OriginBatch]) -> dict[int, list[OriginBatch]]:
    found: dict[int, list[OriginBatch]] = defaultdict(list)
    for batch in batches:
        found[batch.header.epoch].append(batch)
    return found


def _pairs(batches: Sequence[OriginBatch]) -> list[tuple[OriginBatch, OriginBatch]]:
    return [
        (before, after)
        for before, after in pairwise(batches)
        if before.header.epoch == after.header.epoch
    ]


def _frames(seen: Evidence) -> list[tuple[int, WaveformFrame]]:
    return [(packet.epoch, frame) for _, packet in seen.packets() for frame in packet.frames]


def _first_ns(frames: Sequence[WaveformFrame]) -> int:
    return min(frame.wall_ns for frame in frames)


DEVICE_CHECKS: Final[Sequence[Check[Evidence]]] = table(
    ("TLS-001", modern_only),
    ("TLS-002", modern_only),
    ("TLS-004", no_early_data),
    ("TLS-005", knows_its_hub),
    ("TLS-008", knows_its_hub),
    ("ID-001", right_name),
    ("ID-008", pin_before_secret),
    ("ORG-001", signed_batches),
    ("ORG-002", covers_the_ring),
    ("ORG-003", without_a_hole),
    ("ORG-004", hash_chain),
    ("ORG-005", higher_epoch),
    ("ORG-006", clinical_state),
    ("ORG-007", each_second),
    ("ORG-008", alarms_at_once),
    ("ORG-009", promised_frames),
    ("OBS-001", coded),
    ("OBS-009", late_as_it_was),
    ("WAV-001", packet_each_second),
    ("WAV-003", frames_without_a_hole),
    ("ALM-014", lists),
    ("ERR-002", once),
)
