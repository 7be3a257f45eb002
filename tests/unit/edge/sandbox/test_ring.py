"""Rings in sealed memory files, between real processes."""

import fcntl
import mmap
import os
import select
import subprocess
import sys
import time

import pytest

from asepsis.core.errors import FramingError
from asepsis.edge.sandbox import ring
from asepsis.edge.sandbox.ring import RingReader, RingWriter, Token
from asepsis.edge.sandbox.ring_layout import Geometry

GEOMETRY = Geometry(slot_bytes=256, slots=64)
WRITER = """
import sys
from asepsis.edge.sandbox.ring import RingWriter
from asepsis.edge.sandbox.ring_layout import Geometry
writer = RingWriter(int(sys.argv[1]), geometry=Geometry(slot_bytes=256, slots=64), epoch=1)
print("mapped", flush=True)
sys.stdin.readline()
for number in range(1, int(sys.argv[2]) + 1):
    writer.write(number.to_bytes(8, "little") * (1 + number % 29))
print("done", flush=True)
sys.stdin.readline()
"""


def pair(**options: int) -> tuple[RingWriter, int, int]:
    """Return a writer, the sealed writable descriptor and the readers' descriptor."""
    descriptor = ring.create("test", geometry=GEOMETRY)
    writer = RingWriter(os.dup(descriptor), geometry=GEOMETRY, epoch=3, **options)
    return writer, descriptor, ring.seal(descriptor)


def test_a_reader_gets_everything_in_order_and_resumes_by_token() -> None:
    writer, _, readable = pair()
    for n in range(10):
        writer.write(bytes((n,)))
    reader = RingReader(os.dup(readable))
    first = reader.read(records_max=4)
    assert [payload for _, payload in first.records] == [b"\0", b"\1", b"\2", b"\3"]
    again = RingReader(os.dup(readable), token=reader.token)
    assert [number for number, _ in again.read().records] == [5, 6, 7, 8, 9, 10]
    other_epoch = RingReader(readable, token=Token(epoch=2, sequence=8))
    assert other_epoch.read().records[0][0] == 1


def test_a_new_ring_can_go_on_counting() -> None:
    writer, _, readable = pair(first=1_001)
    reader = RingReader(readable)
    assert reader.token == Token(epoch=3, sequence=1_000)
    writer.write(b"x")
    assert reader.read().records == ((1_001, b"x"),)
    assert reader.read().lost == 0


def test_a_slow_reader_is_told_what_it_lost() -> None:
    writer, _, readable = pair()
    reader = RingReader(readable)
    writer.write(b"seen")
    assert reader.read().lost == 0
    for _ in range(200):
        writer.write(b"x")
    chunk = reader.read(records_max=500)
    numbers = [number for number, _ in chunk.records]
    assert chunk.lost > 0
    assert numbers == list(range(2 + chunk.lost, 202))
    assert len(numbers) >= GEOMETRY.slots // 2


def test_nobody_can_write_a_sealed_ring() -> None:
    """Goal: not over the writer's own descriptor, not over the readers', not through /proc."""
    writer, descriptor, readable = pair()
    size = GEOMETRY.total_bytes
    for handle in (descriptor, readable):
        with pytest.raises(PermissionError):
            mmap.mmap(handle, size)
        with pytest.raises(OSError, match=r"."):
            os.pwrite(handle, b"x", 0)
        with pytest.raises(OSError, match=r"."):
            os.ftruncate(handle, 0)
        with pytest.raises(OSError, match=r"."):
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, 0)
    reopened = os.open(f"/proc/self/fd/{readable}", os.O_RDWR) if os.geteuid() == 0 else readable
    with pytest.raises(PermissionError):
        mmap.mmap(reopened, size)  # Root may open it for writing, and gets nothing by it.
    view = memoryview(mmap.mmap(readable, size, prot=mmap.PROT_READ))
    assert view.readonly
    writer.write(b"still")
    assert RingReader(readable).read().records == ((1, b"still"),)


def test_wake_ups_never_block_and_cannot_be_answered() -> None:
    sender, receiver = ring.wake_pair()
    descriptor = ring.create("test", geometry=GEOMETRY)
    writer = RingWriter(descriptor, geometry=GEOMETRY, epoch=1, wakes=(sender,))
    began = time.monotonic()
    for _ in range(5_000):
        writer.write(b"x")
    assert time.monotonic() - began < 5
    with pytest.raises(BrokenPipeError):
        receiver.send(b"back")
    assert select.select([receiver], [], [], 0)[0]
    ring.drain_wakes(receiver)
    assert not select.select([receiver], [], [], 0)[0]
    writer.close()
    receiver.close()


def test_what_is_no_ring_is_refused() -> None:
    empty = os.memfd_create("empty")
    with pytest.raises(FramingError):
        RingReader(empty)
    zeros = os.memfd_create("zeros")
    os.ftruncate(zeros, 8_192)
    with pytest.raises(FramingError):
        RingReader(zeros)


@pytest.mark.parametrize("records", [60_000])
def test_two_processes_at_full_speed_never_tear_a_record(records: int) -> None:
    """Goal: a writer that overruns its reader all the time; every record read is whole."""
    descriptor = ring.create("stress", geometry=GEOMETRY)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(descriptor), str(records)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(descriptor,),
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"mapped\n"
        reader = RingReader(ring.seal(descriptor))
        process.stdin.write(b"go\n")
        process.stdin.flush()
        expected, lost, read = 1, 0, 0
        while expected <= records:
            chunk = reader.read()
            expected += chunk.lost
            lost += chunk.lost
            for number, payload in chunk.records:
                assert number == expected
                assert payload == number.to_bytes(8, "little") * (1 + number % 29)
                expected += 1
                read += 1
        assert read + lost == records
        assert read > 0
        process.stdin.write(b"end\n")
        process.stdin.flush()
