"""Whether a device runs what it should: a quote of its TPM judged against a release.

Pure: values in, a verdict or an error out. The order is the argument: first who signed and for
which question (so nothing of a stranger is read further), then what started, then what runs.

Source: TCG Trusted Attestation Protocol use cases; TCG Trusted Platform Module Library part 1
clauses 17 (PCR) and 18.4 (attestation keys), part 3 clauses 18.4 (quote) and 31.16 (NV certify).
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from asepsis.core.errors import ContentMismatch, IdentityInvalid, SignatureInvalid
from asepsis.core.trust import libcrypto
from asepsis.core.trust.attestation_log import PCR_RUNTIME, ZERO, Change, Line, replay
from asepsis.core.trust.tpm import (
    DIGEST_BYTES,
    EccKey,
    Stated,
    qualified_name,
    read_counter,
    read_quote,
    read_signature,
    read_statement,
)

NONCE_BYTES: Final = 32
PCR_LOADER: Final = 4
"""What the firmware started (its hash as PE file); shown, and judged where a release states it."""
PCR_SECURE_BOOT: Final = 7
"""Secure Boot on or off, its keys, and which of them the start needed."""
PCR_IMAGE: Final = 11
"""Kernel, command line and first file system, measured by the stub."""
QUOTED: Final = (PCR_LOADER, PCR_SECURE_BOOT, PCR_IMAGE, PCR_RUNTIME)
"""Registers that every quote is of."""


class Standing(StrEnum):
    """How far a device is verified."""

    BOOTED = "booted"
    """It started what a release names; what runs now was not measured."""
    RUNNING = "running"
    """It started what a release names, and every change since is known and named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a device answers to a question.

    Attributes:
        quote: TPMS_ATTEST about the registers.
        quote_signature: TPMT_SIGNATURE over it.
        counter: TPMS_ATTEST about the floor's counter.
        counter_signature: TPMT_SIGNATURE over it.
        registers: Value of each register of `QUOTED`, 32 bytes.
        lines: The log of changes.
    """

    quote: bytes
    quote_signature: bytes
    counter: bytes
    counter_signature: bytes
    registers: Mapping[int, bytes]
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a release is measured as.

    Attributes:
        name: Model and version, for people.
        number: Its place in the order of releases of the model; at least 0.
        registers: Predicted values; always register 11.
        parts: SHA-256 of everything that may replace a part of it at run time.
    """

    name: str
    number: int
    registers: Mapping[int, bytes]
    parts: Collection[str] = field(default_factory=frozenset[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """What a genuine answer says, before it is judged.

    Attributes:
        registers: Values that the TPM stands for.
        counter: Value of the floor's counter.
        resets: How often the TPM was reset.
        clock_ms: Time that the TPM was powered, milliseconds.
    """

    registers: Mapping[int, bytes]
    counter: int
    resets: int
    clock_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a device was found to be.

    Attributes:
        standing: How far it is verified.
        release: Which release it started.
        changes: How many changes it made since.
    """

    standing: Standing
    release: Release
    changes: int


def qualifying(nonce: bytes, tls_spki_der: bytes) -> bytes:
    """Return what a quote must carry: it answers this question, over this connection.

    Whoever relays a question to another machine has another TLS key, and so another hash.

    Args:
        nonce: The hub's question, `NONCE_BYTES`.
        tls_spki_der: Public key with which the device's end of the connection is authenticated.
    """
    return hashlib.sha256(nonce + hashlib.sha256(tls_spki_der).digest()).digest()


def verify(evidence: Evidence, *, ak: EccKey, expected: bytes) -> Quoted:
    """Verify that a TPM's key signed this answer to this question.

    Args:
        evidence: The answer.
        ak: Attestation key of the device, known to be in a TPM.
        expected: What `qualifying` gives.

    Raises:
        SignatureInvalid: Another key signed, or what was signed was changed.
        IdentityInvalid: It answers another question or connection, or of another hierarchy.
        ContentMismatch: Statements of two starts, or registers that are not the quoted ones.
        InputError: A structure that is not one of a TPM.
    """
    quote = _signed(evidence.quote, evidence.quote_signature, ak=ak, expected=expected)
    counter = _signed(evidence.counter, evidence.counter_signature, ak=ak, expected=expected)
    if (quote.resets, quote.restarts) != (counter.resets, counter.restarts):
        raise ContentMismatch("the two statements are of two starts")
    pcrs, digest = read_quote(quote)
    values = [evidence.registers.get(pcr, b"") for pcr in pcrs]
    if pcrs != QUOTED or set(evidence.registers) != set(QUOTED):
        raise ContentMismatch(f"a quote is of the registers {', '.join(map(str, QUOTED))}")
    if any(len(value) != DIGEST_BYTES for value in values):
        raise ContentMismatch("the value of a register has 32 bytes")
    if hashlib.sha256(b"".join(values)).digest() != digest:
        raise ContentMismatch("the registers are not those that the TPM quotes")
    return Quoted(
        registers=dict(evidence.registers),
        counter=read_counter(counter),
        resets=quote.resets,
        clock_ms=quote.clock_ms,
    )


def _signed(attest: bytes, signature: bytes, *, ak: EccKey, expected: bytes) -> Stated:
    raw = read_signature(signature)
    try:
        libcrypto.verify(ak.spki_der, raw, attest)
    except SignatureInvalid as error:
        raise SignatureInvalid("not signed by the attestation key of this device") from error
    stated = read_statement(attest)
    if stated.signer != qualified_name(ak):
        raise IdentityInvalid("the key is not a primary key of its TPM")
    if stated.extra != expected:
        raise IdentityInvalid(
            "it answers another question or another connection",
            hint="a relayed or repeated answer looks like this",
        )
    return stated


def judge(
    quoted: Quoted,
    *,
    releases: Sequence[Release],
    secure_boot: bytes,
    floor: int,
    lines: Sequence[Line],
) -> Verdict:
    """Judge a genuine answer.

    Args:
        quoted: What `verify` returned.
        releases: What may run on this model of device.
        secure_boot: Register 7 as it was at commissioning.
        floor: Number of the oldest release that may run.
        lines: The log of changes.

    Raises:
        ContentMismatch: Something started or runs that no release names, Secure Boot is not as
            it was, the release is below the floor, or the log does not explain the register.
    """
    if quoted.registers[PCR_SECURE_BOOT] != secure_boot:
        raise ContentMismatch("Secure Boot is not as it was at commissioning")
    release = _started(quoted, releases)
    if release.number < floor:
        raise ContentMismatch(
            f"{release.name} (release {release.number}) is below the floor {floor}",
            hint="an old image was started; install the present one",
        )
    if replay(lines) != quoted.registers[PCR_RUNTIME]:
        raise ContentMismatch("the log does not explain what was changed since the start")
    return Verdict(
        standing=_standing(release, lines, quoted.registers[PCR_RUNTIME]),
        release=release,
        changes=max(0, len(lines) - 1),
    )


def floor_of(quoted: Quoted, *, base: int) -> int:
    """Return the floor that the TPM keeps.

    Args:
        quoted: What `verify` returned.
        base: Value of the counter that is floor 0, from commissioning.

    Raises:
        ContentMismatch: The counter is below it: not the same TPM.
    """
    if quoted.counter < base:
        raise ContentMismatch("the floor's counter went back: not the same TPM")
    return quoted.counter - base


def _started(quoted: Quoted, releases: Sequence[Release]) -> Release:
    for release in releases:
        stated = release.registers
        if PCR_IMAGE in stated and all(quoted.registers[p] == v for p, v in stated.items()):
            return release
    raise ContentMismatch("what started is no known release of this model")


def _standing(release: Release, lines: Sequence[Line], register: bytes) -> Standing:
    if register == ZERO:
        return Standing.BOOTED
    first, changed = lines[0], lines[1:]
    if first.change is not Change.START:
        raise ContentMismatch("the log does not begin with the start")
    for line in changed:
        if line.change is Change.START:
            raise ContentMismatch("the log begins twice")
        # What came with the image may return: its hash is that of the start.
        known = line.sha256 == first.sha256 or line.sha256 in release.parts
        if line.change is not Change.UNPATCH and not known:
            raise ContentMismatch(
                f"{line.subject} {line.version} runs and is in no release",
                hint="add its hash to the release if it should be",
            )
    return Standing.RUNNING


def check_progress(quoted: Quoted, *, resets: int, clock_ms: int) -> None:
    """Check that a TPM did not go back in time since its last answer.

    Args:
        quoted: What `verify` returned.
        resets: Of the last answer.
        clock_ms: Of the last answer.

    Raises:
        ContentMismatch: It did: its state was copied and put back, or it was cleared.
    """
    # After a power cut the clock may have lost minutes; the count of resets never goes back.
    if (quoted.resets, quoted.clock_ms) < (resets, clock_ms):
        raise ContentMismatch(
            "the TPM went back in time", hint="it was cleared or copied: commission it anew"
        )
