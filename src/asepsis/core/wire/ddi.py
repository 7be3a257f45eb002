"""Documents of the Direct Device Integration API (DDI) version 1, as update clients send them.

Clients in the field send more than they should (`id` as a string or a number, `time` in a form of
its own), so unknown members are ignored here, as the API demands; what is read is bounded.

Source: Eclipse hawkBit, Direct Device Integration API version 1; docs/reference/ddi.md.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, TypeVar

import msgspec

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.ddi_cbor import read_cbor

NAME_CHARS_MAX: Final = 256
"""A client's own name (`controllerId`)."""
BODY_BYTES_MAX: Final = 65_536
ATTRIBUTES_MAX: Final = 100
ATTRIBUTE_CHARS_MAX: Final = 128
DETAILS_MAX: Final = 50
DETAIL_CHARS_MAX: Final = 512
CODE_MAX: Final = 2**31 - 1
WORD_CHARS_MAX: Final = 256
CBOR: Final = "application/cbor"
JSON: Final = ("application/json", "application/hal+json")
T = TypeVar("T")


class Execution(StrEnum):
    """What a client says it does with an action."""

    CLOSED = "closed"
    PROCEEDING = "proceeding"
    CANCELED = "canceled"
    SCHEDULED = "scheduled"
    REJECTED = "rejected"
    RESUMED = "resumed"
    DOWNLOAD = "download"
    DOWNLOADED = "downloaded"


class Finished(StrEnum):
    """How it ended, by the client."""

    SUCCESS = "success"
    FAILURE = "failure"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a client says of an action.

    Attributes:
        execution: What it does.
        finished: How it ended.
        code: A number of its own, or None.
        details: At most `DETAILS_MAX` sentences of `DETAIL_CHARS_MAX` characters; more are cut.
    """

    execution: Execution
    finished: Finished
    code: int | None = None
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What somebody at the client says to an action that waits for them.

    Attributes:
        confirmed: Whether the action may go on.
        code: A number of the client's own, or None.
        details: As in `Feedback`.
    """

    confirmed: bool
    code: int | None = None
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What a client says of itself.

    Attributes:
        mode: `merge` into what is known, `replace` it, or `remove` the keys.
        data: At most `ATTRIBUTES_MAX` entries of `ATTRIBUTE_CHARS_MAX` characters each side.
    """

    mode: Literal["merge", "replace", "remove"]
    data: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoConfirm:
    """Who lets every action go on from now on, as they say themselves."""

    initiator: str
    remark: str


class _Result(msgspec.Struct):
    finished: Finished


class _Status(msgspec.Struct):
    execution: Execution
    result: _Result
    code: int | None = None
    details: list[str] | str | None = None


class _Feedback(msgspec.Struct):
    status: _Status


class _Confirmation(msgspec.Struct):
    confirmation: Literal["confirmed", "denied"]
    code: int | None = None
    details: list[str] | str | None = None


class _Attributes(msgspec.Struct):
    data: dict[str, str | int | float | bool | None]
    mode: Literal["merge", "replace", "remove"] | None = None


class _AutoConfirm(msgspec.Struct):
    initiator: str | None = None
    remark: str | None = None


class _Installed(msgspec.Struct):
    name: str
    version: str


def read_feedback(raw: bytes, media: str) -> Feedback:
    """Read what a client says of an action; errors as `_read`."""
    status = _read(raw, media, _Feedback).status
    return Feedback(
        execution=status.execution,
        finished=status.result.finished,
        code=_code(status.code),
        details=_details(status.details),
    )


def read_confirmation(raw: bytes, media: str) -> Confirmation:
    """Read what somebody at the client says to an action that waits; errors as `_read`."""
    found = _read(raw, media, _Confirmation)
    return Confirmation(
        confirmed=found.confirmation == "confirmed",
        code=_code(found.code),
        details=_details(found.details),
    )


def read_attributes(raw: bytes, media: str) -> Attributes:
    """Read what a client says of itself; errors as `_read`.

    Raises:
        LimitExceeded: Too many entries, or one too long.
    """
    found = _read(raw, media, _Attributes)
    if len(found.data) > ATTRIBUTES_MAX:
        raise LimitExceeded(f"more than {ATTRIBUTES_MAX} attributes")
    data = {key: _text(value) for key, value in found.data.items()}
    if any(max(len(key), len(value)) > ATTRIBUTE_CHARS_MAX for key, value in data.items()):
        raise LimitExceeded(f"an attribute is over {ATTRIBUTE_CHARS_MAX} characters")
    return Attributes(mode=found.mode or "merge", data=data)


def read_auto_confirm(raw: bytes, media: str) -> AutoConfirm:
    """Read who confirms from now on; an empty body names nobody. Errors as `_read`."""
    found = _read(raw, media, _AutoConfirm) if raw.strip() else _AutoConfirm()
    return AutoConfirm(
        initiator=(found.initiator or "")[:WORD_CHARS_MAX],
        remark=(found.remark or "")[:DETAIL_CHARS_MAX],
    )


def read_installed(raw: bytes, media: str) -> tuple[str, str]:
    """Read name and version of what a client says it runs; errors as `_read`."""
    found = _read(raw, media, _Installed)
    if not found.name or max(len(found.name), len(found.version)) > WORD_CHARS_MAX:
        raise InputError("name and version are needed, and short")
    return found.name, found.version


def _read(raw: bytes, media: str, kind: type[T]) -> T:
    """Decode a body.

    Raises:
        InputError: Not JSON or plain CBOR of this form.
    """
    try:
        if media == CBOR:
            return msgspec.convert(read_cbor(raw), type=kind, str_keys=True)
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the body is not as the API says: {error}") from error


def _code(code: int | None) -> int | None:
    if code is not None and abs(code) > CODE_MAX:
        raise InputError("the code is no 32-bit number")
    return code


def _details(found: list[str] | str | None) -> tuple[str, ...]:
    lines = [found] if isinstance(found, str) else found or []
    return tuple(_clean(line)[:DETAIL_CHARS_MAX] for line in lines[:DETAILS_MAX])


def _clean(line: str) -> str:
    """Let no control character of a client reach a terminal or a page."""
    return "".join(char if char.isprintable() else " " for char in line)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _clean(str(value))
