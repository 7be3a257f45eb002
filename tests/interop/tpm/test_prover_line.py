"""The two lines between network and attester compartment, with a software TPM behind them."""

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Generator
from dataclasses import asdict

import pytest

from asepsis.core.errors import FramingError, InputError, Unavailable
from asepsis.core.trust.attestation_log import Change, Line
from asepsis.core.trust.tpm import read_ek
from asepsis.edge.device.prover_line import LineProver, answer, read_question
from asepsis.edge.device.proving import TpmProver
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import floor_base, floor_number, keys, make_floor, read_floor
from asepsis.edge.sandbox.ring import wake_pair
from asepsis.tools.testing.software_tpm import SoftwareTpm

LONG = [
    Line(change=Change.SWAP, subject="n" * 40, version=str(n), sha256="a" * 64) for n in range(200)
]


@pytest.fixture
def lines() -> Generator[tuple[socket.socket, socket.socket, socket.socket, socket.socket]]:
    pairs = wake_pair(), wake_pair()
    yield (*pairs[0], *pairs[1])
    for pair in pairs:
        for line in pair:
            line.close()


def served(tpm: Tpm, hears: socket.socket, says: socket.socket, times: int) -> threading.Thread:
    """Answer as the compartment does, a number of times."""
    prover = TpmProver(tpm, lambda: LONG, number=3)
    hears.setblocking(True)
    says.setblocking(True)

    def serve() -> None:
        for _ in range(times):
            for piece in answer(read_question(hears.recv(5_000)), prover):
                says.send(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_what_is_asked_over_the_lines_is_what_the_tpm_states(
    tpm: Tpm, lines: tuple[socket.socket, ...]
) -> None:
    """Goal: keys, an answer with a long log in pieces, and a floor that stops at the image."""
    says, hears, answers, hears_answers = lines
    thread = served(tpm, hears, answers, 5)
    asking = LineProver(says, hears_answers, wait_s=30)
    own = keys_of(asking.keys())
    found = asking.answer(bytes(32), b"key" * 30)
    assert found["lines"] == [asdict(line) for line in LONG]
    assert len(json.dumps(found)) > 4 * 4_000
    with pytest.raises(InputError, match="in vain"):
        asking.open_secret(credential=b"x" * 50, sealer=b"y" * 70)
    base = asking.raise_floor(0)
    assert asking.raise_floor(base + 50) == base + 3
    thread.join()
    assert own == keys(tpm)[0].public
    assert floor_base(tpm) == base
    assert floor_number(tpm) == 3


def keys_of(document: dict[str, object]) -> bytes:
    found = base64.b64decode(str(document["ek"]))
    assert document["ek_sha256"] == hashlib.sha256(read_ek(found).spki_der).hexdigest()
    return found


def test_strange_questions_are_no_questions(tpm: Tpm) -> None:
    for message in (b"", b"\x01", struct.pack(">BI", 9, 1), b"\x01" + bytes(5_000)):
        with pytest.raises(FramingError):
            read_question(message)
    prover = TpmProver(tpm, tuple)
    for kind, body in ((1, b"x"), (2, b""), (3, bytes(32)), (3, bytes(300)), (4, b"")):
        (piece,) = answer(read_question(struct.pack(">BI", kind, 7) + body), prover)
        assert piece[:8] == struct.pack(">IHH", 7, 0, 1)
        assert "refused" in json.loads(piece[8:])


def test_pieces_of_another_answer_are_dropped_and_silence_ends(
    lines: tuple[socket.socket, ...],
) -> None:
    says, _, answers, hears_answers = lines
    asking = LineProver(says, hears_answers, wait_s=0.3)
    with pytest.raises(Unavailable):
        asking.keys()
    answers.send(struct.pack(">IHH", 1, 0, 1) + b'{"done":{"ek":"old"}}')
    answers.send(struct.pack(">IHH", 2, 0, 1) + b'{"done":{"ek":"new"}}')
    assert asking.keys() == {"ek": "new"}
    for wrong in (b"\0" * 4 + b"rest", struct.pack(">IHH", 3, 5, 2) + b"{}"):
        answers.send(wrong)
    with pytest.raises((InputError, Unavailable)):
        asking.keys()
    answers.send(struct.pack(">IHH", 4, 0, 1) + b"[]")
    with pytest.raises(InputError):
        asking.keys()


def test_the_base_of_a_floor_is_kept_once(software: SoftwareTpm) -> None:
    """Goal: what is floor 0 on this device stays so, over restarts too, and is not rewritten."""
    with Tpm(software.path) as tpm:
        assert floor_number(tpm) == 0
        base = make_floor(tpm)
        prover = TpmProver(tpm, tuple, number=2)
        assert prover.raise_floor(base + 9) == base + 2
    software.restart()
    with Tpm(software.path) as tpm:
        assert (make_floor(tpm), floor_base(tpm)) == (base + 2, base)
        assert floor_number(tpm) == 2
        assert read_floor(tpm) == base + 2
