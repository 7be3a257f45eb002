"""What an archive answers over DICOMweb: which instances it stored, and whether it has the bytes.

Source: DICOM PS3.18 section 10.5.3 and annex I.2 (store instances response); PS3.10 section 7.1.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

import msgspec

from asepsis.core.errors import FramingError, LimitExceeded

ANSWER_BYTES_MAX: Final = 4 << 20
"""Of a store instances response; a few hundred instances take less than 200 KB."""
META_BYTES_MAX: Final = 65_536
_STORED: Final = "00081199"
_FAILED: Final = "00081198"
_INSTANCE: Final = "00081155"
_REASON: Final = "00081197"
_PREFIX_BYTES: Final = 144
"""Preamble, `DICM` and the element that gives the length of the file meta information."""
_GROUP_LENGTH: Final = b"\x02\x00\x00\x00UL\x04\x00"
_ONE: Final = msgspec.json.Decoder(dict[str, Any])
_LIST: Final = msgspec.json.Decoder(Annotated[list[dict[str, Any]], msgspec.Meta(max_length=1_000)])


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What became of the instances of a store request.

    Attributes:
        stored: SOP Instance UIDs that the archive lists as stored.
        failed: SOP Instance UID -> Failure Reason of those that it lists as not stored.
    """

    stored: frozenset[str]
    failed: Mapping[str, int]


def read_store_answer(body: bytes) -> StoreAnswer:
    """Read a store instances response; what it lists twice, once as failed, has failed.

    Args:
        body: DICOM JSON, at most `ANSWER_BYTES_MAX`.

    Raises:
        LimitExceeded: Too long.
        FramingError: No DICOM JSON.
    """
    failed: dict[str, int] = {}
    stored: set[str] = set()
    for part in _documents(body):
        for item in _values(part, _FAILED):
            failed[_uid(item)] = _number(item)
        stored.update(_uid(item) for item in _values(part, _STORED))
    failed.pop("", None)
    return StoreAnswer(frozenset(stored - failed.keys() - {""}), failed)


def lists_instance(body: bytes, instance: str) -> bool:
    """Say whether the answer to a search lists an instance.

    Args:
        body: DICOM JSON; empty for an answer 204.
        instance: SOP Instance UID.

    Raises:
        LimitExceeded: Too long.
        FramingError: No DICOM JSON.
    """
    if not body:
        return False
    return any(instance in _values(part, "00080018") for part in _documents(body))


class DataSetDigest:
    """SHA-256 of the data set of a DICOM file, whatever its file meta information says.

    An archive writes file meta information of its own; the data set behind it must be what was
    sent, bit for bit. Holds at most the first 144 bytes.

    Source: DICOM PS3.10 section 7.1: (0002,0000) gives where the data set begins.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._skip = -1
        self._hash = hashlib.sha256()
        self.byte_count = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file.

        Raises:
            FramingError: No DICOM file, or file meta information of an impossible length.
        """
        if self._skip < 0:
            self._head += data
            if len(self._head) < _PREFIX_BYTES:
                return
            self._skip = _meta_length(self._head)
            data = bytes(self._head[_PREFIX_BYTES:])
        if self._skip:
            passed = min(self._skip, len(data))
            self._skip -= passed
            data = data[passed:]
        self._hash.update(data)
        self.byte_count += len(data)

    def digest(self) -> bytes:
        """Return the digest once the file has ended.

        Raises:
            FramingError: It ended before its data set began.
        """
        if self._skip:
            raise FramingError("a DICOM file ends before its data set")
        return self._hash.digest()


def _meta_length(head: bytes | bytearray) -> int:
    if head[128:132] != b"DICM" or head[132:140] != _GROUP_LENGTH:
        raise FramingError("no DICOM file")
    length = int.from_bytes(head[140:144], "little")
    if length > META_BYTES_MAX:
        raise FramingError("file meta information of an impossible length")
    return length


def _documents(body: bytes) -> list[dict[str, Any]]:
    if len(body) > ANSWER_BYTES_MAX:
        raise LimitExceeded("the answer of the archive is too long")
    try:
        if body.lstrip()[:1] == b"[":
            return _LIST.decode(body)
        return [_ONE.decode(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FramingError("the archive answers no DICOM JSON") from error


def _values(document: object, tag: str) -> list[Any]:
    if not isinstance(document, dict):
        return []
    element = cast("dict[str, object]", document).get(tag)
    values = cast("dict[str, object]", element).get("Value") if isinstance(element, dict) else None
    return cast("list[Any]", values) if isinstance(values, list) else []


def _uid(item: object) -> str:
    values = _values(item, _INSTANCE)
    return values[0] if values and isinstance(values[0], str) else ""


def _number(item: object) -> int:
    values = _values(item, _REASON)
    return values[0] if values and isinstance(values[0], int) else 0
