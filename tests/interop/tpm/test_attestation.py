"""Quotes of a real (software) TPM: honest ones are accepted, everything else is refused."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography.x509 import ObjectIdentifier

from asepsis.core.errors import ContentMismatch, IdentityInvalid, InputError, SignatureInvalid
from asepsis.core.trust import libcrypto
from asepsis.core.trust.attestation import (
    QUOTED,
    Evidence,
    Quoted,
    Release,
    Standing,
    Verdict,
    check_progress,
    floor_of,
    judge,
    qualifying,
    verify,
)
from asepsis.core.trust.attestation_log import PCR_RUNTIME, Change, Line
from asepsis.core.trust.endorsement import verify_ek
from asepsis.core.trust.tpm import EccKey, ak_template, extend, read_ak, read_signature, sized
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import (
    attestation_key,
    certify_floor,
    extend_pcr,
    keys,
    make_floor,
    quote,
    raise_floor,
    read_pcrs,
)
from asepsis.tools.testing.software_tpm import SoftwareTpm, TpmMaker

ZERO = bytes(32)
IMAGE = hashlib.sha256(b"kernel").digest()
SECURE = hashlib.sha256(b"secure boot").digest()
PART = hashlib.sha256(b"vitals 2").hexdigest()
START = Line(change=Change.START, subject="monitor", version="1", sha256="0" * 64)
SWAP = Line(change=Change.SWAP, subject="network", version="2", sha256=PART)
RELEASE = Release(
    name="monitor 1", number=3, registers={11: extend(ZERO, IMAGE)}, parts=frozenset({PART})
)
KEY = libcrypto.generate_key().spki_der
NONCE = b"n" * 32


@pytest.fixture
def booted(software: SoftwareTpm) -> SoftwareTpm:
    """What firmware and stub of a genuine device measured."""
    software.measure({7: SECURE, 11: IMAGE})
    return software


def answer(software: SoftwareTpm, *, extra: bytes = b"", lines: Sequence[Line] = ()) -> Evidence:
    extra = extra or qualifying(NONCE, KEY)
    with Tpm(software.path) as tpm:
        make_floor(tpm)
        with attestation_key(tpm) as key:
            quoted, signature = quote(tpm, key, pcrs=QUOTED, extra=extra)
            counter, counted = certify_floor(tpm, key, extra=extra)
        return Evidence(
            quote=quoted,
            quote_signature=signature,
            counter=counter,
            counter_signature=counted,
            registers=read_pcrs(tpm, QUOTED),
            lines=lines,
        )


def key_of(software: SoftwareTpm) -> EccKey:
    with Tpm(software.path) as tpm:
        return keys(tpm)[1]


def verified(software: SoftwareTpm) -> Quoted:
    return verify(answer(software), ak=key_of(software), expected=qualifying(NONCE, KEY))


def log(software: SoftwareTpm, *lines: Line) -> None:
    with Tpm(software.path) as tpm:
        for line in lines:
            extend_pcr(tpm, PCR_RUNTIME, line.digest)


def judged(quoted: Quoted, *lines: Line, release: Release = RELEASE, base: int = 1) -> Verdict:
    return judge(
        quoted,
        releases=[release],
        secure_boot=extend(ZERO, SECURE),
        floor=floor_of(quoted, base=base),
        lines=lines,
    )


def test_an_honest_device_is_verified_as_booted_and_as_running(booted: SoftwareTpm) -> None:
    """Goal: "running" needs a log that begins with the start and explains the register."""
    assert judged(verified(booted)).standing is Standing.BOOTED
    log(booted, START)
    assert judged(verified(booted), START).standing is Standing.RUNNING
    log(booted, SWAP)
    found = judged(verified(booted), START, SWAP)
    assert (found.standing, found.changes, found.release) == (Standing.RUNNING, 1, RELEASE)


def test_a_swap_without_log_is_refused(booted: SoftwareTpm) -> None:
    log(booted, START, SWAP)
    quoted = verified(booted)
    for lines in (
        (),
        (START,),
        (START, SWAP, SWAP),
        (SWAP, START),
        (START, replace(SWAP, version="3")),
    ):
        with pytest.raises(ContentMismatch, match="does not explain"):
            judged(quoted, *lines)


def test_a_log_begins_with_one_start_and_names_what_releases_hold(booted: SoftwareTpm) -> None:
    log(booted, SWAP)
    with pytest.raises(ContentMismatch, match="begin with the start"):
        judged(verified(booted), SWAP)


def test_a_part_of_no_release_is_refused(booted: SoftwareTpm) -> None:
    unknown = replace(SWAP, sha256="1" * 64)
    log(booted, START, unknown)
    quoted = verified(booted)
    with pytest.raises(ContentMismatch, match="in no release"):
        judged(quoted, START, unknown)
    log(booted, START)
    with pytest.raises(ContentMismatch, match="in no release"):
        judged(verified(booted), START, unknown, START)


def test_another_image_or_another_secure_boot_is_refused(booted: SoftwareTpm) -> None:
    quoted = verified(booted)
    with pytest.raises(ContentMismatch, match="no known release"):
        judged(quoted, release=replace(RELEASE, registers={11: ZERO}))
    with pytest.raises(ContentMismatch, match="no known release"):
        judged(quoted, release=replace(RELEASE, registers={4: ZERO}))
    with pytest.raises(ContentMismatch, match="Secure Boot"):
        judge(quoted, releases=[RELEASE], secure_boot=ZERO, floor=0, lines=())


def test_an_old_image_under_the_floor_is_refused(booted: SoftwareTpm) -> None:
    with Tpm(booted.path) as tpm:
        make_floor(tpm)
        raise_floor(tpm, 1 + RELEASE.number)
    assert judged(verified(booted)).standing is Standing.BOOTED
    with Tpm(booted.path) as tpm:
        raise_floor(tpm, 2 + RELEASE.number)
    with pytest.raises(ContentMismatch, match="below the floor 4"):
        judged(verified(booted))
    with pytest.raises(ContentMismatch, match="went back"):
        judged(verified(booted), base=100)


def test_a_replayed_and_a_relayed_quote_are_refused(booted: SoftwareTpm) -> None:
    """Goal: an answer counts for one question over one connection."""
    evidence, ak = answer(booted), key_of(booted)
    verify(evidence, ak=ak, expected=qualifying(NONCE, KEY))
    with pytest.raises(IdentityInvalid, match="another question"):
        verify(evidence, ak=ak, expected=qualifying(b"m" * 32, KEY))
    with pytest.raises(IdentityInvalid, match="another connection"):
        verify(evidence, ak=ak, expected=qualifying(NONCE, libcrypto.generate_key().spki_der))
    older = answer(booted, extra=qualifying(b"m" * 32, KEY))
    mixed = replace(evidence, counter=older.counter, counter_signature=older.counter_signature)
    with pytest.raises(IdentityInvalid, match="another question"):
        verify(mixed, ak=ak, expected=qualifying(NONCE, KEY))


def test_a_foreign_and_a_paper_tpm_are_refused(booted: SoftwareTpm) -> None:
    """Goal: the same values, signed by another TPM or by a key on paper, count for nothing."""
    ak, genuine, expected = key_of(booted), answer(booted), qualifying(NONCE, KEY)
    with SoftwareTpm() as foreign:
        foreign.measure({7: SECURE, 11: IMAGE})
        with pytest.raises(SignatureInvalid, match="attestation key"):
            verify(answer(foreign), ak=ak, expected=expected)
    paper = libcrypto.generate_key()
    raw = paper.sign(genuine.quote)
    signed = genuine.quote_signature[:4] + sized(raw[:32]) + sized(raw[32:])
    with pytest.raises(SignatureInvalid, match="attestation key"):
        verify(replace(genuine, quote_signature=signed), ak=ak, expected=expected)
    # Even enrolled, a key on paper is no primary key of a TPM that stated the quote.
    point = paper.spki_der[-64:]
    enrolled = read_ak(ak_template(point[:32], point[32:]))
    with pytest.raises(IdentityInvalid, match="primary"):
        verify(replace(genuine, quote_signature=signed), ak=enrolled, expected=expected)


def test_changed_registers_and_statements_are_refused(booted: SoftwareTpm) -> None:
    ak, genuine, expected = key_of(booted), answer(booted), qualifying(NONCE, KEY)
    for registers in (
        {**genuine.registers, 13: b"\1" * 32},
        {**genuine.registers, 13: b""},
        {**genuine.registers, 14: ZERO},
        {4: ZERO},
    ):
        with pytest.raises(ContentMismatch):
            verify(replace(genuine, registers=registers), ak=ak, expected=expected)
    for at in range(0, len(genuine.quote), 7):
        changed = bytearray(genuine.quote)
        changed[at] ^= 1
        with pytest.raises(SignatureInvalid):
            verify(replace(genuine, quote=bytes(changed)), ak=ak, expected=expected)
    for cut in range(len(genuine.quote_signature)):
        with pytest.raises(InputError):
            read_signature(genuine.quote_signature[:cut])
    swapped = replace(genuine, counter=genuine.quote, counter_signature=genuine.quote_signature)
    with pytest.raises(InputError, match="about an index"):
        verify(swapped, ak=ak, expected=expected)


def test_a_tpm_that_goes_back_in_time_is_noticed(booted: SoftwareTpm) -> None:
    """Goal: a copied state that is put back cannot hide a raised floor."""
    quoted = verified(booted)
    check_progress(quoted, resets=quoted.resets, clock_ms=quoted.clock_ms)
    booted.restart()
    booted.measure({7: SECURE, 11: IMAGE})
    later = verified(booted)
    assert later.resets > quoted.resets
    with pytest.raises(ContentMismatch, match="went back in time"):
        check_progress(quoted, resets=later.resets, clock_ms=quoted.clock_ms)


def test_the_maker_counts_for_its_own_keys_only(software: SoftwareTpm) -> None:
    maker, other = TpmMaker(), TpmMaker()
    with Tpm(software.path) as tpm:
        ek, _ = keys(tpm)
    chain = [maker.certify(ek)]
    verify_ek(ek, chain, anchors=[other.anchor_der, maker.anchor_der])
    with pytest.raises(IdentityInvalid, match="no trusted maker"):
        verify_ek(ek, chain, anchors=[other.anchor_der])
    client = [maker.certify(ek, usage=ObjectIdentifier("1.3.6.1.5.5.7.3.2"))]
    with pytest.raises(IdentityInvalid, match="not one of an endorsement key"):
        verify_ek(ek, client, anchors=[maker.anchor_der])
    with SoftwareTpm() as foreign, Tpm(foreign.path) as tpm:
        stranger, _ = keys(tpm)
    with pytest.raises(IdentityInvalid, match="another endorsement key"):
        verify_ek(stranger, chain, anchors=[maker.anchor_der])
