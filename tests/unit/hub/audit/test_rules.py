"""What an entry's leaf covers, and a log checked offline against its signed heads."""

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID

from asepsis.core.errors import AsepsisError, ChainBroken, LimitExceeded, SignatureInvalid
from asepsis.core.trust import merkle
from asepsis.core.trust.identity import EKU_AUDIT
from asepsis.core.trust.statements import tree_head_statement
from asepsis.hub.audit.rules import (
    DETAIL_BYTES_MAX,
    Entry,
    SignedHead,
    encode_detail,
    leaf,
    verify_head,
    verify_log,
)

KEY = ec.generate_private_key(ec.SECP256R1())
ENTRY = Entry(
    index=0,
    at_ns=1,
    actor="person:ana",
    action="revoke-device",
    subject="urn:dev:mac:0000000000000001",
    outcome="done",
    detail='{"reason":"stolen"}',
    salt="00" * 16,
)


def certificate(usage: x509.ObjectIdentifier = EKU_AUDIT) -> bytes:
    name = x509.Name([])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(KEY, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.DER)


AUDIT_DER = certificate()


def head(entries: list[Entry], *, root: bytes | None = None) -> SignedHead:
    state = merkle.Frontier()
    for entry in entries:
        state, _ = state.append(leaf(entry))
    root = root or state.root()
    statement = tree_head_statement(size=len(entries), root=root, timestamp_ns=9)
    r, s = decode_dss_signature(KEY.sign(statement, ec.ECDSA(hashes.SHA256())))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return SignedHead(size=len(entries), root=root.hex(), at_ns=9, signature=raw.hex())


def log(count: int) -> list[Entry]:
    return [msgspec.structs.replace(ENTRY, index=i, at_ns=i) for i in range(count)]


def test_the_leaf_is_the_one_that_the_documentation_spells_out() -> None:
    """Goal: an auditor can rebuild the hash from the text of docs/explanation/state.md."""
    inner = hashlib.sha256(bytes(16) + b'{"reason":"stolen"}').hexdigest()
    text = (
        '["asepsis-audit-1",0,1,"person:ana","revoke-device",'
        f'"urn:dev:mac:0000000000000001","done","{inner}"]'
    )
    assert leaf(ENTRY) == hashlib.sha256(b"\0" + text.encode()).digest()


@pytest.mark.parametrize("field", Entry.__struct_fields__)
def test_every_field_changes_the_leaf(field: str) -> None:
    value = getattr(ENTRY, field)
    other = value + 1 if isinstance(value, int) else "11" + value
    assert leaf(msgspec.structs.replace(ENTRY, **{field: other})) != leaf(ENTRY)


def test_a_salt_that_is_no_hex_is_a_change() -> None:
    with pytest.raises(ChainBroken):
        leaf(msgspec.structs.replace(ENTRY, salt="zz"))


def test_details_are_bounded() -> None:
    with pytest.raises(LimitExceeded):
        encode_detail({"x": "y" * DETAIL_BYTES_MAX})


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 33])
def test_a_whole_log_holds(count: int) -> None:
    entries = log(count)
    heads = [head(entries[:n]) for n in range(1, count + 1, 3)]
    assert verify_log(entries, heads, audit_certificate_der=AUDIT_DER) == count


@pytest.mark.parametrize("touched", range(5))
def test_any_touched_entry_is_found(touched: int) -> None:
    entries = log(5)
    heads = [head(entries)]
    changed = list(entries)
    changed[touched] = msgspec.structs.replace(changed[touched], actor="person:mallory")
    for bad in (
        changed,
        entries[:touched] + entries[touched + 1 :],
        entries[:touched],
        [*entries[:touched], ENTRY, *entries[touched:]],
    ):
        with pytest.raises(ChainBroken):
            verify_log(bad, heads, audit_certificate_der=AUDIT_DER)


def test_heads_of_others_are_refused() -> None:
    entries = log(3)
    good = head(entries)
    bad = [
        msgspec.structs.replace(good, at_ns=8),
        msgspec.structs.replace(good, size=2),
        msgspec.structs.replace(good, root="00" * 32),
        msgspec.structs.replace(good, root="00"),
        msgspec.structs.replace(good, root="zz"),
        msgspec.structs.replace(good, signature=""),
        msgspec.structs.replace(good, signature="00" * 64),
    ]
    for each in bad:
        with pytest.raises(AsepsisError):
            verify_log(entries, [each], audit_certificate_der=AUDIT_DER)


def test_another_kind_of_key_signs_no_heads() -> None:
    with pytest.raises(AsepsisError):
        verify_head(
            head(log(1)), audit_certificate_der=certificate(ExtendedKeyUsageOID.SERVER_AUTH)
        )
    timed = certificate(ExtendedKeyUsageOID.TIME_STAMPING)
    with pytest.raises(SignatureInvalid):
        verify_head(head(log(1)), audit_certificate_der=timed)
