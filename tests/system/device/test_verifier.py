"""The verifier and the display as real processes, behind every layer of this machine."""

import base64
import os
import select
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.errors import InputError
from asepsis.core.trust import libcrypto
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.state import code_link
from asepsis.edge.sandbox import bubblewrap, launcher
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.launcher import Compartment
from asepsis.edge.sandbox.layers import detect
from asepsis.tools.attack.rig import manifest

HOLDING = detect().holding
KEY = libcrypto.generate_key()
CONTENT = b"a release" * 1_000
WAIT_S = 20.0


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="asepsis-verifier-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def started(place: Path, name: str, body: dict[str, Any], handed: dict[str, int]) -> Compartment:
    plan = host.blueprint(manifest().compartments[name], layers=HOLDING, state=place)
    code = code_link(place, bubblewrap.code().package)
    with (place / "log").open("ab", buffering=0) as log:
        return launcher.launch(plan, body=body, descriptors=handed, code_folder=code, log=log)


def first(compartment: Compartment, *events: str) -> dict[str, Any]:
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        select.select([compartment.control], [], [], 1)
        try:
            report = receive_report(compartment.control)
        except BlockingIOError:
            continue
        assert report is not None, "it ended without a word"
        if report["event"] in events:
            return report
    raise AssertionError(events)


def judged(place: Path, content: bytes, signature: bytes) -> dict[str, Any]:
    handed = {"candidate": memory(content), "signature": memory(signature)}
    spki = base64.b64encode(KEY.spki_der).decode()
    compartment = started(place, "verifier", {"spki": spki}, handed)
    try:
        found = first(compartment, "verified", "refused", "failed")
        assert compartment.wait(WAIT_S), "one shot means that it ends"
    finally:
        compartment.kill()
        for descriptor in handed.values():
            os.close(descriptor)
    return found


def memory(content: bytes) -> int:
    descriptor = os.memfd_create("file")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def test_a_signed_file_is_verified_and_named_by_its_digest(place: Path) -> None:
    found = judged(place, CONTENT, KEY.sign(CONTENT))
    assert found["event"] == "verified"
    assert found["bytes"] == len(CONTENT)


@pytest.mark.parametrize(
    ("content", "signature", "code"),
    [
        (CONTENT + b"x", KEY.sign(CONTENT), "ASP-204"),
        (CONTENT, bytes(64), "ASP-204"),
        (CONTENT, b"", "ASP-"),
        (CONTENT, bytes(65), "ASP-102"),
    ],
    ids=["changed", "no-signature", "empty", "too-long"],
)
def test_anything_else_is_refused(place: Path, content: bytes, signature: bytes, code: str) -> None:
    found = judged(place, content, signature)
    assert found["event"] == "refused"
    assert found["code"].startswith(code)


def test_the_display_shows_what_vitals_measures(
    ward: ModuleType, intrusion: ModuleType, place: Path
) -> None:
    under_test = intrusion.Ward(ward.enrolled(place / "device"), HOLDING)
    with under_test.running() as supervisor:
        under_test.until(lambda: len(under_test.told("vitals", "alive")) > 1)
        feed = supervisor.feed("vitals")
        body = {"ring_epoch": feed.epoch, "kind": Kind.MONITOR.value}
        display = started(place, "display", body, feed.handed())
        try:
            lines: list[str] = []
            until_s = time.monotonic() + WAIT_S
            while not any(character.isdigit() for line in lines for character in line):
                assert time.monotonic() < until_s, lines
                under_test.during(0.5)
                lines = first(display, "shown")["lines"]
        finally:
            display.kill()
    assert any(line.startswith("HR ") or "heart" in line.lower() for line in lines), lines


def test_without_a_key_there_is_no_verifier(place: Path) -> None:
    """Goal: it says why, and judges nothing."""
    handed = {"candidate": memory(b""), "signature": memory(b"")}
    compartment = started(place, "verifier", {}, handed)
    try:
        assert first(compartment, "failed", "verified", "refused")["code"] == InputError.code
    finally:
        compartment.kill()
        for descriptor in handed.values():
            os.close(descriptor)
