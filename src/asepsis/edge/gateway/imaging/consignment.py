"""Instances that go to the hub in one request: one answer, and one wait for its disk.

Only what waits anyway goes together, and only small instances: nobody waits for a second one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.edge.gateway.imaging import part10
from asepsis.edge.gateway.imaging.channel import Written
from asepsis.edge.gateway.imaging.vault import Record

INSTANCES_MAX: Final = 8
"""Instances of one request; the hub brings as many to their end at once."""
BYTES_MAX: Final = 4 << 20
"""Bytes of several instances in one request; a longer one goes alone."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """An instance whose modality waits for a word.

    Attributes:
        token: The parser's number.
        number: The vault's.
        record: What it is.
        deadline_s: When the modality must hear something, monotonic seconds.
    """

    token: int
    number: int
    record: Record
    deadline_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """An instance on its way to the hub.

    Attributes:
        number: The vault's.
        record: What it is.
    """

    number: int
    record: Record


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a store request.

    Attributes:
        written: What it is and who sent it.
        head: Preamble and file meta information.
        data_set: Its data set, in pieces.
    """

    written: Written
    head: bytes
    data_set: Iterable[bytes | memoryview]


def fits(loads: Sequence[Load], other: Load) -> bool:
    """Say whether an instance may go in the same request: one sender, small, no UID twice."""
    first, more = loads[0].record.written, other.record.written
    if len(loads) >= INSTANCES_MAX:
        return False
    same = (first.device, first.calling, first.user) == (more.device, more.calling, more.user)
    length = more.length + sum(load.record.written.length for load in loads)
    return (
        same
        and length <= BYTES_MAX
        and all(load.record.written.sop_instance != more.sop_instance for load in loads)
    )


def part_of(load: Load, data_set: Iterable[bytes | memoryview]) -> Part:
    """Return the part of an instance."""
    written = load.record.written
    meta = part10.Meta(
        sop_class=written.sop_class,
        sop_instance=written.sop_instance,
        transfer_syntax=written.transfer_syntax,
        source_ae=written.calling,
        receiving_ae=written.called,
    )
    return Part(written, part10.encode_head(meta), data_set)
