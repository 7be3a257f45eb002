"""Goal: the golden bytes hold, for our own code and for an independent reader in C."""

import base64
import hashlib
import json
import runpy
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import InputError, LimitExceeded, SignatureInvalid
from asepsis.core.model.time import Instant
from asepsis.core.trust import libcrypto, merkle
from asepsis.core.trust.libcrypto_x509 import Purpose, read_certificate, verify_chain
from asepsis.core.trust.origin import OriginVerifier
from asepsis.core.trust.statements import read_time_statement, tree_head_statement
from asepsis.core.wire import float_type, frames, origin
from asepsis.edge.uplink.token import EnrolmentToken

FOLDER = Path(__file__).parents[4] / "standard" / "vectors"
Vector = dict[str, Any]


def document(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


BATCHES, PACKETS = document("origin-batches"), document("waveform-packets")
FLOATS, TRUST, MERKLE = document("float-type"), document("trust"), document("merkle")
VERIFIER = OriginVerifier(bytes.fromhex(BATCHES["key"]["spki"]))


def test_the_files_are_what_the_program_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the wire format does not change unseen."""
    monkeypatch.syspath_prepend(FOLDER)  # As if started by its path.
    made = runpy.run_path(str(FOLDER / "generate.py"))["files"]()
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, name


@pytest.mark.parametrize("vector", BATCHES["good"], ids=lambda v: v["name"])
def test_good_batches(vector: Vector) -> None:
    batch = origin.decode_batch(bytes.fromhex(vector["hex"]))
    VERIFIER.verify(batch)
    fields = vector["fields"]
    assert batch.digest.hex() == vector["digest"]
    assert batch.device.uri == fields["device"]
    assert batch.previous.hex() == fields["previous"]
    assert batch.instant == Instant(
        bytes.fromhex(fields["boot_id"]),
        fields["monotonic_ns"],
        fields["wall_ns"],
        fields["uncertainty_ms"],
    )
    for name in ("epoch", "sequence", "ring_first", "ring_last", "interval_ms", "clinical_state",
                 "lists_active"):  # fmt: skip
        assert getattr(batch.header, name) == fields[name]
    assert [list(row) for row in batch.numeric_rows()] == fields["numerics"]
    assert [event.text for event in batch.alarms()] == [a["text"] for a in fields["alarms"]]
    assert [d.sha256.hex() for d in batch.waveform_digests()] == [d[2] for d in fields["digests"]]


def test_the_chain_of_the_good_batches() -> None:
    first, second, third = BATCHES["good"][:3]
    assert first["fields"]["previous"] == "00" * 32
    assert second["fields"]["previous"] == first["digest"]
    assert third["fields"]["previous"] == second["digest"]


@pytest.mark.parametrize("vector", BATCHES["bad"], ids=lambda v: v["name"])
def test_bad_batches(vector: Vector) -> None:
    raw = bytes.fromhex(vector["hex"])
    if vector["well_formed"]:
        with pytest.raises(SignatureInvalid):
            VERIFIER.verify(origin.decode_batch(raw))
    else:
        with pytest.raises(InputError):
            origin.decode_batch(raw)


@pytest.mark.parametrize("vector", PACKETS["good"], ids=lambda v: v["name"])
def test_good_packets(vector: Vector) -> None:
    packet = frames.decode_packet(bytes.fromhex(vector["hex"]))
    promised = {d[2] for d in BATCHES["good"][0]["fields"]["digests"]}
    assert {frame.digest.hex() for frame in packet.frames} == promised
    for frame, fields in zip(packet.frames, vector["fields"]["frames"], strict=True):
        assert frame.samples().tolist() == fields["samples"]
        assert frame.digest.hex() == fields["digest"]
        assert (frame.metric.scale, frame.metric.offset) == (fields["scale"], fields["offset"])


@pytest.mark.parametrize("vector", PACKETS["bad"], ids=lambda v: v["name"])
def test_bad_packets(vector: Vector) -> None:
    with pytest.raises(InputError):
        frames.decode_packet(bytes.fromhex(vector["hex"]))


@pytest.mark.parametrize("vector", FLOATS["good"], ids=lambda v: v["value"])
def test_good_floats(vector: Vector) -> None:
    value = float_type.to_decimal(int(vector["hex"], 16))
    if isinstance(value, float_type.FloatSpecial):
        assert value.name == vector["value"]
    else:
        assert str(value) == str(Decimal(vector["value"]))


def test_bad_floats() -> None:
    for vector in FLOATS["bad"]:
        with pytest.raises(InputError):
            float_type.to_decimal(int(vector["hex"], 16))
    for text in FLOATS["does_not_fit"]:
        with pytest.raises(LimitExceeded):
            float_type.from_decimal(Decimal(text))


def test_token() -> None:
    vector = TRUST["token"]
    token = EnrolmentToken.parse(vector["text"])
    assert (token.id, token.secret, token.pin) == (vector["id"], vector["secret"], vector["pin"])
    assert hashlib.sha256(bytes.fromhex(TRUST["root"])).hexdigest() == token.pin
    assert token.basic_credentials() == vector["authorization"]
    assert base64.b64decode(vector["authorization"][6:]).decode() == f"{token.id}:{token.secret}"


def test_signed_time() -> None:
    """Goal: a device with nothing but the pinned root reads the time; a replay gives none."""
    vector = TRUST["signed_time"]
    leaf, *between = (bytes.fromhex(text) for text in vector["chain"])
    root, nonce = bytes.fromhex(TRUST["root"]), bytes.fromhex(vector["nonce"])
    verify_chain(leaf, intermediates=between, roots=[root], purpose=Purpose.TIMESTAMP_SIGN)
    spki, statement = read_certificate(leaf).spki_der, bytes.fromhex(vector["statement"])
    libcrypto.verify(spki, bytes.fromhex(vector["signature"]), statement)
    assert read_time_statement(statement, nonce=nonce) == (
        vector["wall_ns"],
        vector["uncertainty_ms"],
    )
    replay, forged = TRUST["refused_time"]
    libcrypto.verify(spki, bytes.fromhex(replay["signature"]), bytes.fromhex(replay["statement"]))
    with pytest.raises(InputError):
        read_time_statement(bytes.fromhex(replay["statement"]), nonce=nonce)
    with pytest.raises(SignatureInvalid):
        libcrypto.verify(spki, bytes.fromhex(forged["signature"]), statement)


def test_merkle_proofs() -> None:
    roots = [bytes.fromhex(text) for text in MERKLE["roots"]]
    for vector in MERKLE["inclusion"]:
        merkle.verify_inclusion(
            merkle.leaf_hash(bytes.fromhex(MERKLE["entries"][vector["index"]])),
            index=vector["index"],
            size=vector["size"],
            proof=[bytes.fromhex(text) for text in vector["proof"]],
            root=roots[vector["size"]],
        )
    for vector in MERKLE["consistency"]:
        merkle.verify_consistency(
            first=vector["first"],
            first_root=roots[vector["first"]],
            second=vector["second"],
            second_root=roots[vector["second"]],
            proof=[bytes.fromhex(text) for text in vector["proof"]],
        )
    head = MERKLE["tree_head"]
    statement = tree_head_statement(
        size=head["size"], root=roots[8], timestamp_ns=head["timestamp_ns"]
    )
    assert statement.hex() == head["statement"]


def test_an_independent_reader_in_c_agrees(tmp_path: Path) -> None:
    """Goal: frames.md alone is enough; a program with no line of ours reads the same."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or not Path("/usr/include/openssl/evp.h").exists():
        pytest.skip("no C compiler or no libcrypto headers (gcc, libc6-dev, libssl-dev)")
    program = tmp_path / "check_vectors"
    source = FOLDER / "check_vectors.c"
    flags = ("-std=c11", "-Wall", "-Wextra", "-Werror")
    subprocess.run([compiler, *flags, "-o", program, source, "-lcrypto"], check=True)
    with (FOLDER / "vectors.txt").open("rb") as vectors:
        judged = subprocess.run(
            [program], stdin=vectors, capture_output=True, text=True, check=False
        )
    assert judged.returncode == 0, judged.stdout
    assert judged.stdout.endswith("62 vectors, 0 wrong\n")
