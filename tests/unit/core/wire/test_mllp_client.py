"""The sending side of MLLP: one answer for one message, and none that belongs to another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError
from asepsis.core.wire.mllp import frame
from asepsis.core.wire.mllp_client import Answered, MllpClient, ask_for_answer


def oru(control_id: str, more: bytes = b"") -> bytes:
    return b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|%b|P|2.6%b\rOBX|1\r" % (control_id.encode(), more)


def ack(code: str, control_id: str, more: bytes = b"") -> bytes:
    head = b"MSH|^~\\&|C|D|A|B|2026||ACK|9|P|2.6\r"
    return frame(head + b"MSA|%b|%b\r%b" % (code.encode(), control_id.encode(), more))


@pytest.mark.parametrize(
    ("code", "answered"),
    [
        ("AA", Answered.ACCEPTED),
        ("CA", Answered.ACCEPTED),
        ("AE", Answered.ERROR),
        ("CE", Answered.ERROR),
        ("AR", Answered.REJECTED),
        ("CR", Answered.REJECTED),
    ],
)
def test_every_code_of_table_0008(code: str, answered: Answered) -> None:
    client = MllpClient()
    client.send(5, oru("1"), now_s=0)
    (verdict,) = client.receive(ack(code, "1"))
    assert (verdict.number, verdict.answered, verdict.code) == (5, answered, code)


def test_why_it_was_refused() -> None:
    client = MllpClient(in_flight_max=2)
    client.send(1, oru("1"), now_s=0)
    client.send(2, oru("2"), now_s=0)
    error = b"ERR||PID^1^3|101^missing^HL70357|E||||no such patient\r"
    found = client.receive(ack("AR", "1", error) + ack("AE", "2|bad table"))
    assert [verdict.text for verdict in found] == ["no such patient", "bad table"]


@pytest.mark.parametrize(
    "answer",
    [ack("AA", "2"), ack("AA", ""), ack("XX", "1"), ack("", "1"), frame(oru("1")), b"\x0bAA\x0b"],
)
def test_an_answer_that_is_none_or_anothers_ends_the_conversation(answer: bytes) -> None:
    client = MllpClient()
    client.send(1, oru("1"), now_s=0)
    with pytest.raises(InputError):
        client.receive(answer)


def test_an_answer_that_nobody_waits_for() -> None:
    client = MllpClient()
    with pytest.raises(FramingError):
        client.receive(ack("AA", "1"))


def test_room_and_deadline() -> None:
    client = MllpClient(in_flight_max=2, answer_s=30)
    assert (client.room, client.deadline_s) == (2, None)
    client.send(1, oru("1"), now_s=10)
    client.send(2, oru("2"), now_s=11)
    assert (client.room, client.deadline_s) == (0, 40)
    client.receive(ack("AA", "1"))
    assert (client.room, client.waiting, client.deadline_s) == (1, 1, 41)


def test_the_original_mode_is_left_alone_and_the_enhanced_asks_for_one_answer() -> None:
    assert ask_for_answer(oru("1"))[0] == oru("1")
    assert ask_for_answer(oru("1", b"|||AL|NE"))[0] == oru("1", b"|||AL|NE")
    for more in (b"|||NE|NE", b"|||AL|AL", b"|||ER", b"||||AL"):
        assert ask_for_answer(oru("1", more))[0] == oru("1", b"|||AL|NE")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_only_the_header_is_asked_with_however_lines_end(end: bytes, mark: bytes) -> None:
    """Goal: no field of the patient is taken for MSH-15 where segments end with LF."""
    rest = end + b"EVN|A01|2026" + end + b"PID|1||4711^^^H||DOE^JANE" + end
    short = mark + b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|7|P|2.3" + rest
    assert ask_for_answer(short) == (short, b"7")
    asks = mark + b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|7|P|2.3|||ER|AL" + rest
    assert ask_for_answer(asks) == (asks.replace(b"ER|AL", b"AL|NE"), b"7")


@pytest.mark.parametrize("message", [b"", b"PID|1\r", oru(""), b"MSH|^~\\&|A\r"])
def test_what_no_answer_could_name_is_not_sent(message: bytes) -> None:
    with pytest.raises(InputError):
        MllpClient().send(1, message, now_s=0)


@given(
    codes=st.lists(st.sampled_from(["AA", "AE", "AR", "CA"]), min_size=1, max_size=8),
    cut=st.integers(1, 40),
)
def test_answers_cut_anywhere_give_the_same_verdicts_in_order(codes: list[str], cut: int) -> None:
    client = MllpClient(in_flight_max=len(codes))
    for number in range(len(codes)):
        client.send(number, oru(str(number)), now_s=0)
    data = b"".join(ack(code, str(number)) for number, code in enumerate(codes))
    parts = [data[at : at + cut] for at in range(0, len(data), cut)]
    found = [verdict for part in parts for verdict in client.receive(part)]
    assert [(v.number, v.code) for v in found] == list(enumerate(codes))


@given(st.binary(max_size=200))
def test_any_bytes_are_verdicts_or_refused(data: bytes) -> None:
    client = MllpClient(in_flight_max=4)
    client.send(1, oru("1"), now_s=0)
    try:
        client.receive(data)
    except InputError:
        return
