"""What a gateway answers: acknowledgements made of kept parts, refusals with ERR. Pure.

Source: HL7 v2.8.2 sections 2.9.2 (original mode), 2.9.3 (enhanced mode), table 0155.
"""

from collections.abc import Callable
from typing import NamedTuple

from asepsis.core.errors import InputError
from asepsis.core.wire.hl7 import Header
from asepsis.core.wire.hl7_ack import (
    ACCEPTS,
    AckCode,
    AckError,
    Condition,
    acknowledge,
    reaction,
    wanted,
)
from asepsis.core.wire.hl7_time import written_dtm


class Refused(InputError):  # noqa: N818 - names the finding
    """A message that its peer may not send; carries its place for ERR."""

    def __init__(
        self, error: InputError, condition: Condition, *, segment: str, field: int, reject: bool
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.condition = condition
        self.segment = segment
        self.field = field
        self.reject = reject


class Accept(NamedTuple):
    """The positive acknowledgement of messages with one header, cut where they differ.

    Attributes:
        before_time: Up to MSH-7.
        before_own: Between MSH-7 and MSH-10.
        before_asked: Between MSH-10 and MSA-2.
    """

    before_time: bytes
    before_own: bytes
    before_asked: bytes


def accept_of(header: Header) -> Accept | None:
    """Return the positive acknowledgement of a header, None if its sender wants none.

    Raises:
        InputError: A header that cannot be repeated.
    """
    if header.enhanced and not wanted(header.accept_acknowledgement, failed=False):
        return None
    code = AckCode.COMMIT_ACCEPT if header.enhanced else AckCode.APPLICATION_ACCEPT
    whole = acknowledge(header, code, control_id="1", clock=lambda: 0)
    separator = header.delimiters.field
    msh, msa, _ = whole.split(b"\r")
    parts = msh.split(separator)
    return Accept(
        separator.join((*parts[:6], b"")),
        separator.join((b"", *parts[7:9], b"")),
        separator.join((b"", *parts[10:]))
        + b"\r"
        + separator.join((*msa.split(separator)[:2], b"")),
    )


def positive(accept: Accept, asked: bytes, *, control_id: str, clock: Callable[[], int]) -> bytes:
    """Return the acknowledgement of a durable message.

    Args:
        accept: From `accept_of`.
        asked: MSH-10 of the message.
        control_id: MSH-10 of the answer.
        clock: Wall time, nanoseconds.
    """
    # Without an id to repeat, the last separator is left out, as the codec leaves it out.
    end = accept.before_asked + asked if asked else accept.before_asked[:-1]
    own = control_id.encode("ascii")
    return b"".join(
        (
            accept.before_time,
            written_dtm(clock(), digits=3).encode(),
            accept.before_own,
            own,
            end,
            b"\r",
        )
    )


def negative(
    header: Header, error: InputError, *, control_id: str, clock: Callable[[], int]
) -> bytes | None:
    """Return the answer to a message that is refused for good, or None if none is wanted."""
    code, reason = _verdict(error, commit=header.enhanced)
    return _answer(header, code, reason, control_id, clock)


def _verdict(error: InputError, *, commit: bool) -> tuple[AckCode, AckError]:
    if isinstance(error, Refused):
        rejected = {
            (True, True): AckCode.COMMIT_REJECT,
            (True, False): AckCode.APPLICATION_REJECT,
            (False, True): AckCode.COMMIT_ERROR,
            (False, False): AckCode.APPLICATION_ERROR,
        }
        reason = AckError(
            condition=error.condition,
            text=f"{error.error.code}: {error}",
            segment=error.segment,
            field=error.field,
        )
        return rejected[error.reject, commit], reason
    answer = reaction(error, commit=commit)
    assert answer is not None, "an input error is always answered"  # noqa: S101 - our own table
    return answer


def _answer(
    header: Header,
    code: AckCode,
    reason: AckError | None,
    control_id: str,
    clock: Callable[[], int],
) -> bytes | None:
    asked = header.accept_acknowledgement if header.enhanced else ""
    if not wanted(asked, failed=code not in ACCEPTS):
        return None
    return acknowledge(header, code, control_id=control_id, clock=clock, error=reason)
