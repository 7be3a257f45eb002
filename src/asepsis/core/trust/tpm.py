"""Structures of a Trusted Platform Module (TPM 2.0): keys, quotes and certified counters as bytes.

Pure: no TPM is spoken to here. Only what attestation needs is known, and every structure is exact:
a key that is not made from our template, or a statement with one byte too many, is refused.

Source: TCG Trusted Platform Module Library, part 2 (structures), revision 1.59; TCG EK Credential
Profile for TPM 2.0, version 2.5, annex B (template L-2).
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.trust import der

STRUCTURE_BYTES_MAX: Final = 4_096
"""Largest structure or answer of a TPM that is read."""
DIGEST_BYTES: Final = 32
COORDINATE_BYTES: Final = 32
PCRS: Final = 24
"""Platform configuration registers of a PC client TPM."""

ALG_AES: Final = 0x0006
ALG_SHA256: Final = 0x000B
ALG_NULL: Final = 0x0010
ALG_ECDSA: Final = 0x0018
ALG_ECC: Final = 0x0023
ALG_CFB: Final = 0x0043
CURVE_P256: Final = 0x0003
RH_OWNER: Final = 0x40000001
RH_NULL: Final = 0x40000007
RS_PASSWORD: Final = 0x40000009
RH_ENDORSEMENT: Final = 0x4000000B

GENERATED: Final = 0xFF544347
"""First word of everything that a TPM states itself; a restricted key signs nothing else."""
ST_ATTEST_NV: Final = 0x8014
ST_ATTEST_QUOTE: Final = 0x8018

_EK_ATTRIBUTES: Final = 0x000300B2
"""fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt."""
_EK_POLICY: Final = bytes.fromhex(
    "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
)
"""PolicySecret of the endorsement hierarchy, as every EK of template L-2 has it."""
_AK_ATTRIBUTES: Final = 0x00050472
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign."""
NV_FLOOR: Final = 0x01800A50
"""Index of the counter that is the floor, among those that an owner defines."""
NV_FLOOR_BASE: Final = 0x01800A51
"""Index with the value that the floor's counter had when it was made: that value is floor 0."""
NV_EK_CERTIFICATE: Final = 0x01C0000A
"""Index where a maker puts the certificate of a P-256 EK (EK Credential Profile, table 2)."""
NV_COUNTER: Final = 0x02060016
"""ownerWrite, authWrite, counter, ownerRead, authRead, noDA: it only ever grows."""
NV_BLOB: Final = 0x02060006
"""As `NV_COUNTER`, but ordinary bytes."""
NV_ONCE: Final = NV_BLOB | 0x2000
"""As `NV_BLOB`, and locked for good once it is written (writeDefine)."""
NV_WRITTEN: Final = 0x20000000
COUNTER_BYTES: Final = 8

_SPKI_HEAD: Final = der.element(
    der.SEQUENCE,
    der.object_identifier("1.2.840.10045.2.1"),
    der.object_identifier("1.2.840.10045.3.1.7"),
)


class TpmReader:
    """A cursor over one structure; big-endian, as TPMs write.

    Args:
        data: The bytes, at most `STRUCTURE_BYTES_MAX`.

    Raises:
        LimitExceeded: More bytes than that.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) > STRUCTURE_BYTES_MAX:
            raise LimitExceeded(f"a structure of {len(data)} bytes, the limit is 4 096")
        self._data = data
        self._at = 0

    def number(self, size: int) -> int:
        """Return the next integer of `size` bytes.

        Raises:
            FramingError: Too few bytes.
        """
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            FramingError: Too few bytes.
        """
        end = self._at + size
        if end > len(self._data):
            raise FramingError("a structure of the TPM is cut off")
        found = self._data[self._at : end]
        self._at = end
        return found

    def sized(self) -> bytes:
        """Return the next TPM2B: two bytes of length, then as many bytes.

        Raises:
            FramingError: Too few bytes.
        """
        return self.take(self.number(2))

    def rest(self) -> bytes:
        """Return everything that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            FramingError: Trailing bytes.
        """
        if self._at != len(self._data):
            raise FramingError("bytes after the end of a structure of the TPM")


def sized(*contents: bytes) -> bytes:
    """Write a TPM2B around its contents (part 2 clause 10.4)."""
    content = b"".join(contents)
    return struct.pack(">H", len(content)) + content


@dataclass(frozen=True, slots=True)
class EccKey:
    """A public key of a TPM, on P-256.

    Attributes:
        public: TPMT_PUBLIC, as the TPM wrote it.
        x: Coordinate, 32 bytes.
        y: Coordinate, 32 bytes.
    """

    public: bytes
    x: bytes
    y: bytes

    @property
    def name(self) -> bytes:
        """Name of the key: its hash algorithm and hash of its public area (part 1 clause 16)."""
        return name_of(self.public)

    @property
    def spki_der(self) -> bytes:
        """SubjectPublicKeyInfo, DER (RFC 5480 section 2)."""
        point = b"\0\x04" + self.x + self.y
        return der.element(der.SEQUENCE, _SPKI_HEAD, der.element(der.BIT_STRING, point))


def name_of(public: bytes) -> bytes:
    """Return the name of an object or index from its public area, 34 bytes."""
    return struct.pack(">H", ALG_SHA256) + hashlib.sha256(public).digest()


def ak_template(x: bytes = b"", y: bytes = b"") -> bytes:
    """Return the public area of an attestation key (AK): restricted, signs with ES256."""
    return b"".join(
        (
            struct.pack(">HHI", ALG_ECC, ALG_SHA256, _AK_ATTRIBUTES),
            sized(),
            struct.pack(">H", ALG_NULL),
            struct.pack(">HH", ALG_ECDSA, ALG_SHA256),
            struct.pack(">HH", CURVE_P256, ALG_NULL),
            sized(x),
            sized(y),
        )
    )


def ek_template(x: bytes = bytes(32), y: bytes = bytes(32)) -> bytes:
    """Return the public area of an endorsement key (EK), template L-2: decrypts, P-256.

    Source: TCG EK Credential Profile 2.5, annex B.3.4.
    """
    return b"".join(
        (
            struct.pack(">HHI", ALG_ECC, ALG_SHA256, _EK_ATTRIBUTES),
            sized(_EK_POLICY),
            struct.pack(">HHH", ALG_AES, 128, ALG_CFB),
            struct.pack(">H", ALG_NULL),
            struct.pack(">HH", CURVE_P256, ALG_NULL),
            sized(x),
            sized(y),
        )
    )


def read_ak(public: bytes) -> EccKey:
    """Read an attestation key; anything but our template is refused.

    A key that could sign what a TPM did not state itself, leave its TPM or be brought in from
    outside has other attributes, hence other bytes.

    Raises:
        InputError: Another kind of key.
        FramingError: Not a public area.
    """
    x, y = _point(public)
    if public != ak_template(x, y):
        raise InputError("not an attestation key: it must be restricted and made in its TPM")
    return EccKey(public, x, y)


def read_ek(public: bytes) -> EccKey:
    """Read an endorsement key of template L-2.

    Raises:
        InputError: Another kind of key.
        FramingError: Not a public area.
    """
    x, y = _point(public)
    if public != ek_template(x, y):
        raise InputError("not an endorsement key of the P-256 template")
    return EccKey(public, x, y)


def _point(public: bytes) -> tuple[bytes, bytes]:
    tail = 2 * (2 + COORDINATE_BYTES)
    if len(public) <= tail:
        raise FramingError("a public area of the TPM is cut off")
    reader = TpmReader(public[-tail:])
    x, y = reader.sized(), reader.sized()
    reader.end()
    if len(x) != COORDINATE_BYTES:
        raise FramingError("a coordinate on P-256 has 32 bytes")
    return x, y


def qualified_name(key: EccKey, *, hierarchy: int = RH_ENDORSEMENT) -> bytes:
    """Return the qualified name of a primary key of a hierarchy (part 1 clause 16)."""
    digest = hashlib.sha256(struct.pack(">I", hierarchy) + key.name).digest()
    return struct.pack(">H", ALG_SHA256) + digest


def selection(pcrs: Iterable[int]) -> bytes:
    """Write a selection of registers of the SHA-256 bank (TPML_PCR_SELECTION).

    Raises:
        InputError: A number outside of 0 to 23.
    """
    bits = 0
    for pcr in pcrs:
        if not 0 <= pcr < PCRS:
            raise InputError(f"there is no register {pcr}")
        bits |= 1 << pcr
    return struct.pack(">IHB", 1, ALG_SHA256, 3) + bits.to_bytes(3, "little")


def read_selection(reader: TpmReader) -> tuple[int, ...]:
    """Read what `selection` writes.

    Raises:
        InputError: Another bank, or several.
        FramingError: Cut off.
    """
    if (reader.number(4), reader.number(2), reader.number(1)) != (1, ALG_SHA256, 3):
        raise InputError("a quote is of the SHA-256 bank, and of it alone")
    bits = int.from_bytes(reader.take(3), "little")
    return tuple(pcr for pcr in range(PCRS) if bits >> pcr & 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a TPM says in every statement (TPMS_ATTEST).

    Attributes:
        kind: What is stated: `ST_ATTEST_QUOTE` or `ST_ATTEST_NV`.
        signer: Qualified name of the key.
        extra: What the asker gave, to know the answer by.
        clock_ms: Time that the TPM was powered, milliseconds; grows until the TPM is cleared.
        resets: How often it was reset; grows until the TPM is cleared.
        restarts: How often it resumed since.
        firmware: Version of its firmware.
        body: What follows.
    """

    kind: int
    signer: bytes
    extra: bytes
    clock_ms: int
    resets: int
    restarts: int
    firmware: int
    body: bytes


def read_statement(attest: bytes) -> Stated:
    """Read a statement; says nothing about who signed it.

    Raises:
        InputError: It was not made by a TPM, or the TPM does not trust its own clock yet.
        FramingError: Cut off.

    Source: part 2 clause 10.12.8.
    """
    reader = TpmReader(attest)
    if reader.number(4) != GENERATED:
        raise InputError("not a statement of a TPM")
    kind, signer, extra = reader.number(2), reader.sized(), reader.sized()
    clock_ms, resets, restarts = reader.number(8), reader.number(4), reader.number(4)
    reader.take(1)  # Whether the clock is safe: it is compared loosely, and a new TPM says no.
    return Stated(
        kind=kind,
        signer=signer,
        extra=extra,
        clock_ms=clock_ms,
        resets=resets,
        restarts=restarts,
        firmware=reader.number(8),
        body=reader.rest(),
    )


def read_quote(stated: Stated) -> tuple[tuple[int, ...], bytes]:
    """Return which registers a quote is of, and the hash over their values.

    Raises:
        InputError: Not a quote of the SHA-256 bank.
        FramingError: Cut off.

    Source: part 2 clause 10.12.1, TPMS_QUOTE_INFO.
    """
    if stated.kind != ST_ATTEST_QUOTE:
        raise InputError("not a quote")
    reader = TpmReader(stated.body)
    pcrs, digest = read_selection(reader), reader.sized()
    reader.end()
    return pcrs, digest


def read_counter(stated: Stated) -> int:
    """Return the value of the floor's counter from a statement about it.

    Raises:
        InputError: About another index, or one with other attributes: an index that could be
            lowered has another name.
        FramingError: Cut off.

    Source: part 2 clause 10.12.7, TPMS_NV_CERTIFY_INFO.
    """
    if stated.kind != ST_ATTEST_NV:
        raise InputError("not a statement about an index")
    reader = TpmReader(stated.body)
    name, offset, value = reader.sized(), reader.number(2), reader.sized()
    reader.end()
    if name != name_of(nv_public(NV_FLOOR, NV_COUNTER | NV_WRITTEN, COUNTER_BYTES)) or offset:
        raise InputError("not a statement about the floor's counter")
    if len(value) != COUNTER_BYTES:
        raise FramingError("a counter has 8 bytes")
    return int.from_bytes(value, "big")


def nv_public(index: int, attributes: int, size: int) -> bytes:
    """Write the public area of an index (TPMS_NV_PUBLIC, part 2 clause 13.5)."""
    head = struct.pack(">IHI", index, ALG_SHA256, attributes)
    return head + sized() + struct.pack(">H", size)


def read_signature(signature: bytes) -> bytes:
    """Return r and s, 32 bytes each, of a TPMT_SIGNATURE.

    Raises:
        InputError: Not ECDSA with SHA-256, or a part longer than 32 bytes.
        FramingError: Cut off.
    """
    reader = TpmReader(signature)
    if (reader.number(2), reader.number(2)) != (ALG_ECDSA, ALG_SHA256):
        raise InputError("a quote is signed with ECDSA and SHA-256")
    parts = reader.sized(), reader.sized()
    reader.end()
    if any(len(part) > COORDINATE_BYTES for part in parts):
        raise InputError("a part of a signature on P-256 has at most 32 bytes")
    return b"".join(part.rjust(COORDINATE_BYTES, b"\0") for part in parts)


def extend(value: bytes, digest: bytes) -> bytes:
    """Return a register's value after an extension (part 1 clause 17.3)."""
    return hashlib.sha256(value + digest).digest()
