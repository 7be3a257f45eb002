"""Thinning for a chart: one message a minute, measured values only, alerts never held."""

from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.mapping.route_sample import OPEN_S, Sampler
from asepsis.core.wire.hl7 import Message

SECOND = 1_000_000_000


def oru(
    at: str,
    value: str = "60",
    *,
    patient: str = "1",
    kind: str = "ORU^R01^ORU_R01",
    code: str = "147842^MDC_ECG_HEART_RATE^MDC",
    flag: str = "",
) -> Message:
    text = (
        f"MSH|^~\\&|MON|ICU|||{at}||{kind}|1|P|2.6\rPID|||{patient}\rOBR|1|||M|||{at}\r"
        f"OBX|1|NM|{code}|1.1|{value}||||{flag}||R|||{at}\r"
    )
    # OBX-8 is the interpretation code.
    text = text.replace(f"|{value}||||{flag}||R", f"|{value}|||{flag}|||R")
    return Message.parse(text.encode())


def feed(
    messages: list[Message], keep: Literal["last", "median"] = "last"
) -> tuple[list[tuple[str, tuple[int, ...]]], Sampler[int]]:
    sampler = Sampler[int]()
    found: list[tuple[str, tuple[int, ...]]] = []
    for number, message in enumerate(messages):
        samples = sampler.take(message, number, keep=keep, now_ns=number)
        found += [(Message.parse(sample.body).get("OBX-5"), sample.members) for sample in samples]
    return found, sampler


def test_the_last_of_a_minute_goes_when_the_next_minute_begins() -> None:
    found, sampler = feed(
        [oru("20261122100001", "60"), oru("20261122100059", "64"), oru("20261122100100", "70")]
    )
    assert found == [("64", (0, 1))]
    assert [s.members for s in sampler.flush()] == [(2,)]


def test_the_lower_median_is_a_value_that_was_measured() -> None:
    values = ["61", "99", "60", "62"]
    found, _ = feed(
        [*(oru(f"202611221000{n:02}", v) for n, v in enumerate(values)), oru("20261122100100")],
        "median",
    )
    assert found == [("61", (0, 1, 2, 3))]


def test_patients_do_not_share_a_window() -> None:
    found, sampler = feed(
        [
            oru("20261122100001", "60", patient="1"),
            oru("20261122100002", "90", patient="2"),
            oru("20261122100101", "61", patient="1"),
        ]
    )
    assert found == [("60", (0,))]
    assert len(sampler) == 2


@pytest.mark.parametrize(
    "alert",
    [
        oru("20261122100002", kind="ORU^R40^ORU_R40"),
        oru("20261122100002", code="196616^MDC_EVT_ALARM^MDC"),
        oru("20261122100002", code="68481^MDC_ATTR_EVENT_PHASE^MDC"),
        oru("20261122100002", flag="HH"),
        oru("20261122100002", flag="N~LL"),
        oru("", "60"),
    ],
)
def test_alerts_go_at_once_and_what_was_held_of_the_patient_goes_before(alert: Message) -> None:
    found, sampler = feed([oru("20261122100001", "60"), alert])
    assert [members for _, members in found] == [(0,), (1,)]
    assert not len(sampler)


def test_a_window_does_not_wait_for_ever() -> None:
    sampler = Sampler[int]()
    assert not sampler.take(oru("20261122100001"), 0, keep="last", now_ns=0)
    assert not sampler.expire(now_ns=int((OPEN_S - 1) * SECOND))
    assert [s.members for s in sampler.expire(now_ns=int(OPEN_S * SECOND))] == [(0,)]


MOMENTS = st.builds(
    "2026112210{:02}{:02}{}".format,
    st.integers(0, 3),
    st.integers(0, 59),
    st.sampled_from(["", "+0100", ".5+0100"]),
)


@given(
    st.lists(
        st.builds(
            oru,
            MOMENTS,
            st.integers(0, 250).map(str),
            patient=st.sampled_from(["1", "2"]),
            flag=st.sampled_from(["", "", "HH"]),
        ),
        max_size=30,
    ),
    st.sampled_from(["last", "median"]),
)
def test_every_message_stands_in_exactly_one_sample_in_order(
    messages: list[Message], keep: Literal["last", "median"]
) -> None:
    """Goal: nothing is forgotten, no value is invented, the order of a patient is kept."""
    found, sampler = feed(messages, keep)
    found += [(Message.parse(s.body).get("OBX-5"), s.members) for s in sampler.flush()]
    members = [number for _, numbers in found for number in numbers]
    assert sorted(members) == list(range(len(messages)))
    for value, numbers in found:
        of_members = {Decimal(messages[n].get("OBX-5")) for n in numbers}
        assert Decimal(value) in of_members
    for patient in ("1", "2"):
        lasts = [n[-1] for _, n in found if messages[n[-1]].get("PID-3") == patient]
        critical = [n for n in lasts if messages[n].get("OBX-8")]
        for one in critical:
            assert all(n < one for n in lasts[: lasts.index(one)])
