"""Every requirement of the standard is tried by the suite, or says why nobody can try it."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from asepsis.tools.conformance import unseen
from asepsis.tools.conformance.device_checks import DEVICE_CHECKS
from asepsis.tools.conformance.suite import HUB_CHECKS

STANDARD = Path(__file__).parents[2] / "standard" / "adp-1.md"
LEFT_OUT = tuple(name.removesuffix("*") for name in unseen.SECTIONS_LEFT_OUT)
REQUIREMENTS = {
    found
    for found in re.findall(r"\*\*(REQ-[A-Z]+-\d{3})\*\*", STANDARD.read_text("utf-8"))
    if not found.startswith(LEFT_OUT)
}
TRIED = {
    "hub": [check.requirement for check in HUB_CHECKS],
    "device": [check.requirement for check in DEVICE_CHECKS],
}
UNSEEN: dict[str, Mapping[str, str]] = {"hub": unseen.HUB, "device": unseen.DEVICE}


@pytest.mark.parametrize("subject", ["hub", "device"])
def test_every_requirement_stands_in_one_place(subject: str) -> None:
    tried, left = TRIED[subject], set(UNSEEN[subject])
    assert len(tried) == len(set(tried)), "one check for a requirement"
    assert not set(tried) & left
    assert REQUIREMENTS - set(tried) - left == set(), "neither tried nor explained"
    assert {*tried, *left} - REQUIREMENTS == set(), "not in the standard"


def test_every_check_says_what_it_looks_at() -> None:
    for check in (*HUB_CHECKS, *DEVICE_CHECKS):
        assert check.title.endswith("."), check.requirement
