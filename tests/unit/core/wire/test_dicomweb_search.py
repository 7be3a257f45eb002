"""Searches of QIDO-RS: what a query says, and what matches it."""

from typing import Any

import pytest

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.dicomweb_search import Level, matches, parse

OBJECT: dict[str, Any] = {
    "00080020": {"vr": "DA", "Value": ["20261122"]},
    "00080030": {"vr": "TM", "Value": ["101500.25"]},
    "00080018": {"vr": "UI", "Value": ["1.2.3"]},
    "00080090": {"vr": "PN"},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Taro", "Ideographic": "山田^太郎"}]},
    "00100020": {"vr": "LO", "Value": ["A[1]"]},
    "00200011": {"vr": "IS", "Value": [7]},
    "00400275": {"vr": "SQ", "Value": [{"00401001": {"vr": "SH", "Value": ["RP1"]}}]},
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("PatientName=YAMADA*", True),
        ("PatientName=*太郎", True),
        ("PatientName=Yamada", False),
        ("PatientName=Yamada?Taro", True),
        ("PatientID=A[1]", True),
        ("PatientID=A[*", True),
        ("PatientID=a[1]", False),
        ("StudyDate=20261101-20261130", True),
        ("StudyDate=20261123-", False),
        ("StudyDate=-20261122", True),
        ("StudyTime=1015-1016", True),
        ("StudyTime=-1014", False),
        ("SOPInstanceUID=1.2.4,1.2.3", True),
        ("SOPInstanceUID=1.2.4\\1.2.5", False),
        ("SeriesNumber=7", True),
        ("RequestAttributesSequence.RequestedProcedureID=RP?", True),
        ("00400275.00401001=RP2", False),
        ("ReferringPhysicianName=x", False),
        ("ReferringPhysicianName=", True),
        ("ModalitiesInStudy=CT", True),
    ],
)
def test_matching(query: str, *, found: bool) -> None:
    text = query.encode("utf-8").decode("latin-1")
    raw = "".join(c if c.isascii() else f"%{ord(c):02X}" for c in text).encode()
    assert matches(OBJECT, parse(raw, Level.INSTANCE, within={})) is found


def test_a_query_is_read() -> None:
    search = parse(
        b"00100020=X&limit=5&offset=7&includefield=all&fuzzymatching=true",
        Level.STUDY,
        within={"0020000D": "1.2"},
    )
    assert (search.limit, search.offset, search.fuzzy) == (5, 7, True)
    assert search.exact("00100020") == ("X",)
    assert search.exact("0020000D") == ["1.2"]
    assert parse(b"limit=99999", Level.STUDY, within={}).limit == 1_000
    assert parse(b"PatientID=X*", Level.STUDY, within={}).exact("00100020") == ()
    assert parse(b"StudyDate=20260101-", Level.STUDY, within={}).date_range() == ("20260101", "")
    assert parse(b"StudyDate=20260101", Level.STUDY, within={}).date_range() == ("20260101",) * 2


@pytest.mark.parametrize(
    "query",
    [
        b"Modality=CT",
        b"PixelData=1",
        b"limit=-1",
        b"offset=x",
        b"StudyInstanceUID=1.2*",
        b"StudyDate=yesterday",
        b"PatientName=%ff",
        b"RequestAttributesSequence=1",
        b"a=1&" * 65,
    ],
)
def test_what_is_not_searched_is_refused(query: bytes) -> None:
    with pytest.raises(InputError):
        parse(query, Level.STUDY, within={})


def test_long_values_and_lists_are_refused() -> None:
    with pytest.raises(LimitExceeded):
        parse(b"PatientID=" + b"x" * 5_000, Level.STUDY, within={})
    with pytest.raises(LimitExceeded):
        parse(b"StudyInstanceUID=" + b"1," * 300, Level.STUDY, within={})
