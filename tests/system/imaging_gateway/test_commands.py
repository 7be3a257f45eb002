"""The commands around the DICOM side of a gateway, as a person would type them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dicom_ward import CLEAR, DicomWard, free_port, instance, peer_text, run, send
from test_through import Pacs

from asepsis.edge.gateway.imaging.proofs import PasscodeJudge


def asepsis(*arguments: object) -> "tuple[int, str]":
    """Run a command; return its exit code and what it printed."""
    done = run(sys.executable, "-m", "asepsis.cli.main", "gateway", "images", *arguments)
    return done.returncode, done.stdout + done.stderr


def test_check_shows_modalities_and_refuses_bad_settings(
    prepared: Callable[..., DicomWard],
) -> None:
    ward = prepared()
    code, text = asepsis("check", "--settings", ward.data / "gateway.toml", "--json")
    assert code == 0, text
    (row,) = json.loads(text)
    assert (row["peer"], row["protection"], row["ack"]) == ("ct", "CLEAR TEXT", "hub")
    bad = prepared(peers=peer_text(more='sop_classes = ["storage"]\n'))
    code, text = asepsis("check", "--settings", bad.data / "gateway.toml")
    assert code == 5
    assert "cleartext" in text


def test_echo_asks_a_pacs(prepared: Callable[..., DicomWard], tmp_path: Path) -> None:
    port = free_port()
    ward = prepared(
        more=f'[[archives]]\ndestination = "pacs"\nhost = "127.0.0.1"\nport = {port}\n'
        'called = "PACS"\ncleartext = true\n'
    )
    pacs = Pacs(tmp_path / "pacs", port)
    command = ("echo", "pacs", "--settings", ward.data / "gateway.toml")
    assert asepsis(*command)[0] != 0
    pacs.start()
    try:
        deadline = time.monotonic() + 10
        while asepsis(*command)[0]:
            assert time.monotonic() < deadline
    finally:
        pacs.stop()
    assert asepsis("echo", "other", "--settings", ward.data / "gateway.toml")[0] != 0


def test_refused_lists_what_a_person_must_decide(prepared: Callable[..., DicomWard]) -> None:
    ward = prepared(peers=peer_text(more=CLEAR + 'ack = "spool"\n'))
    ward.start_server().refuse = {1}
    ward.start_gateway()
    assert send(ward, [instance(7)]) == [0]
    deadline = time.monotonic() + 10
    while not list(ward.images.glob("refused/*.image")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    code, text = asepsis("refused", "--settings", ward.data / "gateway.toml", "--json")
    assert code == 0, text
    (row,) = json.loads(text)
    assert row["instance"] == instance(7)[0]
    assert row["reason"]


def test_passcode_prints_a_line_that_the_prover_takes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "asepsis.cli.main", "gateway", "images", "passcode", "nurse"],
        input="correct horse\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    file = tmp_path / "passcodes"
    file.write_text(done.stdout)
    file.chmod(0o600)
    assert PasscodeJudge(file).judge(b"nurse", b"correct horse").user == "nurse"
