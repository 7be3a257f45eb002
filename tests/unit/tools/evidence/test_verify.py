"""Whoever has the database, all keys of the hub and its clock is still found out."""

import base64
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core.trust import libcrypto, merkle, witness
from asepsis.core.trust.witness import Seen
from asepsis.hub.audit.rules import Act, Entry, encode_detail, leaf
from asepsis.tools.evidence import verify_evidence
from asepsis.tools.evidence.verify_evidence import Pack, verify

MINUTE_NS = 60 * 10**9
START_NS = 1_800_000_000 * 10**9
KEYS = {name: libcrypto.generate_key() for name in ("gateway", "vendor", "device")}
TRUST = {
    "format": verify_evidence.TRUST_FORMAT,
    "threshold": 2,
    "witnesses": [{"name": name, "key": key.spki_der.hex()} for name, key in KEYS.items()],
}


def entry(index: int, *, action: str = "approve-release", at_ns: int | None = None) -> Entry:
    act = Act(actor="person:ana", action=action, subject="vitals", detail={"sha256": "ab"})
    return Entry(
        index=index,
        at_ns=START_NS + index * MINUTE_NS if at_ns is None else at_ns,
        actor=act.actor,
        action=act.action,
        subject=act.subject,
        outcome=act.outcome,
        detail=encode_detail(act.detail).decode(),
        salt=f"{index:032x}",
    )


@dataclass
class Log:
    """A log as a hub holds it, and what witnesses signed of it."""

    entries: list[Entry] = field(default_factory=list[Entry])
    signed: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def grow(self, count: int) -> None:
        self.entries += [entry(len(self.entries) + more) for more in range(count)]

    def root(self) -> bytes:
        state = merkle.Frontier()
        for one in self.entries:
            state, _ = state.append(leaf(one))
        return state.root()

    def cosign(self, *names: str) -> None:
        at_ns = self.entries[-1].at_ns + 1
        for name in names or KEYS:
            given = witness.cosign(KEYS[name], Seen(len(self.entries), self.root()), at_ns=at_ns)
            self.signed.append(
                {
                    "witness": name,
                    "size": given.size,
                    "root": given.root.hex(),
                    "at_ns": at_ns,
                    "signature": given.signature.hex(),
                }
            )

    def pack(self, **changed: Any) -> dict[str, Any]:
        leaves = b"".join(leaf(one) for one in self.entries)
        return {
            "format": verify_evidence.PACK_FORMAT,
            "size": len(self.entries),
            "made_at_ns": self.entries[-1].at_ns + MINUTE_NS,
            "leaves": base64.b64encode(leaves).decode(),
            "cosignatures": self.signed,
            "entries": [
                {name: getattr(one, name) for name in Entry.__struct_fields__}
                for one in self.entries
            ],
            "documents": [],
        } | changed


@pytest.fixture
def log() -> Log:
    made = Log()
    for _ in range(4):
        made.grow(10)
        made.cosign()
    return made


def judged(pack: dict[str, Any], **kept: list[bytes]) -> tuple[bool, int | None]:
    found = verify(Pack(pack), TRUST, kept)
    return found["ok"], found["first_bad_leaf"]


def leaves(log: Log) -> list[bytes]:
    return [leaf(one) for one in log.entries]


def test_an_honest_log_holds(log: Log) -> None:
    assert judged(log.pack()) == (True, None)
    assert judged(log.pack(), mirror=leaves(log)[:33]) == (True, None)


def test_an_entry_that_is_not_in_the_log_is_named(log: Log) -> None:
    pack = log.pack()
    pack["entries"][17]["actor"] = "person:eve"
    assert judged(pack) == (False, 17)


def test_a_rewritten_log_is_named_exactly_by_whoever_kept_leaves(log: Log) -> None:
    kept = leaves(log)
    log.entries[17] = entry(17, action="something-else")
    # Head, nodes and leaves are all made anew; what the witnesses signed cannot be.
    assert judged(log.pack()) == (False, 10)
    assert verify(Pack(log.pack()), TRUST)["findings"][0]["what"].startswith(
        "an entry from here to 19 was changed"
    )
    found = verify(Pack(log.pack()), TRUST, {"mirror": kept})
    assert 17 in [one["leaf"] for one in found["findings"]]


def test_hiding_what_witnesses_signed_does_not_help(log: Log) -> None:
    log.entries[17] = entry(17, action="something-else")
    log.signed = [one for one in log.signed if one["size"] <= 10]
    assert judged(log.pack()) == (False, 10)


def test_a_dropped_day_is_named(log: Log) -> None:
    kept = leaves(log)
    log.entries = log.entries[:30]
    assert judged(log.pack()) == (False, 30)
    log.signed = [one for one in log.signed if one["size"] <= 30]
    honest = log.pack()["made_at_ns"]
    late = log.pack(made_at_ns=honest + verify_evidence.RECENT_NS + MINUTE_NS)
    assert judged(late) == (False, 30)
    assert judged(log.pack(), mirror=kept) == (False, 30)


def test_two_views_of_one_log_are_named(log: Log) -> None:
    other = Log(entries=list(log.entries[:35]), signed=list(log.signed))
    other.entries += [entry(index, action="fork") for index in range(35, 40)]
    assert judged(other.pack()) == (False, 30)
    assert judged(other.pack(), view=leaves(log))[1] == 30
    # One witness alone that was deceived does not make a view good.
    other.signed = [one for one in log.signed if one["size"] <= 30]
    other.cosign("device")
    assert judged(other.pack()) == (False, 30)


def test_a_back_dated_approval_is_named(log: Log) -> None:
    log.grow(2)
    log.entries.append(entry(42, at_ns=START_NS + 5 * MINUTE_NS))
    log.grow(1)
    log.cosign()
    assert judged(log.pack()) == (False, 42)


def test_an_approval_dated_into_the_future_is_named(log: Log) -> None:
    log.entries.append(entry(40, at_ns=START_NS + 500 * MINUTE_NS))
    log.grow(3)
    log.cosign()
    assert judged(log.pack()) == (False, 40)


def test_m_of_n_is_meant(log: Log) -> None:
    log.grow(5)
    log.cosign("vendor")
    assert judged(log.pack()) == (False, 40)
    log.cosign("gateway")
    assert judged(log.pack()) == (True, None)


def test_unknown_and_false_signatures_count_nothing(log: Log) -> None:
    for one in log.signed:
        if one["witness"] != "device":
            one["signature"] = "11" * 64
    assert judged(log.pack()) == (False, 0)
    stranger = dict(TRUST, witnesses=[*TRUST["witnesses"][:2], TRUST["witnesses"][0]])  # type: ignore[index]
    with pytest.raises(ValueError, match="are one"):
        verify(Pack(log.pack()), stranger)
    with pytest.raises(ValueError, match="threshold"):
        verify(Pack(log.pack()), dict(TRUST, threshold=4))


def test_documents_are_what_the_log_names(log: Log) -> None:
    content = b"release document"
    pack = log.pack()
    pack["documents"] = [
        {
            "kind": "release",
            "name": "release.json",
            "sha256": "00" * 32,
            "content": base64.b64encode(content).decode(),
        }
    ]
    assert judged(pack) == (False, 40)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 2**64))
def test_es256_agrees_with_openssl(message: bytes, secret: int) -> None:
    key = ec.derive_private_key(secret, ec.SECP256R1())
    der = key.sign(message, ec.ECDSA(SHA256()))
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raw = verify_evidence.raw_signature(der)
    r, s = decode_dss_signature(der)
    assert raw == r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert verify_evidence.signed_by(spki, raw, message)
    assert not verify_evidence.signed_by(spki, raw, message + b"x")
    assert not verify_evidence.signed_by(spki, bytes(64), message)
    assert not verify_evidence.signed_by(spki[:-1] + bytes([spki[-1] ^ 1]), raw, message)


@given(
    st.text(max_size=30),
    st.text(max_size=30),
    st.integers(0, 2**62),
    st.binary(min_size=16, max_size=16),
)
def test_leaves_are_those_of_the_hub(actor: str, detail: str, at_ns: int, salt: bytes) -> None:
    one = Entry(
        index=3,
        at_ns=at_ns,
        actor=actor,
        action="a",
        subject=detail,
        outcome="done",
        detail=detail,
        salt=salt.hex(),
    )
    fields = {name: getattr(one, name) for name in Entry.__struct_fields__}
    assert verify_evidence.leaf_of(fields) == leaf(one)


def test_the_file_works_alone(log: Log, tmp_path: Path) -> None:
    program = tmp_path / "verify_evidence.py"
    program.write_bytes(Path(verify_evidence.__file__).read_bytes())
    pack, trust, mirror = tmp_path / "pack.json", tmp_path / "trust.json", tmp_path / "leaves.bin"
    pack.write_text(json.dumps(log.pack()))
    trust.write_text(json.dumps(TRUST))
    mirror.write_bytes(b"".join(leaves(log)))

    def run(*more: str) -> tuple[int, str]:
        done = subprocess.run(
            # Isolated and without site-packages: neither Asepsis nor a library can be imported.
            [sys.executable, "-I", "-S", str(program), str(pack), str(trust), *more],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout

    code, said = run("--against", str(mirror))
    assert (code, said.startswith("holds: 40 entries")) == (0, True)
    log.entries[3] = entry(3, action="something-else")
    pack.write_text(json.dumps(log.pack()))
    code, said = run("--against", str(mirror), "--json")
    found = json.loads(said)
    assert code == 1
    assert 3 in [one["leaf"] for one in found["findings"]]
    pack.write_text("[]")
    assert run()[0] == 2
