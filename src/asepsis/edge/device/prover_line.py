"""The two lines between whoever talks to the hub and whoever has the TPM.

Questions are of fixed form, because the compartment that asks them is expected to be broken into:

    kind u8 | number u32 | what belongs to the kind

An answer is a JSON object in pieces, because a long log does not go in one message:

    number u32 | piece u16 | pieces u16 | bytes

Whoever asks drops every piece of an answer to another question.
"""

import json
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, cast

from asepsis.core.errors import AsepsisError, FramingError, InputError, LimitExceeded, Unavailable
from asepsis.core.trust.attestation import NONCE_BYTES
from asepsis.edge.device.proving import Prover

MESSAGE_BYTES_MAX: Final = 4_096
PIECE_BYTES: Final = 4_000
PIECES_MAX: Final = 131
"""As much as the hub takes in one answer."""
ANSWER_S: Final = 45.0
"""Longest wait for an answer, seconds: a slow TPM takes seconds for each key."""
SPKI_BYTES_MAX: Final = 200
_ASKED: Final = struct.Struct(">BI")
_PIECE: Final = struct.Struct(">IHH")
_COUNTER: Final = struct.Struct(">Q")
_LENGTH: Final = struct.Struct(">H")


class Ask(IntEnum):
    """What is asked of the TPM."""

    KEYS = 1
    OPEN = 2
    ANSWER = 3
    FLOOR = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it came.

    Attributes:
        kind: What is asked.
        number: Of the question.
        body: What belongs to the kind.
    """

    kind: Ask
    number: int
    body: bytes


def read_question(message: bytes) -> Asked:
    """Read a question.

    Raises:
        FramingError: Another form.
    """
    if not _ASKED.size <= len(message) <= MESSAGE_BYTES_MAX:
        raise FramingError("not a question to a TPM")
    kind, number = _ASKED.unpack_from(message)
    if kind not in Ask.__members__.values():
        raise FramingError("not a question to a TPM")
    return Asked(Ask(kind), number, message[_ASKED.size :])


def answer(asked: Asked, prover: Prover) -> Iterator[bytes]:
    """Have a question answered, and yield the messages that say so; a refusal is an answer too."""
    try:
        said = {"done": _ask(asked, prover)}
        body = json.dumps(said, separators=(",", ":")).encode()
        if len(body) > PIECE_BYTES * PIECES_MAX:
            raise LimitExceeded("the answer of the TPM is too long for its line")
    except AsepsisError as error:
        refused = {"code": error.code, "text": str(error)[:300]}
        body = json.dumps({"refused": refused}, separators=(",", ":")).encode()
    count = -(-len(body) // PIECE_BYTES)
    for index in range(count):
        head = _PIECE.pack(asked.number, index, count)
        yield head + body[index * PIECE_BYTES : (index + 1) * PIECE_BYTES]


def _ask(asked: Asked, prover: Prover) -> dict[str, Any]:
    body = asked.body
    if asked.kind is Ask.KEYS and not body:
        return prover.keys()
    if asked.kind is Ask.OPEN and len(body) > _LENGTH.size:
        (length,) = _LENGTH.unpack_from(body)
        rest = body[_LENGTH.size :]
        found = prover.open_secret(credential=rest[:length], sealer=rest[length:])
        return {"secret": found.hex()}
    if asked.kind is Ask.ANSWER and NONCE_BYTES < len(body) <= NONCE_BYTES + SPKI_BYTES_MAX:
        return prover.answer(body[:NONCE_BYTES], body[NONCE_BYTES:])
    if asked.kind is Ask.FLOOR and len(body) == _COUNTER.size:
        return {"counter": prover.raise_floor(_COUNTER.unpack(body)[0])}
    raise FramingError("not a question to a TPM")


class LineProver:
    """Asks over the lines; a `Prover` without a TPM. Not thread-safe: one asks.

    Args:
        questions: Line that questions go out on.
        answers: Line that answers come in on.
        wait_s: Longest wait for an answer, seconds.
    """

    def __init__(
        self, questions: socket.socket, answers: socket.socket, *, wait_s: float = ANSWER_S
    ) -> None:
        self._questions = questions
        self._answers = answers
        self._wait_s = wait_s
        self._number = 0

    def keys(self) -> dict[str, Any]:
        """See `Prover`.

        Raises:
            InputError: The TPM refuses.
            Unavailable: Nobody answers.
        """
        return self._ask(Ask.KEYS, b"")

    def open_secret(self, *, credential: bytes, sealer: bytes) -> bytes:
        """See `Prover`; raises as `keys`."""
        found = self._ask(Ask.OPEN, _LENGTH.pack(len(credential)) + credential + sealer)
        try:
            return bytes.fromhex(str(found["secret"]))
        except (KeyError, ValueError) as error:
            raise InputError("what answered has not opened the secret") from error

    def answer(self, nonce: bytes, tls_spki_der: bytes) -> dict[str, Any]:
        """See `Prover`; raises as `keys`."""
        return self._ask(Ask.ANSWER, nonce + tls_spki_der)

    def raise_floor(self, counter: int) -> int:
        """See `Prover`; raises as `keys`."""
        try:
            return int(self._ask(Ask.FLOOR, _COUNTER.pack(counter))["counter"])
        except (KeyError, TypeError, ValueError, struct.error) as error:
            raise InputError("what answered has no counter") from error

    def _ask(self, kind: Ask, body: bytes) -> dict[str, Any]:
        self._number = (self._number + 1) % (1 << 32)
        until_s = time.monotonic() + self._wait_s
        message = _ASKED.pack(kind, self._number) + body
        if len(message) > MESSAGE_BYTES_MAX:
            raise LimitExceeded("too long for a question to a TPM")
        try:
            self._questions.send(message)
        except OSError as error:
            raise Unavailable("nobody who has the TPM listens") from error
        pieces: dict[int, bytes] = {}
        while True:
            piece = self._receive(until_s)
            number, index, count = _PIECE.unpack_from(piece)
            if number != self._number:
                continue  # An answer that came too late.
            if not (index < count <= PIECES_MAX):
                raise InputError("what answered is no TPM's word")
            pieces[index] = piece[_PIECE.size :]
            if len(pieces) == count:
                return _read_answer(b"".join(pieces[i] for i in range(count)))

    def _receive(self, until_s: float) -> bytes:
        while True:
            wait_s = until_s - time.monotonic()
            if wait_s <= 0 or not select.select([self._answers], [], [], wait_s)[0]:
                raise Unavailable("whoever has the TPM does not answer")
            try:
                piece = self._answers.recv(MESSAGE_BYTES_MAX + 1)
            except BlockingIOError:
                continue
            except OSError as error:
                raise Unavailable("the line to the TPM is broken") from error
            if not _PIECE.size < len(piece) <= MESSAGE_BYTES_MAX:
                raise Unavailable("the line to the TPM is at its end")
            return piece


def _read_answer(body: bytes) -> dict[str, Any]:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("what answered is no TPM's word") from error
    done = _within(found, "done")
    if done is not None:
        return done
    text = (_within(found, "refused") or {}).get("text", "")
    raise InputError(f"the TPM was asked in vain: {str(text)[:300]}")


def _within(document: object, name: str) -> dict[str, Any] | None:
    found = cast("dict[str, Any]", document).get(name) if isinstance(document, dict) else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None
