"""Goal: the messages of a batch come out as they are, and a wrapping that lies is refused whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_batch import (
    MESSAGES_MAX,
    answer_batch,
    is_batch,
    read_batch,
    refuse_batch,
)

FHS = b"FHS|^~\\&|LAB|H|HUB|H|20261122||||F-1\r"
BHS = b"BHS|^~\\&|LAB|H|HUB|H|20261122||||B-1\r"
ONE = b"MSH|^~\\&|LAB|H|HUB|H|20261122||ADT^A08|1|P|2.5\rPID|||1\r"
TWO = ONE.replace(b"|1|P|", b"|2|P|")


def clock() -> int:
    return 1_800_000_000 * 10**9


LEAF = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)


@given(
    texts=st.lists(st.lists(LEAF, max_size=3), min_size=1, max_size=5),
    end=st.sampled_from([b"\r", b"\r\n", b"\n"]),
    counted=st.booleans(),
)
def test_messages_come_out_as_they_went_in(
    texts: list[list[str]], end: bytes, *, counted: bool
) -> None:
    groups = [[(ONE + b"NTE|1||" + t.encode() + b"\r") for t in group] for group in texts]
    total = sum(len(group) for group in groups)
    parts = [FHS]
    for group in groups:
        told = b"BTS|%d\r" % len(group) if counted else b"BTS\r"
        parts += [BHS, *group, told]
    parts.append(b"FTS|%d\r" % len(groups) if counted else b"FTS\r")
    whole = b"".join(parts).replace(b"\r", end)
    assert is_batch(whole)
    found = read_batch(whole)
    assert len(found.messages) == total
    assert found.messages == [one.replace(b"\r", end) for group in groups for one in group]
    for message in found.messages:
        assert Message.parse(message).get("MSH-10") == "1"


@pytest.mark.parametrize(
    "payload",
    [
        BHS + ONE + b"BTS|2\r",
        FHS + BHS + ONE + b"BTS|1\rFTS|2\r",
        BHS + b"PID|||1\r" + ONE + b"BTS|1\r",
        BHS + ONE + b"BTS|1\rPID|||2\r",
        BHS + ONE + b"BTS|1\r" + ONE,
        BHS + ONE + BHS + ONE + b"BTS|1\r",
        FHS + FHS,
        BHS + ONE + b"BTS|x\r",
        BHS + ONE + b"FTS|1\r" + BHS,
        b"BHS\r" + ONE,
    ],
)
def test_a_wrapping_that_does_not_hold_is_refused(payload: bytes) -> None:
    with pytest.raises(InputError):
        read_batch(payload)


def test_a_batch_is_bounded() -> None:
    read_batch(BHS + ONE * MESSAGES_MAX)
    with pytest.raises(LimitExceeded):
        read_batch(BHS + ONE * (MESSAGES_MAX + 1))
    with pytest.raises(LimitExceeded):
        read_batch(FHS + (BHS + b"BTS|0\r") * 65)


def test_the_answer_names_what_it_answers_and_holds_the_answers_in_order() -> None:
    found = read_batch(FHS + BHS + ONE + TWO + b"BTS|2\r" + BHS + ONE + b"BTS|1\rFTS|2\r")
    answers = [b"MSH|^~\\&\rMSA|AA|1\r", None, b"MSH|^~\\&\rMSA|AE|1\r"]
    whole = answer_batch(found, answers, control_id="9-1", clock=clock)
    lines = whole.split(b"\r")
    assert [line[:3] for line in lines] == [
        b"FHS", b"BHS", b"MSH", b"MSA", b"BTS", b"BHS", b"MSH", b"MSA", b"BTS", b"FTS", b"",
    ]  # fmt: skip
    assert lines[0].split(b"|")[2:6] == [b"HUB", b"H", b"LAB", b"H"]
    assert lines[0].split(b"|")[10:12] == [b"9-1", b"F-1"]
    assert lines[1].split(b"|")[10:12] == [b"9-1", b"B-1"]
    assert (lines[4], lines[8], lines[9]) == (b"BTS|1", b"BTS|1", b"FTS|2")
    assert len(read_batch(whole).messages) == 2


def test_a_refused_batch_is_answered_by_its_own_name() -> None:
    ack = refuse_batch(BHS + b"x", InputError("no"), control_id="9-2", clock=clock)
    message = Message.parse(ack)
    assert (message.get("MSA-1"), message.get("MSA-2")) == ("AE", "B-1")
    assert message.get("ERR-3.1") == "102"
    with pytest.raises(InputError):
        refuse_batch(b"BHS", InputError("no"), control_id="9-3", clock=clock)


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    for payload in (b"BHS" + data, b"FHS|^~\\&|" + data, BHS + ONE + data):
        try:
            found = read_batch(payload)
        except InputError:
            continue
        answer_batch(found, [None] * len(found.messages), control_id="1", clock=clock)
