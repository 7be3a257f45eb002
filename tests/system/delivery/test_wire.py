"""tshark judges the wires: clinical bytes are in clear on the legacy hops and nowhere else."""

import ctypes
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivery_ward import wait_until
from gateway_ward import Sender, oru
from through import Through, make_through

MESSAGES = 20
MARK = b"MDC_ECG_HEART_RATE"
SETTLE_S = 1.0
CLONE_NEWNET = 0x40000000
pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed"),
]


@pytest.fixture
def own_network() -> Iterator[None]:
    """Run the test in a network namespace of its own: nobody else's packets are judged."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        assert libc.setns(before, CLONE_NEWNET) == 0
        os.close(before)


@pytest.fixture
def through(own_network: None, tmp_path: Path) -> Iterator[Through]:
    del own_network  # It has only to be there first.
    made = make_through(tmp_path)
    yield made
    made.close()


def heard(capture: Path, display: str, *fields: str) -> list[tuple[str, ...]]:
    """Return fields of the packets that a display filter of Wireshark finds."""
    options = [option for field in fields for option in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", capture, "-Y", display, "-T", "fields", *options],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


def test_no_clinical_byte_crosses_another_hop_in_clear(through: Through, tmp_path: Path) -> None:
    """Goal: sender -> gateway -> hub -> gateway -> EHR, every packet of it captured and judged."""
    assert MARK in oru(1, ack=b"")
    through.ward.start_hub()
    through.enter()
    through.ward.start_gateway()
    through.start_outbound()
    capture = tmp_path / "wires.pcapng"
    with (tmp_path / "tshark.log").open("wb") as log:
        judge = subprocess.Popen(["tshark", "-q", "-i", "lo", "-w", capture], stderr=log)
    wait_until(lambda: capture.exists() and capture.stat().st_size > 0)
    time.sleep(SETTLE_S)  # It writes the file's head before it listens.
    sender = Sender(through.ward.port())
    for number in range(1, MESSAGES + 1):
        assert sender.send(oru(number, ack=b"")) == "AA"
    sender.close()
    wait_until(lambda: len(through.sink.ids()) >= MESSAGES)
    time.sleep(SETTLE_S)
    judge.terminate()
    judge.wait(20)
    legacy = {str(through.ward.port()), str(through.sink.port)}
    hexadecimal = ":".join(f"{byte:02x}" for byte in MARK)
    marked = heard(capture, f"frame contains {hexadecimal}", "tcp.srcport", "tcp.dstport")
    hops: Counter[str] = Counter()
    for ports in marked:
        clear = legacy & set(ports)
        assert clear, f"clinical bytes in clear between ports {ports}"
        hops.update(clear)
    # The control: the judge would have seen them, for on both legacy hops it did.
    assert set(hops) == legacy
    hub = str(through.ward.hub_port)
    protected = heard(capture, f"tcp.port == {hub} and tcp.len > 0", "tls.record.content_type")
    assert protected
    plain = f"tcp.port == {hub} and (http or frame contains 50:4f:53:54:20:2f)"
    assert heard(capture, plain, "frame.number") == []
