"""Profiles: read strictly, and never able to hide a patient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.compliance.profile import PROFILE_BYTES_MAX, Interface, read_profile
from asepsis.core.compliance.verdict import (
    BLOCKING,
    DEFAULTS,
    Finding,
    Rule,
    Severity,
    Verdict,
)
from asepsis.core.errors import InputError, LimitExceeded

HEAD = 'format = 1\nname = "acme-m3"\nversion = 2\ninterface = "hl7v2"\n'


def test_a_profile_says_what_it_judges() -> None:
    profile = read_profile(
        (
            HEAD + 'models = ["M3"]\n[severities]\nclock = "warn"\n[[required]]\nat = "PID-3"\n'
        ).encode()
    )
    assert profile.title == "acme-m3 v2"
    assert profile.interface is Interface.HL7V2
    assert profile.severity(Rule.CLOCK) is Severity.WARN
    assert profile.severity(Rule.RANGE) is DEFAULTS[Rule.RANGE]


@pytest.mark.parametrize("rule", sorted(set(Rule) - BLOCKING))
def test_no_rule_that_would_hide_a_patient_may_block(rule: Rule) -> None:
    with pytest.raises(InputError, match="may block"):
        read_profile((HEAD + f'[severities]\n{rule} = "block"\n').encode())


@pytest.mark.parametrize("table", ["required", "tables"])
def test_no_missing_field_and_no_unknown_word_may_block(table: str) -> None:
    values = 'values = ["A"]\n' if table == "tables" else ""
    with pytest.raises(InputError, match="may block"):
        read_profile((HEAD + f'[[{table}]]\nat = "PID-3"\n{values}severity = "block"\n').encode())


@pytest.mark.parametrize(
    ("rule", "word"), [("patient", "warn"), ("unit", "warn"), ("framing", "warn")]
)
def test_no_profile_lets_another_patient_or_quantity_into_a_chart(rule: str, word: str) -> None:
    with pytest.raises(InputError, match="weaker"):
        read_profile((HEAD + f'[severities]\n{rule} = "{word}"\n').encode())


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "surprise = 1\n",
        HEAD.replace("format = 1", "format = 2"),
        HEAD.replace("acme-m3", "../../etc/passwd"),
        HEAD.replace("hl7v2", "smoke"),
        HEAD + "bytes_max = 99999999999\n",
        HEAD + '[[metrics]]\ncode = 147842\nunit = "/min"\nlow = 9\nhigh = 1\n',
        HEAD + '[[metrics]]\ncode = 147842\nunit = "/min"\nlow = nan\n',
        HEAD + '[[metrics]]\ncode = 147842\nunit = "furlong"\nlow = 1\n',
        HEAD + "[[metrics]]\ncode = 147842\nlow = 1\n",
        HEAD + "[[metrics]]\ncode = 147842\n[[metrics]]\ncode = 147842\n",
        HEAD + '[[required]]\nat = "PID-3; DROP"\n',
        HEAD + '[[required]]\nat = "pid"\n',
        HEAD + '[severities]\nguesses = "warn"\n',
        HEAD + "[clock]\nskew_s_max = -1\n",
        HEAD + "[clock]\nskew_s_max = inf\n",
        "a = " + "[" * 5_000,
        "\x00",
        "format = 99999999999999999999999999",
    ],
)
def test_a_hostile_profile_is_refused_as_input(text: str) -> None:
    with pytest.raises(InputError):
        read_profile(text.encode())


def test_bytes_that_are_no_text_and_files_too_large_are_refused() -> None:
    with pytest.raises(InputError):
        read_profile(b"\xff\xfe")
    with pytest.raises(LimitExceeded):
        read_profile(b"#" * (PROFILE_BYTES_MAX + 1))


@given(st.binary(max_size=400))
def test_reading_raises_only_its_own_errors(data: bytes) -> None:
    with pytest.raises(InputError):
        read_profile(data)


findings = st.lists(
    st.builds(Finding, st.sampled_from(Rule), st.sampled_from(Severity), st.just("r"), st.just("")),
    max_size=100,
)


@given(findings, findings)
def test_a_verdict_is_monotone_in_its_findings(first: list[Finding], more: list[Finding]) -> None:
    """Goal: a further finding never makes a verdict weaker, whatever the limits leave out."""
    one, both = Verdict.of(first), Verdict.of(first).joined(Verdict.of(more))
    assert (both.severity or 0) >= (one.severity or 0)
    assert bool(both.unverified) >= bool(one.unverified)
    assert both.blocked >= one.blocked
    assert len(both.findings) + both.left_out == len(first) + len(more)
    assert (both.severity or 0) == max((f.severity for f in (*first, *more)), default=0)
