"""Routes: what is taken, what each step does, what is refused; nothing is lost or confused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.mapping.route import OnRefused, Origin, Route, routes_of
from asepsis.core.mapping.route_document import read_csv, read_routes
from asepsis.core.mapping.route_draft import Draft, target_of
from asepsis.core.wire.hl7 import Message

ADT = (
    b"MSH|^~\\&|HIS|ICU|GW|HOSP|20261122100000||ADT^A01^ADT_A01|77|P|2.6\r"
    b"EVN||20261122100000\r"
    b"PID|1||4711^^^OLD&1.2.3&ISO^MR~99^^^NAT^SS||DOE^JANE||19700101|F\r"
    b"PV1||I|ICU^1^2\r"
)
ORU = (
    b"MSH|^~\\&|MON|ICU|GW|HOSP|20261122100000||ORU^R01^ORU_R01|5|P|2.6\r"
    b"PID|||4711^^^OLD^MR\rPV1||I|ICU^1^2\r"
    b"ORC|RE|1\rOBR|1|A||X\rOBX|1|NM|HR^x||60\rOBX|2|NM|SPO2^y||97\r"
    b"OBR|2|B||Y\rOBX|1|NM|HR^x||61\rNTE|1||a note\r"
)
TABLE = b"code,loinc,name,\nHR,8867-4,Heart rate,\nSPO2,59408-5,Oxygen,\n"


def route(text: str, table: bytes = TABLE) -> Route:
    toml = f'[[routes]]\nname = "r"\nto = ["ehr"]\n{text}\n'
    return routes_of(read_routes(toml.encode(), read_table=lambda _: table))[0]


def step(text: str) -> Route:
    return route(f"[[routes.map]]\n{text}")


def result(text: str, data: bytes = ADT) -> Message:
    (body,) = step(text).transform(Message.parse(data))
    return Message.parse(body)


def test_a_route_without_steps_passes_every_byte() -> None:
    assert route("").transform(Message.parse(ADT)) == [ADT]


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ('types = ["ADT^A01"]', True),
        ('types = ["ADT^*"]', True),
        ('types = ["ADT^A08", "ORU^R01"]', False),
        ('sources = ["urn:uuid:1"]', True),
        ('sources = ["urn:uuid:2"]', False),
        ('peers = ["his"]', True),
        ('peers = ["other"]', False),
        ('where = [{ field = "PV1-3.1", any_of = ["ICU", "OR"] }]', True),
        ('where = [{ field = "PV1-3.1", none_of = ["ICU"] }]', False),
        ('where = [{ field = "PV1-44", present = false }]', True),
        ('where = [{ field = "PID-3", present = false }]', False),
        ('where = [{ field = "ZZZ-3", any_of = ["x"] }]', False),
    ],
)
def test_filter(text: str, taken: bool) -> None:  # noqa: FBT001 - a column of the table
    found = route(f"[routes.filter]\n{text}")
    message = Message.parse(ADT)
    assert found.takes(message, Origin("urn:uuid:1", "his")) is taken
    assert (found.refusal(message, Origin("urn:uuid:1", "his")) == "") is taken


def test_adt_stops_and_vitals_step_over_unless_the_route_says_otherwise() -> None:
    assert route("").on_refused("ADT") is OnRefused.STOP
    assert route("").on_refused("ORU") is OnRefused.STEP_OVER
    assert route('on_refused = "step-over"').on_refused("ADT") is OnRefused.STEP_OVER
    assert route('on_refused = "stop"').on_refused("ORU") is OnRefused.STOP


def test_set_escapes_what_would_be_a_delimiter() -> None:
    found = result('do = "set"\nfield = "PV1-3.1"\nvalue = "A|B^C\\\\D"')
    assert found.get("PV1-3.1") == "A|B^C\\D"
    assert found.get("PV1-3.2") == "1"


def test_set_reaches_fields_and_parts_that_are_not_there_yet() -> None:
    found = result('do = "set"\nfield = "PV1-19.4.2"\nvalue = "1.2.3"')
    assert found.raw("PV1-19") == b"^^^&1.2.3"
    assert found.get("MSH-6") == "HOSP"


def test_set_of_a_whole_field_leaves_no_other_repetition() -> None:
    """Goal: nobody removes an identifier and leaves the second one standing."""
    assert result('do = "set"\nfield = "PID-3"\nvalue = "1"').raw("PID-3") == b"1"
    assert result('do = "remove"\nfield = "PID-3"').raw("PID-3") == b""
    assert result('do = "set"\nfield = "PID-3[2].1"\nvalue = "1"').raw("PID-3") == (
        b"4711^^^OLD&1.2.3&ISO^MR~1^^^NAT^SS"
    )
    assert result('do = "remove"\nfield = "PID-3[*].1"').raw("PID-3") == (
        b"^^^OLD&1.2.3&ISO^MR~^^^NAT^SS"
    )


def test_copy() -> None:
    assert result('do = "copy"\nfrom = "PID-3[1].1"\nto = "PID-2"').raw("PID-2") == b"4711"
    assert result('do = "copy"\nfrom = "PID-3"\nto = "PID-4"').raw("PID-4") == (
        b"4711^^^OLD&1.2.3&ISO^MR~99^^^NAT^SS"
    )
    found = result('do = "copy"\nfrom = "OBX[*]-5"\nto = "OBX[*]-7"', ORU)
    assert found.columns("OBX", 7) == [(b"60", b"97", b"61")]


def test_remove_of_segments() -> None:
    assert b"NTE" not in result('do = "remove"\nsegment = "NTE"', ORU).names
    assert len(result('do = "remove"\nsegment = "OBX"', ORU).names) == 7


def test_code_table_translates_every_segment_with_further_columns() -> None:
    text = 'do = "table"\nfield = "OBX[*]-3.1"\nfile = "c.csv"\nkey = "code"\nto = "loinc"\n'
    found = result(text + 'also = { "OBX[*]-3.2" = "name" }', ORU)
    assert found.columns("OBX", 3) == [
        (b"8867-4^Heart rate", b"59408-5^Oxygen", b"8867-4^Heart rate")
    ]


@pytest.mark.parametrize(("missing", "left"), [("keep", b"SPO2^y"), ("clear", b"^y")])
def test_a_code_that_is_not_in_the_table(missing: str, left: bytes) -> None:
    text = 'do = "table"\nfield = "OBX[*]-3.1"\nfile = "c.csv"\nkey = "code"\nto = "loinc"\n'
    short = b"code,loinc\nHR,8867-4\n"
    found = route(f'[[routes.map]]\n{text}missing = "{missing}"', short)
    (body,) = found.transform(Message.parse(ORU))
    assert Message.parse(body).columns("OBX", 3)[0][1] == left
    with pytest.raises(InputError, match="not in"):
        route(f"[[routes.map]]\n{text}", short).transform(Message.parse(ORU))


def test_identifier_domain() -> None:
    text = 'do = "identifier-domain"\nfrom = "OLD"\nto = "NEW"\n'
    assert result(text).raw("PID-3") == b"4711^^^NEW^MR~99^^^NAT^SS"
    more = text + 'universal_id = "1.9"\nuniversal_id_type = "ISO"\ndrop_others = true'
    assert result(more).raw("PID-3") == b"4711^^^NEW&1.9&ISO^MR"
    by_oid = result('do = "identifier-domain"\nfrom = "1.2.3"\nto = "NEW"')
    assert by_oid.raw("PID-3") == b"4711^^^NEW^MR~99^^^NAT^SS"


def test_a_segment_of_ones_own() -> None:
    text = 'do = "add-segment"\nsegment = "ZVI"\nafter = "PID"\nvalues = { 1 = "a|b" }\n'
    found = result(text + 'copies = { 3 = "PV1-3" }')
    assert found.names == (b"MSH", b"EVN", b"PID", b"ZVI", b"PV1")
    assert found.get("ZVI-1") == "a|b"
    assert found.raw("ZVI-3") == b"ICU^1^2"


def test_split_by_order_keeps_every_segment_once() -> None:
    bodies = step('do = "split"').transform(Message.parse(ORU))
    first, second = map(Message.parse, bodies)
    assert first.names == (b"MSH", b"PID", b"PV1", b"ORC", b"OBR", b"OBX", b"OBX")
    assert second.names == (b"MSH", b"PID", b"PV1", b"OBR", b"OBX", b"NTE")
    assert (first.get("MSH-10"), second.get("MSH-10")) == ("5.1", "5.2")
    assert step('do = "split"').transform(Message.parse(ADT)) == [ADT]


def test_trace_names_every_change() -> None:
    traces, bodies = step('do = "set"\nfield = "MSH-5"\nvalue = "EHR"').trace(Message.parse(ADT))
    assert [(c.path, c.before, c.after) for c in traces[0].changes] == [("MSH-5", "GW", "EHR")]
    assert traces[0].step == "set"
    assert Message.parse(bodies[0]).get("MSH-5") == "EHR"


@pytest.mark.parametrize(
    "text",
    [
        'do = "set"\nfield = "MSH-2"\nvalue = "x"',
        'do = "set"\nfield = "MSH-18"\nvalue = "x"',
        'do = "set"\nfield = "PID-0"\nvalue = "x"',
        'do = "set"\nfield = "PID-99999"\nvalue = "x"',
        'do = "set"\nfield = "pid-3"\nvalue = "x"',
        'do = "script"\ncode = "import os"',
        'do = "set"\nfield = "PID-3"\nvalue = "x"\nmore = 1',
        'do = "copy"\nfrom = "OBX[*]-3"\nto = "OBX-4"',
        'do = "remove"',
        'do = "remove"\nsegment = "MSH"',
        'do = "remove"\nsegment = "OBX"\nfield = "OBX-1"',
        'do = "add-segment"\nsegment = "PID"\nvalues = { 1 = "x" }',
        'do = "add-segment"\nsegment = "ZZZ"',
        'do = "add-segment"\nsegment = "ZZZ"\nvalues = { x = "x" }',
        'do = "table"\nfield = "OBX-3"\nfile = "../c.csv"\nkey = "code"\nto = "loinc"',
        'do = "table"\nfield = "OBX-3"\nfile = "c.csv"\nkey = "absent"\nto = "loinc"',
        'do = "table"\nfield = "OBX-3"\nfile = "c.csv"\nkey = "code"\nto = "absent"',
        'do = "identifier-domain"\nfield = "PID-3.4"\nfrom = "A"\nto = "B"',
    ],
)
def test_what_a_file_may_not_say(text: str) -> None:
    with pytest.raises(InputError):
        step(text)


@pytest.mark.parametrize("text", ["[[routes]]\nname = 1", "nonsense", "[[routes]]", "x = 1"])
def test_a_file_that_is_none(text: str) -> None:
    with pytest.raises(InputError):
        read_routes(text.encode(), read_table=lambda _: b"")


@pytest.mark.parametrize("data", [b"\xff", b"code\na\na\n", b'code\n"a', b"code,x\na\n"])
def test_a_table_that_is_none(data: bytes) -> None:
    with pytest.raises(InputError):
        read_csv(data, key="code")


def test_text_that_the_character_set_cannot_write_is_refused() -> None:
    latin = ADT.replace(b"|2.6\r", b"|2.6||||||8859/1\r")
    with pytest.raises(InputError, match="cannot be written"):
        result('do = "set"\nfield = "PID-5.1"\nvalue = "李"', latin)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
PATHS = st.builds(
    "{}-{}{}{}".format,
    st.sampled_from(["PID", "OBX[*]", "OBX[2]", "PV1", "MSH", "ZZZ"]),
    st.integers(3, 17),
    st.sampled_from(["", "[1]", "[3]"]),
    st.sampled_from(["", ".1", ".4", ".2.3"]),
)


@given(path=PATHS, text=TEXT)
def test_what_is_written_is_read_back_and_nothing_else_changes(path: str, text: str) -> None:
    draft = Draft(Message.parse(ORU))
    target = target_of(path)
    count = draft.write(target, text)
    written = Message.parse(bytes(draft))
    assert written.names == Message.parse(ORU).names
    if count:
        assert Draft(written).read(target) == text
    changed = sum(a != b for a, b in zip(bytes(draft).split(b"\r"), ORU.split(b"\r"), strict=True))
    assert changed <= count


@given(st.binary(max_size=300))
def test_any_bytes_are_a_file_of_routes_or_refused(data: bytes) -> None:
    try:
        read_routes(data, read_table=lambda _: b"")
    except InputError:
        return


@given(values=st.lists(TEXT, min_size=1, max_size=5))
def test_split_loses_and_invents_nothing(values: list[str]) -> None:
    draft = Draft(Message.parse(ADT))
    for number, value in enumerate(values, 1):
        draft.segments += [[b"OBR", b"%d" % number], [b"OBX", b"1", b"ST", b"X", b"", b""]]
        draft.write(target_of(f"OBX[{number}]-5"), value)
    parts = step('do = "split"').transform(Message.parse(bytes(draft)))
    assert len(parts) == len(values)
    assert [Message.parse(part).get("OBX-5") for part in parts] == values
