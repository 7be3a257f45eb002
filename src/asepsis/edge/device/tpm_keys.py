"""What a device asks of its TPM: its keys, its registers, quotes, and the floor.

Every key is a primary key of the endorsement hierarchy: the same template gives the same key in
the same TPM, always, so nothing is stored, and clearing the owner does not change it.

Source: TCG Trusted Platform Module Library, part 3 (commands), revision 1.59.
"""

import contextlib
import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import Conflict, ContentMismatch, InputError, NotFound
from asepsis.core.trust.tpm import (
    ALG_NULL,
    ALG_SHA256,
    COUNTER_BYTES,
    NV_BLOB,
    NV_COUNTER,
    NV_EK_CERTIFICATE,
    NV_FLOOR,
    NV_FLOOR_BASE,
    NV_ONCE,
    RH_ENDORSEMENT,
    RH_NULL,
    RH_OWNER,
    EccKey,
    TpmReader,
    ak_template,
    ek_template,
    nv_public,
    read_ak,
    read_ek,
    selection,
    sized,
)
from asepsis.edge.device.tpm import Tpm, empty_sensitive, password

_NV_DEFINE: Final = 0x12A
_CREATE_PRIMARY: Final = 0x131
_NV_INCREMENT: Final = 0x134
_NV_WRITE: Final = 0x137
_ACTIVATE: Final = 0x147
_NV_WRITE_LOCK: Final = 0x138
_NV_READ: Final = 0x14E
_POLICY_SECRET: Final = 0x151
_QUOTE: Final = 0x158
_FLUSH: Final = 0x165
_NV_READ_PUBLIC: Final = 0x169
_START_SESSION: Final = 0x176
_PCR_READ: Final = 0x17E
_PCR_EXTEND: Final = 0x182
_NV_CERTIFY: Final = 0x184
_POLICY_SESSION: Final = 1
NV_CHUNK: Final = 512
CERTIFICATE_BYTES_MAX: Final = 4_096
FLOOR_RAISE_MAX: Final = 10_000
"""Most steps that a floor is raised by at once; each is a write to the TPM's memory."""
PCRS_PER_READ: Final = 8


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A key in the TPM while it is used.

    Attributes:
        handle: Its handle.
        public: TPMT_PUBLIC.
    """

    handle: int
    public: bytes


@contextlib.contextmanager
def _primary(tpm: Tpm, template: bytes) -> Generator[LoadedKey]:
    parameters = empty_sensitive() + sized(template) + sized() + struct.pack(">I", 0)
    (handle,), answer = tpm.run(
        _CREATE_PRIMARY,
        handles=(RH_ENDORSEMENT,),
        parameters=parameters,
        sessions=password(RH_ENDORSEMENT),
        returned=1,
    )
    try:
        yield LoadedKey(handle, answer.sized())
    finally:
        tpm.run(_FLUSH, parameters=struct.pack(">I", handle))


@contextlib.contextmanager
def attestation_key(tpm: Tpm) -> Generator[LoadedKey]:
    """Load the attestation key.

    Raises:
        InputError: The TPM refuses.

    Resource handling: the TPM forgets the key at the end.
    """
    with _primary(tpm, ak_template()) as key:
        yield key


def keys(tpm: Tpm) -> tuple[EccKey, EccKey]:
    """Return the endorsement key and the attestation key.

    Raises:
        InputError: The TPM makes no P-256 keys.
    """
    with _primary(tpm, ek_template()) as ek, attestation_key(tpm) as ak:
        return read_ek(ek.public), read_ak(ak.public)


def activate(tpm: Tpm, *, credential: bytes, secret: bytes) -> bytes:
    """Open what was sealed to this TPM for this attestation key.

    The endorsement key opens it only if the attestation key is in the same TPM and has the name
    that it was sealed for.

    Args:
        tpm: The TPM.
        credential: TPMS_ID_OBJECT, without its outer length.
        secret: TPMS_ECC_POINT of the sealer, without its outer length.

    Raises:
        InputError: It was not sealed for this TPM and key.

    Source: part 3 clause 12.5; part 1 clause 24.
    """
    with _primary(tpm, ek_template()) as ek, attestation_key(tpm) as ak:
        parameters = struct.pack(">II", RH_NULL, RH_NULL) + sized(bytes(16)) + sized()
        parameters += struct.pack(">BHH", _POLICY_SESSION, ALG_NULL, ALG_SHA256)
        (session,), _ = tpm.run(_START_SESSION, parameters=parameters, returned=1)
        # The session must be the second handle without authorisation: sessions are handles too.
        tpm.run(
            _POLICY_SECRET,
            handles=(RH_ENDORSEMENT, session),
            parameters=sized() + sized() + sized() + struct.pack(">i", 0),
            sessions=password(RH_ENDORSEMENT),
        )
        _, answer = tpm.run(
            _ACTIVATE,
            handles=(ak.handle, ek.handle),
            parameters=sized(credential) + sized(secret),
            sessions=(*password(ak.handle), session),
        )
        return answer.sized()


def quote(tpm: Tpm, key: LoadedKey, *, pcrs: tuple[int, ...], extra: bytes) -> tuple[bytes, bytes]:
    """Return a statement about registers, and its signature.

    Raises:
        InputError: The TPM refuses.

    Source: part 3 clause 18.4.
    """
    _, answer = tpm.run(
        _QUOTE,
        handles=(key.handle,),
        parameters=sized(extra) + struct.pack(">H", ALG_NULL) + selection(pcrs),
        sessions=password(key.handle),
    )
    return answer.sized(), answer.rest()


def read_pcrs(tpm: Tpm, pcrs: tuple[int, ...]) -> dict[int, bytes]:
    """Return values of registers, at most eight at a time.

    Raises:
        InputError: The TPM refuses.
        ContentMismatch: It has no SHA-256 bank.

    Source: part 3 clause 22.4.
    """
    _, answer = tpm.run(_PCR_READ, parameters=selection(pcrs[:PCRS_PER_READ]))
    answer.take(4)  # Counts updates.
    if answer.take(10) != selection(pcrs):
        raise ContentMismatch("the TPM does not keep these registers with SHA-256")
    answer.number(4)
    return {pcr: answer.sized() for pcr in pcrs}


def extend_pcr(tpm: Tpm, pcr: int, digest: bytes) -> None:
    """Extend a register of the SHA-256 bank.

    Raises:
        InputError: The TPM refuses.

    Source: part 3 clause 22.2.
    """
    parameters = struct.pack(">IH", 1, ALG_SHA256) + digest
    tpm.run(_PCR_EXTEND, handles=(pcr,), parameters=parameters, sessions=password(pcr))


def certify_floor(tpm: Tpm, key: LoadedKey, *, extra: bytes) -> tuple[bytes, bytes]:
    """Return a statement about the floor's counter, and its signature.

    Raises:
        InputError: There is no counter yet, or the TPM refuses.

    Source: part 3 clause 31.16.
    """
    parameters = sized(extra) + struct.pack(">HHH", ALG_NULL, COUNTER_BYTES, 0)
    _, answer = tpm.run(
        _NV_CERTIFY,
        handles=(key.handle, NV_FLOOR, NV_FLOOR),
        parameters=parameters,
        sessions=password(key.handle, NV_FLOOR),
    )
    return answer.sized(), answer.rest()


def read_floor(tpm: Tpm) -> int | None:
    """Return the value of the floor's counter; None where there is none.

    Raises:
        InputError: The TPM refuses.
    """
    try:
        raw = _nv_read(tpm, NV_FLOOR, COUNTER_BYTES, 0)
    except NotFound:
        return None
    return int.from_bytes(raw, "big")


def make_floor(tpm: Tpm) -> int:
    """Make the floor's counter if there is none; return its value.

    A counter cannot be lowered: made anew it starts above every counter that this TPM ever had.

    Raises:
        InputError: The TPM refuses.
    """
    present = read_floor(tpm)
    if present is not None:
        _keep_base(tpm, present)
        return present
    # A counter that was defined and never counted is there, and is not to be read.
    with contextlib.suppress(Conflict):
        _nv_define(tpm, NV_FLOOR, NV_COUNTER, COUNTER_BYTES)
    _increment(tpm)
    made = read_floor(tpm)
    if made is None:
        raise InputError("the TPM has no counter for the floor")
    _keep_base(tpm, made)
    return made


def floor_base(tpm: Tpm) -> int | None:
    """Return the counter's value that is floor 0 on this device; None where there is no floor.

    Raises:
        InputError: The TPM refuses.
    """
    try:
        return int.from_bytes(_nv_read(tpm, NV_FLOOR_BASE, COUNTER_BYTES, 0), "big")
    except NotFound:
        return None


def floor_number(tpm: Tpm) -> int:
    """Return the number of the oldest image that this device starts; 0 for every one.

    Raises:
        InputError: The TPM refuses.
    """
    present, base = read_floor(tpm), floor_base(tpm)
    return 0 if present is None or base is None else max(0, present - base)


def _keep_base(tpm: Tpm, counter: int) -> None:
    """Keep what is floor 0, once and for good."""
    if floor_base(tpm) is not None:
        return
    with contextlib.suppress(Conflict):  # Cut short between making and writing.
        _nv_define(tpm, NV_FLOOR_BASE, NV_ONCE, COUNTER_BYTES)
    _nv_write(tpm, NV_FLOOR_BASE, counter.to_bytes(COUNTER_BYTES, "big"), 0)
    tpm.run(_NV_WRITE_LOCK, handles=(NV_FLOOR_BASE,) * 2, sessions=password(NV_FLOOR_BASE))


def raise_floor(tpm: Tpm, value: int) -> int:
    """Raise the counter to a value; returns what it is then. A lower value changes nothing.

    Raises:
        InputError: The TPM refuses, or more than `FLOOR_RAISE_MAX` steps.
    """
    present = make_floor(tpm)
    if value - present > FLOOR_RAISE_MAX:
        raise InputError(f"a floor is raised by at most {FLOOR_RAISE_MAX} at once")
    for _ in range(value - present):
        _increment(tpm)
    return max(present, value)


def _increment(tpm: Tpm) -> None:
    tpm.run(_NV_INCREMENT, handles=(NV_FLOOR, NV_FLOOR), sessions=password(NV_FLOOR))


def ek_certificate(tpm: Tpm) -> bytes:
    """Return the certificate that the TPM's maker gave it, DER.

    Raises:
        NotFound: It has none; then a person records the key.
        InputError: The TPM refuses.
    """
    try:
        _, answer = tpm.run(_NV_READ_PUBLIC, handles=(NV_EK_CERTIFICATE,))
    except NotFound as error:
        raise NotFound(
            "this TPM has no certificate of its maker",
            hint="have its key recorded by a person: asepsis devices attestation open --ek",
        ) from error
    public = TpmReader(answer.sized())
    public.take(10)
    public.sized()
    size = public.number(2)
    if size > CERTIFICATE_BYTES_MAX:
        raise InputError("the certificate of the TPM is too long")
    parts = range(0, size, NV_CHUNK)
    raw = b"".join(_nv_read(tpm, NV_EK_CERTIFICATE, min(NV_CHUNK, size - at), at) for at in parts)
    return _trimmed(raw)


def _trimmed(raw: bytes) -> bytes:
    """Return the certificate without what pads the index behind it."""
    if raw[:2] != b"\x30\x82":  # A sequence of 256 to 65 535 bytes, as every certificate is.
        raise InputError("what the TPM keeps as its certificate is none")
    return raw[: int.from_bytes(raw[2:4], "big") + 4]


def put_ek_certificate(tpm: Tpm, certificate_der: bytes) -> None:
    """Put a certificate where makers put it; for software TPMs, which come without one.

    Raises:
        InputError: There is one already, or the TPM refuses.
    """
    _nv_define(tpm, NV_EK_CERTIFICATE, NV_BLOB, len(certificate_der))
    for at in range(0, len(certificate_der), NV_CHUNK):
        chunk = certificate_der[at : at + NV_CHUNK]
        _nv_write(tpm, NV_EK_CERTIFICATE, chunk, at)


def _nv_define(tpm: Tpm, index: int, attributes: int, size: int) -> None:
    tpm.run(
        _NV_DEFINE,
        handles=(RH_OWNER,),
        parameters=sized() + sized(nv_public(index, attributes, size)),
        sessions=password(RH_OWNER),
    )


def _nv_write(tpm: Tpm, index: int, content: bytes, at: int) -> None:
    tpm.run(
        _NV_WRITE,
        handles=(index, index),
        parameters=sized(content) + struct.pack(">H", at),
        sessions=password(index),
    )


def _nv_read(tpm: Tpm, index: int, size: int, at: int) -> bytes:
    _, answer = tpm.run(
        _NV_READ,
        handles=(index, index),
        parameters=struct.pack(">HH", size, at),
        sessions=password(index),
    )
    return answer.sized()
