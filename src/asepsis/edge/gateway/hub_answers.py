"""What the hub's answers mean to a gateway. Pure but for the certificate that is handed in.

Source: RFC 9112 (HTTP/1.1 messages), only what the hub's own answers use; REQ-MSG-008.
"""

import json
import ssl
from collections.abc import Sequence
from typing import Any, Final, cast

from asepsis.core.errors import (
    AsepsisError,
    IdentityExpired,
    InputError,
    TransientError,
    TrustError,
    Unavailable,
)
from asepsis.edge.uplink.connection import refusal

_FINAL: Final = frozenset((400, 413, 422))
"""Answers that mean: this body will never be taken."""
Verdict = AsepsisError | dict[tuple[int, int], InputError]
"""What became of a batch: stored but for the messages named by sequence and place, or why not."""


class Head:
    """Status line and fields of an answer.

    Args:
        head: Its bytes up to the empty line.
    """

    def __init__(self, head: bytes) -> None:
        lines = head.split(b"\r\n")
        self.status = int(lines[0][9:12]) if lines[0][9:12].isdigit() else 0
        self._fields = lines[1:]

    def value(self, name: bytes) -> bytes:
        """Return a field by its name in lower case, b"" if it is absent."""
        for line in self._fields:
            field, _, value = line.partition(b":")
            if field.lower() == name:
                return value.strip()
        return b""

    @property
    def length(self) -> int | None:
        """Bytes of the body, None if that is not said."""
        text = self.value(b"content-length")
        return int(text) if text.isdigit() and len(text) < 10 else None

    @property
    def retry_after(self) -> str | None:
        """Seconds after which to ask again, as written."""
        return self.value(b"retry-after").decode("ascii", "replace") or None


def verdict_of(head: Head, body: bytes, *, count: int) -> Verdict:
    """Return what an answer to a batch means.

    InputError is final for these bytes; TrustError is about the gateway's identity; everything
    else passes: the messages are kept and sent again. So does 415: a hub that does not know
    batches is older than its gateway, and nothing of a message is wrong.

    Args:
        head: Of the answer.
        body: Its body.
        count: Messages in the batch.
    """
    if head.status == 200:
        return _refused(body, count)
    if head.status in _FINAL:
        error = refusal(head.status, body, head.retry_after)
        return error if isinstance(error, InputError) else InputError(str(error))
    return failure_of(head, body) or Unavailable("no answer to a batch")


def failure_of(head: Head, body: bytes) -> TransientError | TrustError | None:
    """Return why the hub did not serve a request, whatever it was; None if it did.

    Args:
        head: Of the answer.
        body: Its body.
    """
    if head.status == 200:
        return None
    error = refusal(head.status, body, head.retry_after)
    if isinstance(error, (TransientError, TrustError)):
        return error
    return Unavailable(f"the hub answered {head.status}: {_title(body)}")


def _refused(body: bytes, count: int) -> Verdict:
    try:
        answer: Any = json.loads(body)
        refused = {
            (int(one["sequence"]), int(one["index"])): InputError(str(one["detail"])[:200])
            for one in cast("Sequence[Any]", answer["refused"])
        }
        if int(answer["stored"]) + len(refused) == count:
            return refused
    except (ValueError, KeyError, TypeError):
        pass  # It is no answer of our hub, whatever exactly is wrong with it.
    return Unavailable("the hub's answer to a batch is not understood")


def _title(body: bytes) -> str:
    try:
        problem: Any = json.loads(body)
        return str(problem["title"])[:80]
    except (ValueError, KeyError, TypeError):
        return "no reason given"


def check_validity(tls: ssl.SSLObject, now_ns: int) -> None:
    """Judge the validity dates of the hub's certificate by trusted time.

    Raises:
        IdentityExpired: Outside.
    """
    certificate = tls.getpeercert() or {}
    begins_s = ssl.cert_time_to_seconds(str(certificate["notBefore"]))
    ends_s = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    if not begins_s <= now_ns / 1e9 <= ends_s:
        raise IdentityExpired("the hub's certificate is outside its validity")
