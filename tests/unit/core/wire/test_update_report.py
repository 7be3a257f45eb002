"""Update reports as bytes."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.model.update import (
    TESTS_MAX,
    TEXT_CHARS_MAX,
    Outcome,
    TestResult,
    UpdateReport,
    WaitsFor,
)
from asepsis.core.wire.update_report import (
    OUTCOMES,
    REPORT_BYTES_MAX,
    WAITS,
    decode,
    encode,
    peek_header,
)

KEY_ID = bytes(range(8))
REPORT = UpdateReport(
    device=DeviceId.parse("urn:dev:mac:0012210000000001"),
    epoch=3,
    sequence=7,
    at=Instant(bytes(16), 5, 1_700_000_000_000_000_000, 20),
    release="ab" * 32,
    component="network",
    counter=12,
    outcome=Outcome.VERIFIED,
    reason="",
    tests=(TestResult(name="heart-rate", measured=60.0, low=59.0, high=61.0, unit="/min"),),
)
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TESTS = st.lists(
    st.builds(
        TestResult,
        name=WORDS,
        measured=st.floats(allow_nan=False),
        low=FINITE,
        high=FINITE,
        unit=WORDS,
    ),
    max_size=4,
).map(tuple)
STATES = st.one_of(
    st.tuples(st.sampled_from([o for o in Outcome if o is not Outcome.WAITING]), st.none()),
    st.tuples(st.just(Outcome.WAITING), st.sampled_from(WaitsFor)),
)


def report_of(state: tuple[Outcome, WaitsFor | None], **fields: Any) -> UpdateReport:
    return replace(REPORT, outcome=state[0], waits_for=state[1], **fields)


REPORTS = st.builds(
    report_of,
    STATES,
    epoch=st.integers(1, 2**63 - 1),
    sequence=st.integers(1, 2**63 - 1),
    counter=st.integers(1, 2**63 - 1),
    component=WORDS,
    reason=st.text("abc :ä", max_size=100),
    tests=TESTS,
)


@given(REPORTS, st.binary(min_size=64, max_size=64))
def test_what_was_written_is_read(report: UpdateReport, signature: bytes) -> None:
    signed = encode(report, key_id=KEY_ID)
    data = signed + signature
    assert decode(data) == (report, KEY_ID, signed, signature)
    assert peek_header(data) == (report.device, report.epoch, report.sequence)


def test_the_longest_report_fits() -> None:
    test = replace(REPORT.tests[0], name="n" * 64, unit="u" * 32)
    longest = replace(REPORT, tests=(test,) * TESTS_MAX, reason="x" * TEXT_CHARS_MAX)
    assert len(encode(longest, key_id=KEY_ID)) + 64 <= REPORT_BYTES_MAX


def test_every_word_has_its_number() -> None:
    """Goal: a word that is added and has no number would end the agent."""
    assert OUTCOMES.keys() == set(Outcome)
    assert WAITS.keys() == set(WaitsFor)
    assert len(set(OUTCOMES.values())) == len(OUTCOMES)
    assert len(set(WAITS.values())) == len(WAITS)


def test_what_was_not_measured_is_not_a_number_in_one_form() -> None:
    test = replace(REPORT.tests[0], measured=math.nan)
    signed = encode(replace(REPORT, tests=(test,)), key_id=KEY_ID)
    found, _, _, _ = decode(signed + bytes(64))
    assert math.isnan(found.tests[0].measured)
    assert not found.tests[0].passed
    other = signed.replace(bytes.fromhex("7ff8000000000000"), bytes.fromhex("7ff8000000000001"))
    with pytest.raises(FramingError):
        decode(other + bytes(64))


@given(st.binary(max_size=700))
def test_other_bytes_are_refused(data: bytes) -> None:
    for found in (data, b"AUR1" + data):
        with pytest.raises(FramingError):
            decode(found)


@given(REPORTS, st.integers(0, 900), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_reads_as_it_is_written(
    report: UpdateReport, at: int, change: int
) -> None:
    data = bytearray(encode(report, key_id=KEY_ID) + bytes(64))
    data[at % len(data)] ^= change
    try:
        found, key_id, signed, _ = decode(bytes(data))
    except FramingError:
        return
    assert encode(found, key_id=key_id) == signed


@pytest.mark.parametrize(
    "change",
    [{"epoch": 0}, {"sequence": 2**63}, {"counter": 0}, {"component": "x" * 65}, {"component": ""},
     {"component": "ä"}, {"reason": "two\nlines"}, {"reason": "x" * 201}, {"release": "AB" * 32},
     {"release": "ab"}, {"release": "no"}, {"waits_for": WaitsFor.POWER},
     {"outcome": Outcome.WAITING}, {"at": Instant(b"", 1, 1, 1)},
     {"at": Instant(bytes(16), -1, 1, 1)}, {"at": Instant(bytes(16), 1, 1, 2**32)},
     {"tests": REPORT.tests * 65}, {"tests": (replace(REPORT.tests[0], low=math.inf),)}],
)  # fmt: skip
def test_a_field_outside_its_range_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        encode(replace(REPORT, **change), key_id=KEY_ID)  # type: ignore[arg-type]


def test_a_key_is_named_by_eight_bytes() -> None:
    with pytest.raises(InputError):
        encode(REPORT, key_id=b"short")
