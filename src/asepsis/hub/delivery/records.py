"""How records travel to a consumer: length-prefixed binary, or JSON for people's tools.

Binary (`application/vnd.asepsis.records`), all integers big-endian, one after the other until the
end of the body:

| bytes | what |
|---|---|
| 4 | length of the rest of this record |
| 8 | position in the lane |
| 8 | epoch |
| 8 | sequence |
| 8 | received_at_ns |
| 1 + n | account, UTF-8 with its length |
| 1 + n | producer |
| 1 + n | kind |
| rest | body, as it was received |
"""

import base64
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from asepsis.core.errors import FramingError
from asepsis.core.journal.ports import Append, Record
from asepsis.core.model.lanes import Account, Lane

BINARY: Final = "application/vnd.asepsis.records"
JSON: Final = "application/json"
_LENGTH: Final = struct.Struct(">I")
_NUMBERS: Final = struct.Struct(">QQQQ")


class RecordDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One record in JSON; `body` is Base64 (RFC 4648 section 4)."""

    position: int
    account: str
    producer: str
    epoch: int
    sequence: int
    kind: str
    received_at_ns: int
    body: str


def to_binary(records: Sequence[Record]) -> bytes:
    """Write records one after the other."""
    parts: list[bytes] = []
    for record in records:
        append = record.append
        rest = b"".join(
            (
                _NUMBERS.pack(
                    record.position, append.epoch, append.sequence, append.received_at_ns
                ),
                _text(append.account.value),
                _text(append.producer),
                _text(append.kind),
                append.body,
            )
        )
        parts += (_LENGTH.pack(len(rest)), rest)
    return b"".join(parts)


def from_binary(data: bytes, lane: Lane) -> list[Record]:
    """Read what `to_binary` wrote; consumers and tests use it.

    Raises:
        FramingError: Truncated, or an unknown account.
    """
    records: list[Record] = []
    at = 0
    try:
        while at < len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            if at + length > len(data):
                raise FramingError("truncated record")
            records.append(_record(data[at : at + length], lane))
            at += length
    except (struct.error, IndexError, ValueError) as error:
        raise FramingError("malformed record") from error
    return records


def to_json(records: Sequence[Record]) -> bytes:
    """Write records as `{"records": [...]}`."""
    documents = [
        RecordDocument(
            position=r.position,
            account=r.append.account.value,
            producer=r.append.producer,
            epoch=r.append.epoch,
            sequence=r.append.sequence,
            kind=r.append.kind,
            received_at_ns=r.append.received_at_ns,
            body=base64.b64encode(r.append.body).decode(),
        )
        for r in records
    ]
    return msgspec.json.encode({"records": documents})


def _text(text: str) -> bytes:
    raw = text.encode()
    return bytes([len(raw)]) + raw


def _record(rest: bytes, lane: Lane) -> Record:
    position, epoch, sequence, received_at_ns = _NUMBERS.unpack_from(rest)
    at = _NUMBERS.size
    texts: list[str] = []
    for _ in range(3):
        end = at + 1 + rest[at]
        if end > len(rest):
            raise FramingError("truncated record")
        texts.append(rest[at + 1 : end].decode())
        at = end
    return Record(
        position,
        Append(
            lane=lane,
            account=Account(texts[0]),
            producer=texts[1],
            epoch=epoch,
            sequence=sequence,
            kind=texts[2],
            body=rest[at:],
            received_at_ns=received_at_ns,
        ),
    )
