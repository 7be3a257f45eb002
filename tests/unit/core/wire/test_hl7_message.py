"""Reading elements of a message: numbering, spans, absent parts, what is tolerated."""

import pytest

from asepsis.core.errors import InputError
from asepsis.core.wire.hl7 import _SHAPE_SEGMENTS_MAX, SHAPES_MAX, Message, MessageReader, Tolerated

HEAD = b"MSH|^~\\&|MON^0009^EUI-64|ICU|GW|HOSP|20261103101530||ORU^R01^ORU_R01|42|P|2.6|||NE|AL"
LINES = (
    HEAD,
    b"PID|||4711^^^HOSP&1.2.3&ISO^PI~0815^^^SSA^SS||Muster&von^Eva^^^Dr.||19600101|F",
    b"OBR|1",
    b"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.2.1|80|264864^MDC_DIM_BEAT_PER_MIN^MDC",
    b'OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.1.2.2|""||||||R|||2026||||^^00^EUI-64',
    b"ZZZ",
)
DATA = b"\r".join((*LINES, b""))


@pytest.mark.parametrize(
    ("path", "raw", "text"),
    [
        ("MSH-1", b"|", "|"),
        ("MSH-2", b"^~\\&", "^~\\&"),
        ("MSH-2.1", b"^~\\&", "^~\\&"),
        ("MSH-3", b"MON^0009^EUI-64", "MON"),
        ("MSH-3.3", b"EUI-64", "EUI-64"),
        ("MSH-10", b"42", "42"),
        ("MSH-99", b"", ""),
        ("PID-1", b"", ""),
        ("PID-3", b"4711^^^HOSP&1.2.3&ISO^PI~0815^^^SSA^SS", "4711"),
        ("PID-3[1]", b"4711^^^HOSP&1.2.3&ISO^PI", "4711"),
        ("PID-3[2]", b"0815^^^SSA^SS", "0815"),
        ("PID-3[2].5", b"SS", "SS"),
        ("PID-3[3].5", b"", ""),
        ("PID-3.4", b"HOSP&1.2.3&ISO", "HOSP"),
        ("PID-3.4.2", b"1.2.3", "1.2.3"),
        ("PID-3.4.4", b"", ""),
        ("PID-5.1", b"Muster&von", "Muster"),
        ("PID-5.1.2", b"von", "von"),
        ("PID-5.9", b"", ""),
        ("PID[2]-5.1", b"", ""),
        ("OBX-5", b"80", "80"),
        ("OBX[2]-5", b'""', '""'),
        ("OBX[2]-18.4", b"EUI-64", "EUI-64"),
        ("OBX[3]-5", b"", ""),
        ("ZZZ-1", b"", ""),
        ("PV1-3", b"", ""),
    ],
)
def test_a_path_names_an_element(path: str, raw: bytes, text: str) -> None:
    message = Message.parse(DATA)
    start, end = message.span(path)
    assert message.raw(path) == raw == message.body[start:end]
    assert message.get(path) == text


@pytest.mark.parametrize(
    "path",
    ["", "PID", "PID-", "PID-0", "pid-3", "PID-3.0", "PID[0]-3", "PID-3.1.1.1", "PID-3 ", "PID-३"],
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(InputError):
        Message.parse(DATA).get(path)


def test_columns_fill_absent_fields() -> None:
    message = Message.parse(DATA)
    assert message.columns("OBX", 5, 18, 99) == [
        (b"80", b'""'),
        (b"", b"^^00^EUI-64"),
        (b"", b""),
    ]
    assert message.columns("MSH", 1, 2, 10) == [(b"|",), (b"^~\\&",), (b"42",)]
    assert message.columns("PV1", 3, 4) == [(), ()]


def test_first_reads_one_segment() -> None:
    message = Message.parse(DATA)
    assert message.first("MSH", 1, 2, 10, 99) == (b"|", b"^~\\&", b"42", b"")
    assert message.first("OBX", 5, 18) == (b"80", b"")
    assert message.first("OBR", 1) == message.first("OBR", 1) == (b"1",)
    assert message.first("PV1", 3, 4) == (b"", b"")


def test_columns_are_the_same_at_every_reading() -> None:
    """Goal: more readings than a shape keeps plans for, each twice."""
    message = Message.parse(DATA)
    for field in range(1, 100):
        assert message.columns("OBX", field) == message.columns("OBX", field)
        assert message.columns("OBX", field)[0][0] == message.raw(f"OBX-{field}")
        assert message.first("OBX", field) == message.columns("OBX", field)[0][:1]
    assert message.columns("OBX") == []
    assert message.first("OBX") == ()


def test_segments_are_views() -> None:
    message = Message.parse(DATA)
    assert [segment.name for segment in message.segments()] == [
        "MSH", "PID", "OBR", "OBX", "OBX", "ZZZ",
    ]  # fmt: skip
    head, patient = list(message.segments())[:2]
    assert (len(head), len(patient), len(message)) == (16, 8, 6)
    assert head.raw(2) == b"^~\\&"
    assert head.text(2) == "^~\\&"
    assert patient.raw(3, repetition=2, component=4) == b"SSA"
    assert patient.text(5, component=2) == "Eva"
    assert patient.text(5, component=1, subcomponent=2) == "von"
    assert [segment.text(5) for segment in message.segments("OBX")] == ["80", '""']
    assert patient.raw(0) == patient.raw(-3) == b""


def test_repetitions() -> None:
    message = Message.parse(DATA)
    assert message.repetitions("PID-3") == [b"4711^^^HOSP&1.2.3&ISO^PI", b"0815^^^SSA^SS"]
    assert message.repetitions("PID-3[2].1") == message.repetitions("PID-3")
    assert message.repetitions("MSH-2") == [b"^~\\&"]
    assert message.repetitions("PID-1") == message.repetitions("PV1-3") == []


def test_header() -> None:
    header = Message.parse(DATA).header
    assert (header.sending_application, header.sending_facility) == ("MON", "ICU")
    assert (header.receiving_application, header.receiving_facility) == ("GW", "HOSP")
    assert (header.message_code, header.trigger_event, header.structure) == (
        "ORU", "R01", "ORU_R01",
    )  # fmt: skip
    assert (header.control_id, header.processing_id, header.version) == ("42", "P", "2.6")
    assert (header.accept_acknowledgement, header.application_acknowledgement) == ("NE", "AL")
    assert header.enhanced
    assert header.text(8) == ""
    assert header.raw(1) == b"|"
    assert header.raw(99) == b""


def test_bytes_are_canonical() -> None:
    assert bytes(Message.parse(DATA)) == DATA
    assert bytes(Message.parse(DATA.replace(b"\r", b"\n"))) == DATA


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (DATA, {}),
        (DATA[:-1], {Tolerated.NO_FINAL_RETURN: 1}),
        (DATA.replace(b"\r", b"\n"), {Tolerated.LINE_FEEDS: 6}),
        (DATA.replace(b"\r", b"\r\n"), {Tolerated.CARRIAGE_RETURN_LINE_FEEDS: 6}),
        (b"\xef\xbb\xbf" + DATA, {Tolerated.BYTE_ORDER_MARK: 1}),
        (DATA + b"\r\r", {Tolerated.EMPTY_SEGMENTS: 2}),
        (DATA.replace(b"\rOBR", b"\r\r\rOBR"), {Tolerated.EMPTY_SEGMENTS: 2}),
        (
            b"\xef\xbb\xbf" + DATA.replace(b"\r", b"\n\n")[:-2],
            {
                Tolerated.BYTE_ORDER_MARK: 1,
                Tolerated.LINE_FEEDS: 10,
                Tolerated.NO_FINAL_RETURN: 1,
                Tolerated.EMPTY_SEGMENTS: 5,
            },
        ),
    ],
)
def test_what_is_tolerated_is_told_and_changes_nothing(
    data: bytes, found: dict[Tolerated, int]
) -> None:
    reader = MessageReader()
    for _ in range(2):  # The second time the shape is known.
        message = reader.parse(data)
        assert {item.kind: item.count for item in message.tolerated} == found
        assert bytes(message) == DATA


def test_a_header_alone_is_a_message() -> None:
    reader = MessageReader()
    for control in (b"1", b"2"):
        message = reader.parse(b"MSH|^~\\&|||||||ACK|" + control + b"\r")
        assert message.get("MSH-10") == control.decode()
        assert len(message) == 1


def test_a_kept_shape_never_fits_another_message() -> None:
    """Goal: same number of fields and segments, other places: values must not slide."""
    reader = MessageReader()
    first = reader.parse(b"MSH|^~\\&|A\rPID|1|2|3\rOBX|4\r")
    second = reader.parse(b"MSH|^~\\&|A\rPID|1\rOBX|2|3|4\r")
    third = reader.parse(b"MSH|^~\\&|A\rPID|1|2|3\rOBR|4\r")
    assert (first.get("PID-3"), first.get("OBX-1")) == ("3", "4")
    assert (second.get("PID-3"), second.get("OBX-3")) == ("", "4")
    assert (third.get("OBX-1"), third.get("OBR-1")) == ("", "4")


def test_a_reader_keeps_a_bounded_number_of_shapes() -> None:
    reader = MessageReader()
    for width in range(3 * SHAPES_MAX):
        assert reader.parse(b"MSH|^~\\&|A\rPID" + b"|x" * width).get(f"PID-{width + 1}") == ""
    long = reader.parse(b"MSH|^~\\&|A\r" + b"OBX|1\r" * (_SHAPE_SEGMENTS_MAX + 1))
    assert len(long) == _SHAPE_SEGMENTS_MAX + 2
    assert len(reader._shapes) == SHAPES_MAX  # noqa: SLF001 - the bound is what is tested


def test_other_delimiters() -> None:
    message = Message.parse(b"MSH#*!$%@#A\rPID###1*2%3!4@5\r")
    assert message.delimiters.truncation == b"@"
    assert message.raw("PID-3.2.2") == b"3"
    assert message.raw("PID-3[2]") == b"4@5"


@pytest.mark.parametrize(("msh_2", "raw"), [(b"^~", b"a\\T\\b&c"), (b"^~\\", b"a\\T\\b&c")])
def test_trailing_delimiters_may_be_left_out(msh_2: bytes, raw: bytes) -> None:
    message = Message.parse(b"MSH|" + msh_2 + b"|A\rPID|a\\T\\b&c^d\r")
    assert message.raw("PID-1.1") == message.raw("PID-1.1.1") == raw
    assert message.raw("PID-1.1.2") == b""
    assert message.get("PID-1") == ("a\\T\\b&c" if len(msh_2) == 2 else "a&b&c")
