"""Goal: a compartment in C runs behind the same layers, by the documented layout of the ring."""

import os
import random
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ConfigError, InputError, LimitExceeded
from asepsis.core.model.syscall_class import SyscallClass
from asepsis.edge.device.rings import RingOwner
from asepsis.edge.sandbox import native, ring
from asepsis.edge.sandbox.confine import Confinement, Limits
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.launcher import Compartment
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.ring import RingReader, RingWriter
from asepsis.edge.sandbox.ring_layout import Geometry, RingView

FOLDER = Path(__file__).parents[4] / "standard" / "ring"
HOLDING = detect().holding
IN, OUT = Geometry(slot_bytes=256, slots=64), Geometry(slot_bytes=64, slots=4_096)
TOLD = struct.Struct("<QII")
WAIT_S = 20.0
REMOVABLE: list[Layer] = sorted(HOLDING - {Layer.RING}, key=lambda one: one.name)
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
UNCONFINED = r"""
#include "asepsis_compartment.h"
int main(int count, char **words)
{
    asepsis_order order;
    const int control = atoi(words[count - 1]);
    asepsis_order_receive(&order, control);
    asepsis_report(control, "{\"event\":\"confined\"}");
    asepsis_order_receive(&order, control);
    return 0;
}
"""
INTRUDER = r"""
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include "asepsis_compartment.h"
static char text[512];
static void tell(const char *what, long result)
{
    const size_t at = strlen(text);
    snprintf(text + at, sizeof text - at, ",\"%s\":%d", what, result < 0 ? errno : 0);
}
int main(int count, char **words)
{
    asepsis_order order;
    const int control = atoi(words[count - 1]);
    asepsis_order_receive(&order, control);
    const int ring = asepsis_order_take(&order, "ring");
    snprintf(text, sizeof text, "{\"event\":\"tried\"");
    if (asepsis_confine(&order))
        return 1;
    tell("write", mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, ring, 0) == MAP_FAILED ? -1 : 0);
    tell("resize", ftruncate(ring, 0));
    tell("open", open("/etc/passwd", O_RDONLY));
    tell("socket", socket(AF_INET, SOCK_STREAM, 0));
    tell("execute", execl("/bin/sh", "sh", NULL));
    tell("trace", ptrace(PTRACE_ATTACH, getppid(), 0, 0));
    tell("kill", kill(getppid(), 0));
    tell("unshare", unshare(CLONE_NEWUSER));
    tell("code", mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                     == MAP_FAILED ? -1 : 0);
    strcat(text, "}");
    asepsis_report(control, text);
    asepsis_order_receive(&order, control);
    return 0;
}
"""
HOSTILE = r"""
#include "asepsis_ring.h"
static uint8_t into[ASEPSIS_RING_SLOT_BYTES_MAX];
int main(void)
{
    asepsis_ring_reader ring;
    uint64_t lost = 0;
    uint32_t size = 0;
    if (asepsis_ring_reader_open(&ring, 0))
        return 3;
    for (int at = 0; at < 5000; at++)
        if (asepsis_ring_read(&ring, into, sizeof into, &size, &lost) < 0)
            return 4;
    asepsis_ring_reader_close(&ring);
    return 0;
}
"""
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build() -> Iterator[Build]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (gcc, libc6-dev)")
    with tempfile.TemporaryDirectory(prefix="asepsis-native-") as made:
        folder = Path(made)
        folder.chmod(0o755)  # Another user starts what is built here.

        def compile_(name: str, text: str, *more: str) -> Path:
            source = folder / f"{name}.c"
            source.write_text(text, encoding="utf-8")
            words = [compiler, "-std=c11", "-O2", "-D_GNU_SOURCE", *STRICT, f"-I{FOLDER}"]
            subprocess.run([*words, *more, "-o", str(folder / name), str(source)], check=True)
            return folder / name

        yield compile_


@pytest.fixture(scope="module")
def example(build: Build) -> Path:
    return build("example", (FOLDER / "example.c").read_text(encoding="utf-8"))


def confinement(layers: frozenset[Layer] = HOLDING) -> Confinement:
    return Confinement(
        layers=layers,
        kind=SyscallClass.CORE,
        user=62_210 if os.geteuid() == 0 else 0,
        limits=Limits(memory_mib=128, files=32, file_mib=0),
    )


def heard(running: Compartment, event: str) -> dict[str, Any]:
    """Return the next report of a kind; others before it are passed over."""
    deadline_s = time.monotonic() + WAIT_S
    while (left_s := deadline_s - time.monotonic()) > 0:
        if not select.select([running.control], [], [], left_s)[0]:
            break
        report = receive_report(running.control)
        assert report is not None, "it ended"
        assert report["event"] in (event, "alive"), report
        if report["event"] == event:
            return report
    raise AssertionError(f"no report {event}")


def started(
    program: Path,
    descriptors: dict[str, int],
    *,
    body: dict[str, int] | None = None,
    order: Confinement | None = None,
) -> Compartment:
    with Path(os.devnull).open("wb") as log:
        return native.launch(
            program,
            name="example",
            confinement=order or confinement(),
            body=body or {},
            descriptors=descriptors,
            log=log,
        )


class Bench:
    """A ring to read from, a ring to write to, and the example between them."""

    def __init__(self, program: Path, *, layers: frozenset[Layer] = HOLDING) -> None:
        self.source, self.result = RingOwner("in", geometry=IN), RingOwner("out", geometry=OUT)
        self.writer = self.new_writer()
        made, values = self.result.begin()
        feed = self.source.oldest()
        handed = {**feed.handed(), "out": made["ring"], "out-wake": made["wake"]}
        sizes = {"slot-bytes": OUT.slot_bytes, "slots": OUT.slots}
        self.confinement = confinement(layers)
        self.running = started(program, handed, body={**values, **sizes}, order=self.confinement)
        heard(self.running, "mapped")
        self.reader = RingReader(os.dup(self.result.mapped().readable))
        heard(self.running, "confined")
        native.check_confined(self.running, self.confinement)

    def new_writer(self) -> RingWriter:
        made, values = self.source.begin()
        wake = ring.wake_of(os.dup(made["wake"]))
        writer = RingWriter(
            os.dup(made["ring"]),
            geometry=IN,
            epoch=values["epoch"],
            first=values["first"],
            wakes=(wake,),
        )
        self.source.mapped()
        return writer

    def told(self, count: int) -> list[tuple[int, int, int]]:
        """Wait for so many records of the example."""
        found: list[tuple[int, int, int]] = []
        deadline_s = time.monotonic() + WAIT_S
        while len(found) < count and time.monotonic() < deadline_s:
            chunk = self.reader.read()
            assert not chunk.lost
            found += [TOLD.unpack(payload) for _, payload in chunk.records]
            if not chunk.records:
                time.sleep(0.005)
        return found

    def close(self) -> None:
        self.running.kill()
        self.reader.close()
        self.writer.close()
        self.source.close()
        self.result.close()


@pytest.fixture
def bench(example: Path) -> Iterator[Bench]:
    made = Bench(example)
    yield made
    made.close()


def expected(number: int, payload: bytes) -> tuple[int, int, int]:
    return number, len(payload), zlib.crc32(payload)


def test_it_reads_a_ring_and_writes_another_behind_all_layers(bench: Bench) -> None:
    payloads = [bytes((n % 256,)) * (n * 37 % (IN.payload_bytes_max + 1)) for n in range(1, 601)]
    for at in range(0, 600, 50):  # Never more ahead than the ring holds.
        part = payloads[at : at + 50]
        numbers = [bench.writer.write(payload) for payload in part]
        assert bench.told(50) == list(map(expected, numbers, part))
    assert heard(bench.running, "alive")["lost"] == 0


def test_it_goes_over_to_the_ring_of_a_new_writer_and_stops_when_told(bench: Bench) -> None:
    for n in range(20):
        bench.writer.write(bytes((n,)))
    bench.writer.close()
    bench.writer = bench.new_writer()
    feed = bench.source.feed
    assert feed is not None
    bench.running.order("ring", {"ring_epoch": feed.epoch}, descriptors=feed.handed())
    bench.writer.write(b"new epoch")
    told = bench.told(21)
    assert [number for number, _, _ in told] == list(range(1, 22))
    bench.running.order("stop", {})
    assert bench.running.wait(WAIT_S)


def test_a_reader_that_was_away_is_told_what_it_lost(bench: Bench) -> None:
    for n in range(IN.slots * 4):
        bench.writer.write(bytes((n % 256,)))
    # However far it came while they were written: each record is either told or counted.
    deadline_s = time.monotonic() + WAIT_S
    seen, lost = 0, 0
    while seen + lost < IN.slots * 4 and time.monotonic() < deadline_s:
        seen += len(bench.reader.read().records)
        if select.select([bench.running.control], [], [], 0.01)[0]:
            report = receive_report(bench.running.control)
            assert report is not None
            lost = report["lost"]
    assert seen + lost == IN.slots * 4


def test_it_ends_with_its_supervisor(bench: Bench) -> None:
    bench.running.control.shutdown(socket.SHUT_RDWR)
    assert bench.running.wait(WAIT_S)


@pytest.mark.parametrize("layer", REMOVABLE)
def test_it_runs_without_any_one_layer(layer: Layer, example: Path) -> None:
    made = Bench(example, layers=HOLDING - {layer})
    try:
        number = made.writer.write(b"value")
        assert made.told(1) == [expected(number, b"value")]
    finally:
        made.close()


def test_one_that_only_says_it_is_confined_is_found_out(build: Build) -> None:
    running = started(build("unconfined", UNCONFINED), {})
    try:
        heard(running, "confined")
        with pytest.raises(ConfigError, match="says that it is confined"):
            native.check_confined(running, confinement())
    finally:
        running.kill()


def test_machine_code_gets_no_further_than_python(build: Build) -> None:
    owner = RingOwner("in", geometry=IN)
    made, values = owner.begin()
    writer = RingWriter(os.dup(made["ring"]), geometry=IN, epoch=values["epoch"])
    running = started(build("intruder", INTRUDER), {"ring": owner.mapped().readable})
    try:
        report = heard(running, "tried")
        assert all(report[what] for what in report if what != "event"), report
    finally:
        running.kill()
        writer.close()
        owner.close()


def test_what_is_no_program_or_wants_files_is_refused(example: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text", encoding="utf-8")
    with pytest.raises(ConfigError, match="no program"):
        started(plain, {})
    wants = Confinement(layers=HOLDING, kind=SyscallClass.NETWORK)
    with pytest.raises(ConfigError, match="opens no file"):
        started(example, {}, order=wants)


def test_one_that_cannot_enter_its_domain_does_not_run(example: Path) -> None:
    """Goal: without an enforced policy there is no such domain, and no work without it."""
    where = Confinement(layers=HOLDING, kind=SyscallClass.CORE, domain="display_t")
    running = started(example, {}, order=where)
    try:
        assert running.wait(WAIT_S)
    finally:
        running.kill()


def test_a_reader_survives_a_writer_that_is_owned(build: Build) -> None:
    program = build("hostile", HOSTILE, *SANITIZE)
    rng = random.Random(7)
    outcomes: set[int] = set()
    for round_ in range(24):
        data = bytearray(IN.total_bytes)
        view = RingView.format(memoryview(data), geometry=IN, epoch=1, first=1)
        for sequence in range(1, 100):
            view.publish(sequence, rng.randbytes(rng.randrange(200)))
        view.release()
        places = [rng.randrange(9) * 8, 4_096 + rng.randrange(IN.slots * 32) * 8]
        for at in places[round_ % 2 :]:
            word = rng.choice((0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, rng.getrandbits(64)))
            struct.pack_into("<Q", data, at, word)
        with tempfile.TemporaryFile() as file:
            file.write(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))])
            file.seek(0)
            done = subprocess.run([program], stdin=file, capture_output=True, check=False)
        assert done.returncode in (0, 3), done.stderr.decode()
        outcomes.add(done.returncode)
    assert outcomes == {0, 3}


names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=15)


@given(
    what=names,
    body=st.dictionaries(names, st.integers(0, 2**64 - 1), max_size=native.VALUES_MAX),
    descriptors=st.lists(names, max_size=native.DESCRIPTORS_MAX).map(tuple),
)
def test_an_order_is_as_long_as_its_header_says(
    what: str, body: dict[str, int], descriptors: tuple[str, ...]
) -> None:
    data = native.encode_order(what, body, descriptors)
    assert struct.unpack_from("<II", data, 24) == (len(body), len(descriptors))
    assert len(data) == 32 + 24 * len(body) + 16 * len(descriptors)


@pytest.mark.parametrize(
    ("what", "body"),
    [("x" * 16, {}), ("", {}), ("x", {"n": -1}), ("x", {"n": "text"}), ("x", {"n": 2**64})],
    ids=["long", "empty", "negative", "text", "large"],
)
def test_an_order_without_a_binary_form_is_refused(what: str, body: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        native.encode_order(what, body, ())


def test_an_order_has_limits() -> None:
    with pytest.raises(LimitExceeded):
        native.encode_order("x", {f"n{at}": at for at in range(25)}, ())
