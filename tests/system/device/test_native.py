"""A compartment in C reads what the real vitals compartment writes, also after that was killed."""

import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from asepsis.core.model.syscall_class import SyscallClass
from asepsis.edge.device.rings import Feed, RingOwner
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox import native
from asepsis.edge.sandbox.confine import Confinement, Limits
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.ring import RingReader
from asepsis.edge.sandbox.ring_layout import Geometry

FOLDER = Path(__file__).parents[3] / "standard" / "ring"
OUT = Geometry(slot_bytes=64, slots=8_192)
TOLD = struct.Struct("<QII")
WAIT_S = 20.0


def hear_nothing(_compartment: str, _event: str, _details: object) -> None:
    """What the supervisor tells is no part of these tests."""


def until(supervisor: Supervisor, done: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline_s, what
        supervisor.step()


def next_epoch(supervisor: Supervisor, old: int) -> Feed:
    def there() -> bool:
        feed = supervisor.feed("vitals")
        return feed is not None and feed.epoch > old

    until(supervisor, there, f"a ring after epoch {old}")
    feed = supervisor.feed("vitals")
    assert feed is not None
    return feed


@pytest.mark.slow
def test_it_follows_the_vitals_compartment_into_its_next_epoch(ward: ModuleType) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (gcc, libc6-dev)")
    holding = detect().holding
    with tempfile.TemporaryDirectory(prefix="asepsis-native-") as made:
        Path(made).chmod(0o755)
        program = Path(made) / "example"
        source = str(FOLDER / "example.c")
        words = [compiler, "-std=c11", "-O2", "-D_GNU_SOURCE", "-o", str(program), source]
        subprocess.run(words, check=True)
        folder = ward.enrolled(Path(made) / "device")
        result = RingOwner("out", geometry=OUT)
        written, values = result.begin()
        supervisor = Supervisor(folder, holding=holding, setting=Setting(), tell=hear_nothing)
        try:
            feed = next_epoch(supervisor, 0)
            handed = {**feed.handed(), "out": written["ring"], "out-wake": written["wake"]}
            with (Path(made) / "log").open("wb") as log:
                running = native.launch(
                    program,
                    name="example",
                    confinement=Confinement(
                        layers=holding,
                        kind=SyscallClass.CORE,
                        user=62_210 if os.geteuid() == 0 else 0,
                        limits=Limits(memory_mib=128, files=32, file_mib=0),
                    ),
                    body={**values, "slot-bytes": OUT.slot_bytes, "slots": OUT.slots},
                    descriptors=handed,
                    log=log,
                )
            try:
                epochs = follow(supervisor, running, result, feed)
            finally:
                running.kill()
        finally:
            supervisor.close()
            result.close()
    assert epochs == 2


def follow(supervisor: Supervisor, running: native.Native, result: RingOwner, feed: Feed) -> int:
    """Read what the example tells through two epochs; every number follows the one before."""
    told: list[int] = []
    # It reported "mapped" before its first record; the ring is sealed behind its mapping.
    running.control.recv(2_048)
    reader = RingReader(os.dup(result.mapped().readable))

    def heard(more: int) -> Callable[[], bool]:
        wanted = len(told) + more

        def enough() -> bool:
            told.extend(TOLD.unpack(data)[0] for _, data in reader.read().records)
            return len(told) >= wanted

        return enough

    try:
        until(supervisor, heard(20), "records of the first epoch")
        os.kill(supervisor.pid("vitals"), signal.SIGKILL)
        second = next_epoch(supervisor, feed.epoch)
        running.order("ring", {"ring_epoch": second.epoch}, descriptors=second.handed())
        until(supervisor, heard(20), "records of the second epoch")
    finally:
        reader.close()
    assert told == list(range(told[0], told[0] + len(told)))
    return 1 + second.epoch - feed.epoch
