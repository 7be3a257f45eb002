"""Acknowledgements: the right verdict for each error class, and bytes that any sender reads."""

import hl7
import pytest

from asepsis.core.errors import (
    AsepsisError,
    BackPressure,
    ConfigError,
    ContentMismatch,
    FramingError,
    InputError,
    LimitExceeded,
    NotPermitted,
    SafetyRefusal,
    UnsupportedMedia,
)
from asepsis.core.wire.hl7 import Header, Hl7Limits, Message
from asepsis.core.wire.hl7_ack import (
    AckCode,
    AckError,
    Condition,
    acknowledge,
    reaction,
    wanted,
)

DATA = (
    b"MSH|^~\\&|MON^0009^EUI-64|ICU|GW^1.2^ISO|HOSP|20261103||ORU^R01^ORU_R01|id-42|P|2.6"
    b"|||NE|AL||UNICODE UTF-8\rPID|||4711\r"
)
NOW_NS = 1_793_700_930_123_456_789


def answer(data: bytes, code: AckCode, error: AckError | None = None) -> bytes:
    header = Message.parse(data).header
    return acknowledge(header, code, control_id="A7", clock=lambda: NOW_NS, error=error)


def test_an_accept() -> None:
    assert answer(DATA, AckCode.APPLICATION_ACCEPT) == (
        b"MSH|^~\\&|GW^1.2^ISO|HOSP|MON^0009^EUI-64|ICU|20261103101530.123+0000||ACK^R01^ACK|A7|P"
        b"|2.6||||||UNICODE UTF-8\rMSA|AA|id-42\r"
    )


def test_a_peer_reads_the_answer() -> None:
    """Goal: the `hl7` package sees code, control id and error text as we meant them."""
    error = AckError(
        condition=Condition.REQUIRED_FIELD_MISSING, text="no MRN & no name", segment="PID", field=3
    )
    message = hl7.parse(answer(DATA, AckCode.APPLICATION_ERROR, error).decode())
    assert str(message["MSA.F1"]) == "AE"
    assert str(message["MSA.F2"]) == "id-42"
    assert str(message.segment("ERR")[2]) == "PID^1^3"
    assert str(message.segment("ERR")[3][0][0]) == "101"
    assert message.unescape(str(message.segment("ERR")[8])) == "no MRN & no name"


@pytest.mark.parametrize(
    ("version", "err"),
    [
        (b"2.3", b"ERR|PID^1^3^104&Value too long&HL70357\r"),
        (b"2.4", b"ERR|PID^1^3^104&Value too long&HL70357\r"),
        (b"2.5", b"ERR||PID^1^3|104^Value too long^HL70357|E||||ASP\r"),
        (b"2.5.1", b"ERR||PID^1^3|104^Value too long^HL70357|E||||ASP\r"),
        (b"2.9", b"ERR||PID^1^3|104^Value too long^HL70357|E||||ASP\r"),
        (b"", b"ERR||PID^1^3|104^Value too long^HL70357|E||||ASP\r"),
        (b"x.1", b"ERR||PID^1^3|104^Value too long^HL70357|E||||ASP\r"),
        (b"\xb2.3", b"ERR||PID^1^3|104^Value too long^HL70357|E||||ASP\r"),
    ],
)
def test_err_follows_the_version(version: bytes, err: bytes) -> None:
    data = DATA.replace(b"|2.6|", b"|" + version + b"|")
    error = AckError(condition=Condition.VALUE_TOO_LONG, text="ASP", segment="PID", field=3)
    assert answer(data, AckCode.APPLICATION_REJECT, error).endswith(err)


def test_err_without_a_place() -> None:
    old = DATA.replace(b"|2.6|", b"|2.3|")
    error = AckError(condition=Condition.INTERNAL)
    assert b"ERR|^^^207&" in answer(old, AckCode.COMMIT_REJECT, error)
    assert b"ERR|||207^" in answer(DATA, AckCode.COMMIT_REJECT, error)


def test_an_accept_carries_no_error() -> None:
    with pytest.raises(InputError):
        answer(DATA, AckCode.COMMIT_ACCEPT, AckError(condition=Condition.INTERNAL))


def test_foreign_delimiters_and_no_escape() -> None:
    data = b"MSH:/~:A/1:B:C:D:::ADT/A01:7:P:2.6\r"
    error = AckError(condition=Condition.DATA_TYPE, text="ASP-100: a/b\x00 é")
    built = Message.parse(answer(data, AckCode.APPLICATION_ERROR, error))
    assert built.raw("MSH-5") == b"A/1"
    assert built.get("ERR-8") == "ASP-100  a b  ?"
    assert built.raw("MSH-9") == b"ACK/A01/ACK"


def test_message_without_type_or_id() -> None:
    built = Message.parse(answer(b"MSH|^~\\&|A\r", AckCode.APPLICATION_REJECT))
    assert (built.raw("MSH-9"), built.raw("MSA-1"), built.raw("MSA-2")) == (b"ACK", b"AR", b"")


@pytest.mark.parametrize(
    ("error", "code", "commit", "condition"),
    [
        (LimitExceeded("x"), "AR", "CR", "104"),
        (UnsupportedMedia("x"), "AR", "CR", "102"),
        (ContentMismatch("x"), "AE", "CE", "204"),
        (FramingError("x"), "AE", "CE", "102"),
        (InputError("x"), "AE", "CE", "102"),
        (NotPermitted("x"), "AR", "CR", "207"),
    ],
)
def test_reaction(error: AsepsisError, code: str, commit: str, condition: str) -> None:
    verdict = reaction(error, commit=False)
    assert verdict is not None
    assert (verdict[0], verdict[1].condition) == (code, condition)
    assert verdict[1].text.startswith(error.code)
    enhanced = reaction(error, commit=True)
    assert enhanced is not None
    assert enhanced[0] == commit


@pytest.mark.parametrize(
    "error", [BackPressure("x"), SafetyRefusal("x"), ConfigError("x"), AsepsisError("x")]
)
def test_a_fault_that_may_pass_withholds_the_answer(error: AsepsisError) -> None:
    assert reaction(error, commit=False) is None


@pytest.mark.parametrize(
    ("condition", "on_success", "on_failure"),
    [("AL", True, True), ("NE", False, False), ("ER", False, True), ("SU", True, False),
     ("", True, True), ("?", True, True)],
)  # fmt: skip
def test_wanted(condition: str, on_success: bool, on_failure: bool) -> None:  # noqa: FBT001
    assert wanted(condition, failed=False) is on_success
    assert wanted(condition, failed=True) is on_failure


def test_salvage() -> None:
    """Goal: a message that is wrong after its header can still be answered by control id."""
    for tail in (b"\rpid|1\r", b"\x0b\r", b"\n" * 3, b""):
        assert Header.salvage(DATA.split(b"\r")[0] + tail).control_id == "id-42"
    assert Header.salvage(b"\xef\xbb\xbf" + DATA).control_id == "id-42"
    with pytest.raises(LimitExceeded):
        Header.salvage(b"MSH|^~\\&|" + b"A" * 9_000)
    with pytest.raises(LimitExceeded):
        Header.salvage(DATA, limits=Hl7Limits(fields_max=5))
