"""Versions are ordered as dpkg orders them; ranges are judged, and what cannot be is undecided."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.tools.imagebuild.audit.versions import Verdict, compare, judge

PAIRS = [
    ("1.0", "1.0"),
    ("1.0", "1.0-1"),
    ("1.0~rc1", "1.0"),
    ("1.0~~", "1.0~"),
    ("3.0.22-1~deb12u2", "3.0.22-1"),
    ("3.0.9", "3.0.22"),
    ("1:1.2.13.dfsg-1", "9.9"),
    ("2.36-9+deb12u14", "2.36-9+deb12u9"),
    ("6.1.192-2", "6.1.99-1"),
    ("1.0a", "1.0+b"),
    ("1.2.3", "1.2.3.4"),
    ("0:1.1-1", "1.1-1"),
    ("1.0-0", "1.0"),
]
ALPHABET = "0123456789abz.+~"
VERSIONS = st.text(ALPHABET, min_size=1, max_size=12).map(lambda text: f"1{text}")


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_order_is_that_of_dpkg(one: str, other: str) -> None:
    wanted = {"lt": -1, "eq": 0, "gt": 1}
    for sign, order in wanted.items():
        command = ["dpkg", "--compare-versions", one, sign, other]
        holds = subprocess.run(command, check=False).returncode == 0
        assert holds == (compare(one, other) == order), (one, sign, other)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_it_is_an_order(one: str, two: str, three: str) -> None:
    assert compare(one, one) == 0
    assert compare(one, two) == -compare(two, one)
    if compare(one, two) <= 0 and compare(two, three) <= 0:
        assert compare(one, three) <= 0


@pytest.mark.parametrize(
    ("version", "written", "debian", "verdict"),
    [
        ("3.0.22-1~deb12u2", "vers:deb/<3.0.22-1", True, Verdict.INSIDE),
        ("3.0.22-1~deb12u2", "vers:deb/<3.0.22-1~deb12u2", True, Verdict.OUTSIDE),
        ("3.0.22-1", "vers:deb/>=1.0|<2.0|>=3.0|<3.1", True, Verdict.INSIDE),
        ("2.5-1", "vers:deb/>=1.0|<2.0|>=3.0|<3.1", True, Verdict.OUTSIDE),
        ("3.0.22-1", "vers:all/*", True, Verdict.INSIDE),
        ("3.0.22-1", "vers:generic/<4", True, Verdict.UNDECIDED),
        ("1.51", "< 1.52", False, Verdict.INSIDE),
        ("1.52", "< 1.52", False, Verdict.OUTSIDE),
        ("1.52", "<=1.52", False, Verdict.INSIDE),
        ("1.52", "1.52", False, Verdict.INSIDE),
        ("1.52", "1.51", False, Verdict.OUTSIDE),
        ("1.52", "1.51|1.52", False, Verdict.INSIDE),
        ("1.52", ">=1.0", False, Verdict.INSIDE),
        ("1.52", "!=1.52|>=1.0", False, Verdict.OUTSIDE),
        ("1.52", "Rev J-M", False, Verdict.UNDECIDED),
        ("unknown", "< 2", False, Verdict.UNDECIDED),
    ],
)
def test_a_range_is_judged(version: str, written: str, debian: bool, verdict: Verdict) -> None:  # noqa: FBT001
    assert judge(version, written, debian=debian) is verdict


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_that_is_written_stops_the_audit(version: str, written: str) -> None:
    assert judge(version, written, debian=True) in Verdict
    assert judge(version, written, debian=False) in Verdict
