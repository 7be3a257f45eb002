"""The offline bundle as a file, the date it is judged by, and the receipt that comes back.

A bundle is a container of files and nothing more: what is in it is believed for its signatures,
never for having been in the bundle. Layout: `ASPB0001`, length of the index (4 bytes, big-endian),
the index as JSON, then the files one after the other in its order.

Pure, standard library only: devices read bundles.

Source: docs/reference/bundle.md.
"""

import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, cast

from asepsis.core.errors import (
    FramingError,
    LimitExceeded,
    NotFound,
    SafetyRefusal,
    TrustError,
)
from asepsis.core.trust import libcrypto

MAGIC: Final = b"ASPB0001"
INDEX_BYTES_MAX: Final = 4 << 20
FILES_MAX: Final = 8_192
FILE_BYTES_MAX: Final = 4 << 30
NAME: Final = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[0-9A-Za-z%._+~@-]+(?:/[0-9A-Za-z%._+~@-]+)*")
NAME_CHARS_MAX: Final = 300
DIRECTOR: Final = "director"
"""Files that every device of the bundle reads: roots of the offline role, authorisations."""
RECEIPT_MAGIC: Final = b"ABR1"
RECEIPT_BYTES_MAX: Final = 8_192
RELEASES_MAX: Final = 64
_HEAD: Final = struct.Struct(">8sI")
_RECEIPT: Final = struct.Struct(">4s32sQQB")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle.

    Attributes:
        name: Path within it, with slashes.
        length: Bytes.
        sha256: Hexadecimal; tells damage, not forgery.
    """

    name: str
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Index:
    """What a bundle holds.

    Attributes:
        members: In the order of their bytes.
        begin: Where the first of them begins in the file.
        digest: SHA-256 of the index: the bundle's name.
    """

    members: tuple[Member, ...]
    begin: int
    digest: bytes

    def place(self, name: str) -> tuple[int, int]:
        """Return offset and length of a file.

        Raises:
            NotFound: The bundle does not hold it.
        """
        at = self.begin
        for member in self.members:
            if member.name == name:
                return at, member.length
            at += member.length
        raise NotFound("the bundle holds no such file")


def device_folder(device: str) -> str:
    """Return the folder of what is for one device only; its name stays out of file names."""
    return "devices/" + hashlib.sha256(device.encode()).hexdigest()[:32]


def index_of(members: Sequence[Member]) -> bytes:
    """Return the head of a bundle with these files.

    Raises:
        LimitExceeded: Too many files.
        FramingError: A name that no bundle may hold, or one twice.
    """
    _check(members)
    document = {
        "format": 1,
        "files": [{"name": m.name, "length": m.length, "sha256": m.sha256} for m in members],
    }
    index = json.dumps(document, separators=(",", ":")).encode("ascii")
    if len(index) > INDEX_BYTES_MAX:
        raise LimitExceeded("the index of the bundle is too long")
    return _HEAD.pack(MAGIC, len(index)) + index


def read_index(file: IO[bytes]) -> Index:
    """Read the head of a bundle that somebody brought.

    Args:
        file: Seekable, at its begin.

    Raises:
        FramingError: Not a bundle, cut, or with something behind it.
        LimitExceeded: Over a limit.
    """
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(MAGIC):
        raise FramingError("not a bundle")
    length = _HEAD.unpack(head)[1]
    if length > INDEX_BYTES_MAX:
        raise LimitExceeded("the index of the bundle is too long")
    index = file.read(length)
    try:
        document = cast("Mapping[str, Any]", json.loads(index))
        members = tuple(_member(found) for found in document["files"][: FILES_MAX + 1])
        known = set(document) == {"format", "files"} and document["format"] == 1
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FramingError("the index of the bundle is damaged") from error
    if not known:
        raise FramingError("the bundle has a format that is not known here")
    _check(members)
    begin = _HEAD.size + length
    if file.seek(0, 2) != begin + sum(member.length for member in members):
        raise FramingError("the bundle is cut, or holds more than it says")
    return Index(members, begin, hashlib.sha256(index).digest())


def moment(
    *, trusted_s: int | None, confirmed_s: int | None, floor_s: int, prepared_s: int, ends_s: int
) -> int:
    """Return the time by which a bundle is judged, seconds since 1970, or refuse.

    Args:
        trusted_s: Trusted time since this boot; None for none.
        confirmed_s: What a person at the device confirmed as today; None if nobody did.
        floor_s: Latest time that this device ever trusted; time never lies before it.
        prepared_s: When the bundle says it was made; shown to the person.
        ends_s: When it says it ends.

    Raises:
        SafetyRefusal: There is no trusted time: a person has to confirm the date.
        TrustError: The time lies before what this device trusted once, or outside the bundle's.
    """
    now_s = trusted_s if trusted_s is not None else confirmed_s
    if now_s is None:
        raise SafetyRefusal(
            "this device has no trusted time since it started",
            hint="a person at the device confirms the date that it shows",
        )
    if now_s < floor_s:
        raise TrustError("the clock is before a time that this device trusted once")
    if now_s < prepared_s:
        raise TrustError("the bundle was prepared after the present time")
    if now_s >= ends_s:
        raise TrustError("the bundle has expired")
    return now_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a device says of a bundle, signed by its origin key.

    Attributes:
        bundle: SHA-256 of its index, 32 bytes.
        device: Who says it.
        counter: The bundle's number for this device.
        at_ns: By the device's time, nanoseconds since 1970.
        taken: Whether it was taken; else it was refused.
        releases: SHA-256 of what may be installed now, 32 bytes each; at most `RELEASES_MAX`.
        reason: Why it was refused, for people; at most 255 bytes of UTF-8.
    """

    bundle: bytes
    device: str
    counter: int
    at_ns: int
    taken: bool
    releases: tuple[bytes, ...] = ()
    reason: str = ""


def receipt_statement(receipt: Receipt) -> bytes:
    """Return the bytes that are signed.

    Layout: `ABR1`, bundle (32), counter (8), nanoseconds (8), taken (1); then with one byte of
    length in front: device, reason; then the number of releases (1) and their hashes (32 each).

    Raises:
        LimitExceeded: Names or lists that are too long.
    """
    names = [receipt.device.encode(), receipt.reason.encode()]
    if max(map(len, names)) > 0xFF or len(receipt.releases) > RELEASES_MAX:
        raise LimitExceeded("a receipt is too long")
    return b"".join(
        (
            _RECEIPT.pack(
                RECEIPT_MAGIC, receipt.bundle, receipt.counter, receipt.at_ns, receipt.taken
            ),
            *(bytes([len(name)]) + name for name in names),
            bytes([len(receipt.releases)]),
            *receipt.releases,
        )
    )


def sign_receipt(receipt: Receipt, key: libcrypto.PrivateKey) -> bytes:
    """Return a receipt with its signature (ES256, the last 64 bytes).

    Raises:
        LimitExceeded: As `receipt_statement`.
    """
    statement = receipt_statement(receipt)
    return statement + key.sign(statement)


def read_receipt(content: bytes, *, spki_der: bytes) -> Receipt:
    """Verify a receipt and read it.

    Args:
        content: As it came back.
        spki_der: The device's origin key; the caller looked it up by the device that it expects.

    Raises:
        SignatureInvalid: Not signed by this key.
        FramingError: Not a receipt.
        LimitExceeded: Too long.
    """
    if len(content) > RECEIPT_BYTES_MAX:
        raise LimitExceeded(f"a receipt has at most {RECEIPT_BYTES_MAX} bytes")
    receipt = peek_receipt(content)
    statement = content[: -libcrypto.SIGNATURE_BYTES]
    libcrypto.verify(spki_der, content[-libcrypto.SIGNATURE_BYTES :], statement)
    return receipt


def peek_receipt(content: bytes) -> Receipt:
    """Read a receipt without judging its signature: to learn whose key is to be looked up.

    Raises:
        FramingError: Not a receipt.
    """
    statement = content[: -libcrypto.SIGNATURE_BYTES]
    try:
        magic, bundle, counter, at_ns, taken = _RECEIPT.unpack_from(statement)
        device, at = _sized(statement, _RECEIPT.size)
        reason, at = _sized(statement, at)
        count, rest = statement[at], statement[at + 1 :]
        found = Receipt(
            bundle=bundle,
            device=device.decode(),
            counter=counter,
            at_ns=at_ns,
            taken=bool(taken),
            releases=tuple(rest[n * 32 : n * 32 + 32] for n in range(count)),
            reason=reason.decode(),
        )
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise FramingError("not a receipt of a bundle") from error
    if magic != RECEIPT_MAGIC or taken > 1 or count > RELEASES_MAX or len(rest) != count * 32:
        raise FramingError("not a receipt of a bundle")
    return found


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + data[at]
    if end > len(data):
        raise IndexError("cut")
    return data[at + 1 : end], end


def _member(found: Mapping[str, Any]) -> Member:
    name, length, sha256 = found["name"], found["length"], found["sha256"]
    if type(length) is not int or not isinstance(name, str) or not isinstance(sha256, str):
        raise ValueError("not a file of a bundle")
    return Member(name, length, sha256)


def _check(members: Sequence[Member]) -> None:
    if len(members) > FILES_MAX:
        raise LimitExceeded(f"a bundle holds {FILES_MAX} files at most")
    if len({member.name for member in members}) != len(members):
        raise FramingError("a bundle holds a file twice")
    for member in members:
        if len(member.name) > NAME_CHARS_MAX or not NAME.fullmatch(member.name):
            raise FramingError("a file of a bundle has a strange name")
        if not 0 <= member.length <= FILE_BYTES_MAX:
            raise LimitExceeded("a file of a bundle is too long")
