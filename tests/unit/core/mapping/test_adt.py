"""ADT messages become events: samples of others, every sort of time, and hostile fields."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.mapping.adt import AdtEvent, choose_id, is_adt, read_adt
from asepsis.core.mapping.sender_time import time_span, zone_of
from asepsis.core.model.patient import PatientId, Place
from asepsis.core.wire.hl7 import Message

SAMPLES = Path(__file__).parents[5] / "shared" / "data" / "hl7v2"
BERLIN = ZoneInfo("Europe/Berlin")
SECOND_NS = 1_000_000_000
HEAD = r"MSH|^~\&|ADT|H|HUB|H|20261122120000+0000||ADT^{0}^ADT_A01|7|P|2.5.1"


def message(trigger: str, *segments: str) -> Message:
    return Message.parse("\r".join((HEAD.format(trigger), *segments)).encode() + b"\r")


def event(trigger: str, *segments: str) -> AdtEvent:
    return read_adt(message(trigger, *segments), zone=BERLIN)


def test_an_admission_is_read_whole() -> None:
    found = event(
        "A01",
        "EVN|A01|20261122120530+0000||||20261122120500+0000",
        "PID|1||4711^^^MRN~99^^^SSN||EVERYMAN^ADAM^A||19610615|M",
        "PV1|1|I|ICU^4^B^HOSP|||ER^1^2",
    )
    assert found.trigger == "A01"
    assert found.recorded is not None
    assert found.occurred is not None
    assert found.recorded.earliest_ns - found.occurred.earliest_ns == 30 * SECOND_NS
    (patient,) = found.patients
    assert patient.ids == (PatientId("4711", "MRN"), PatientId("99", "SSN"))
    assert (patient.name, patient.birth_date) == ("EVERYMAN, ADAM A", "1961-06-15")
    assert patient.place == Place("ICU", "4", "B", "HOSP")
    assert patient.prior == Place("ER", "1", "2")


def test_a_swap_names_two_patients_each_with_a_place_of_their_own() -> None:
    found = event(
        "A17", "EVN|A17|20261122120530+0000",
        "PID|1||1^^^M", "PV1|1|I|ICU^1^A", "PID|2||2^^^M", "PV1|2|I|ICU^1^B",
    )  # fmt: skip
    assert [(p.ids[0].value, p.place and p.place.bed) for p in found.patients] == [
        ("1", "A"),
        ("2", "B"),
    ]
    with pytest.raises(InputError):
        event("A17", *(f"PID|1||{n}^^^M" for n in range(3)))


def test_a_merge_names_what_was_merged() -> None:
    found = event("A40", "PID|1||12345^^^BCBS^MR||Test^Test", "MRG|56789^^^BCBS^MR")
    assert found.patients[0].merged == (PatientId("56789", "BCBS"),)


def test_an_id_that_is_too_long_is_left_out_and_never_cut() -> None:
    found = event("A01", f"PID|1||{'9' * 65}^^^M~5^^^N")
    assert found.patients[0].ids == (PatientId("5", "N"),)
    with pytest.raises(InputError):
        event("A01", f"PID|1||{'9' * 65}^^^M")


def test_the_id_of_the_configured_authority_is_taken() -> None:
    ids = (PatientId("1", "A"), PatientId("2", "B"))
    assert choose_id(ids, ("B", "A")).value == "2"
    assert choose_id(ids, ()).value == "1"
    with pytest.raises(InputError):
        choose_id(ids, ("C",))
    with pytest.raises(InputError):
        choose_id((*ids, PatientId("3", "B")), ("B",))


@pytest.mark.parametrize(
    ("written", "width_s", "ambiguous"),
    [
        ("20261122120530+0100", 1, False),
        ("202611221205", 60, False),
        ("2026112212", 3_600, True),
        ("20261122", 86_400, True),
        ("20261025023000", 3_601, True),  # The hour that clocks repeat.
    ],
)
def test_a_time_is_a_stretch(written: str, width_s: int, *, ambiguous: bool) -> None:
    span = time_span(written, BERLIN)
    assert span is not None
    assert span.latest_ns - span.earliest_ns + 1 == width_s * SECOND_NS
    assert span.ambiguous is ambiguous


@pytest.mark.parametrize("written", ["", "2026", "20260229", "20260329023000", "2026112225", "x"])
def test_what_names_no_moment_has_none(written: str) -> None:
    assert time_span(written, BERLIN) is None


def test_a_time_without_offset_needs_a_declared_zone() -> None:
    assert time_span("20261122120530", None) is None
    assert time_span("20261122120530", zone_of("Asia/Kathmandu")) is not None
    with pytest.raises(InputError):
        zone_of("../../etc/passwd")


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader_of_times(text: str) -> None:
    span = time_span(text, BERLIN)
    assert span is None or span.earliest_ns <= span.latest_ns


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\v\x1c\x00"), max_size=80)


@given(pid3=FIELD, pid5=FIELD, pv1=FIELD, evn=FIELD)
def test_hostile_fields_are_refused_or_read_within_the_limits(
    pid3: str, pid5: str, pv1: str, evn: str
) -> None:
    try:
        found = event("A01", f"EVN|A01|{evn}", f"PID|1||{pid3}||{pid5}", f"PV1|1|I|{pv1}")
    except InputError:
        return
    for patient in found.patients:
        assert all(1 <= len(one.value) <= 64 for one in patient.ids)
        assert len(patient.name) <= 120


@pytest.mark.data
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="public data folder is absent")
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("ADT*.hl7")), ids=lambda p: p.stem)
def test_public_samples_are_read(path: Path) -> None:
    parsed = Message.parse(path.read_bytes())
    assert is_adt(parsed)
    found = read_adt(parsed, zone=BERLIN)
    assert found.patients[0].ids
    if parsed.get("PV1-3.3"):
        place = found.patients[0].place
        assert place is not None
        assert place.bed == parsed.get("PV1-3.3").strip()
