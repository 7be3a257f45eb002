"""The process that looks at objects can do nothing else, and its death is an answer."""

import signal
import time
from pathlib import Path

import psutil
import pytest
from objects import made

from asepsis.core.trust.sealing import throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.wire.inspection import Passed, Refused
from asepsis.edge.sandbox import landlock, seccomp
from asepsis.hub.imaging.inspector import Inspection, Inspector
from asepsis.hub.imaging.storage import ObjectReader, Vault


def reader_of(folder: Path, data: bytes) -> ObjectReader:
    vault = Vault(folder, kek=throw_away_kek(), aead=CryptographyAead(), reserve_bytes=0)
    vault.open()
    writer = vault.create()
    writer.write(data)
    writer.settle()
    return writer.reader()


def workers() -> list[psutil.Process]:
    """Return the workers of this test: children of the process that makes them."""
    return [
        child
        for parent in psutil.Process().children()
        for child in parent.children()
        if "asepsis.edge.inspection.worker" in " ".join(parent.cmdline())
    ]


def test_a_worker_answers_and_holds_nothing(tmp_path: Path) -> None:
    inspector = Inspector(Inspection(), workers=1)
    answer = inspector.inspect(reader_of(tmp_path, made(PatientName="Canary^Ida")))
    assert isinstance(answer, Passed)
    assert b"Canary^Ida" in answer.attributes
    (worker,) = workers()
    status = Path(f"/proc/{worker.pid}/status").read_text()
    if seccomp.available():
        assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    links = [str(each.readlink()) for each in Path(f"/proc/{worker.pid}/fd").iterdir()]
    assert sum("socket" in link for link in links) == 1
    assert not [link for link in links if link.startswith(str(tmp_path))]
    assert landlock.abi() >= 0
    inspector.close()
    deadline = time.monotonic() + 5
    while worker.is_running() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not worker.is_running()


def test_a_worker_that_dies_or_hangs_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = Inspector(Inspection(), workers=1)
    reader = reader_of(tmp_path, made())
    assert isinstance(inspector.inspect(reader), Passed)
    (worker,) = workers()
    worker.send_signal(signal.SIGKILL)
    first = inspector.inspect(reader)
    assert isinstance(first, Refused)
    assert first.reason == "inspection-failed"
    assert isinstance(inspector.inspect(reader), Passed)
    (worker,) = (each for each in workers() if each.status() != psutil.STATUS_ZOMBIE)
    monkeypatch.setattr("asepsis.hub.imaging.inspector.INSPECTION_S_MAX", 0.2)
    worker.send_signal(signal.SIGSTOP)
    second = inspector.inspect(reader)
    assert isinstance(second, Refused)
    worker.send_signal(signal.SIGKILL)
    monkeypatch.undo()
    assert isinstance(inspector.inspect(reader), Passed)
    inspector.close()
