"""Goal: only what the device's origin key signed, in its order, is the device's word."""

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ChainBroken, InputError, SignatureInvalid
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.trust import libcrypto
from asepsis.core.trust.origin import ChainHead, OriginVerifier, Place, key_id, sign_batch
from asepsis.core.wire.origin import (
    NO_PREVIOUS,
    BatchHeader,
    OriginBatch,
    decode_batch,
    encode_batch,
)

KEY = libcrypto.generate_key()
VERIFIER = OriginVerifier(KEY.spki_der)


def batch(head: ChainHead, *, key: libcrypto.PrivateKey = KEY, interval_ms: int = 0) -> bytes:
    header = BatchHeader(
        device=DeviceId.from_eui64(0x0011223344556677),
        key_id=key_id(KEY.spki_der),
        epoch=head.epoch,
        sequence=head.sequence + 1,
        ring_first=1,
        ring_last=0,
        previous=head.digest,
        clinical_state=ClinicalState.IDLE,
        instant=Instant(bytes(16), 0, 0, 0),
        interval_ms=interval_ms,
    )
    return sign_batch(key, encode_batch(header))


def chain(length: int, *, epoch: int = 1) -> list[OriginBatch]:
    head, batches = ChainHead.start(epoch), []
    for _ in range(length):
        batches.append(decode_batch(batch(head)))
        head = head.after(batches[-1].signed_part)
    return batches


FIRST = decode_batch(batch(ChainHead.start(1)))


def test_what_the_device_signed_verifies() -> None:
    for genuine in chain(3):
        VERIFIER.verify(genuine)
    assert VERIFIER.key_id == FIRST.key_id


@given(st.integers(0, len(FIRST.to_bytes()) * 8 - 1))
def test_a_flipped_bit_never_verifies(bit: int) -> None:
    """Goal: the network service forwards; whatever it changes is refused."""
    raw = FIRST.to_bytes()
    changed = (int.from_bytes(raw, "big") ^ 1 << bit).to_bytes(len(raw), "big")
    with pytest.raises((SignatureInvalid, InputError)):
        VERIFIER.verify(decode_batch(changed))


def test_another_key_is_refused() -> None:
    other = libcrypto.generate_key()
    with pytest.raises(SignatureInvalid, match="does not verify"):
        VERIFIER.verify(decode_batch(batch(ChainHead.start(1), key=other)))
    with pytest.raises(SignatureInvalid, match="another origin key"):
        OriginVerifier(other.spki_der).verify(FIRST)


@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64])
def test_signatures_out_of_range_are_refused(signature: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        VERIFIER.verify(dataclasses.replace(FIRST, signature=signature))


def test_only_points_of_p256_are_origin_keys() -> None:
    for key in (
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
    ):
        with pytest.raises(InputError):
            OriginVerifier(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    for raw in (b"", KEY.spki_der[:-32] + bytes(32)):
        with pytest.raises(InputError):
            OriginVerifier(raw)


def test_the_chain_tells_where_a_batch_stands() -> None:
    first, second, third, fourth = chain(4)
    head = ChainHead.of(second)
    assert ChainHead.start(1) == ChainHead(1, 0, NO_PREVIOUS)
    assert ChainHead.start(1).place(first) is Place.NEXT
    assert head.place(third) is Place.NEXT
    assert head.place(second) is Place.DUPLICATE
    assert head.place(first) is Place.BEHIND
    assert head.place(fourth) is Place.AHEAD
    assert head.place(chain(1, epoch=2)[0]) is Place.NEW_EPOCH
    assert ChainHead.start(2).place(first) is Place.OLD_EPOCH
    assert head.after(third.signed_part) == ChainHead.of(third)


def test_a_fork_is_found_on_both_sides() -> None:
    first, second = chain(2)
    twin = decode_batch(batch(ChainHead.of(first), interval_ms=1))
    with pytest.raises(ChainBroken, match="two different"):
        ChainHead.of(second).place(twin)
    follower = decode_batch(batch(ChainHead.of(twin)))
    with pytest.raises(ChainBroken, match="does not follow"):
        ChainHead.of(second).place(follower)


def test_signing_again_is_no_fork() -> None:
    """Goal: ES256 is randomised; the same content signed twice is one batch."""
    again = decode_batch(batch(ChainHead.start(1)))
    assert again.signature != FIRST.signature
    assert ChainHead.of(FIRST).place(again) is Place.DUPLICATE
