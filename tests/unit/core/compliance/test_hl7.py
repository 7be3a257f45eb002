"""HL7 v2 against a profile: what is found and where; nothing true is held against a patient."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.compliance.fields import NAMES, name_of
from asepsis.core.compliance.hl7 import Hl7Judge
from asepsis.core.compliance.profile import BINDING, read_profile
from asepsis.core.compliance.verdict import Rule, Severity
from asepsis.core.wire.hl7 import Message

DATA = Path(__file__).parents[4].parent / "shared" / "data" / "hl7v2"
PROFILE = read_profile(
    b"""
format = 1
name = "acme-m3"
version = 1
interface = "hl7v2"
bytes_max = 4096
types = ["ORU^R01"]
[header]
versions = ["2.6"]
charsets = ["UNICODE UTF-8"]
senders = ["MON|ICU"]
[[required]]
at = "PID-3"
[[required]]
at = "OBX-18"
severity = "warn"
[[tables]]
at = "OBX-11"
values = ["R", "F"]
[[metrics]]
code = 147842
unit = "{beat}/min"
low = 0
high = 350
[[metrics]]
code = 150344
unit = "Cel"
low = 10
high = 50
"""
)
HR = b"147842^MDC_ECG_HEART_RATE^MDC"
TEMP = b"150344^MDC_TEMP^MDC"
BPM = b"264864^MDC_DIM_BEAT_PER_MIN^MDC"


def oru(
    code: bytes = HR, value: bytes = b"60", unit: bytes = BPM, *, pid: bytes = b"4711"
) -> bytes:
    return (
        b"MSH|^~\\&|MON|ICU|HUB|H|20261122120000+0000||ORU^R01^ORU_R01|1|P|2.6||||||UNICODE UTF-8\r"
        b"PID|||" + pid + b"\rOBR|1|||1\r"
        b"OBX|1|NM|" + code + b"|1.1.1|" + value + b"|" + unit + b"|||||R|||||||EI\r"
    )


def found(body: bytes) -> list[tuple[Rule, str]]:
    return [(f.rule, f.where) for f in Hl7Judge(PROFILE).body(body).findings]


def test_what_the_device_declares_is_verified() -> None:
    assert not Hl7Judge(PROFILE).body(oru()).findings


@pytest.mark.parametrize(
    ("body", "rule", "where"),
    [
        (oru(unit=b"266418^MDC_DIM_MILLI_VOLT^MDC"), Rule.UNIT, "OBX[1]-6"),
        (oru(unit=b"mm[Hg]^^UCUM"), Rule.UNIT, "OBX[1]-6"),
        (oru(value=b"351"), Rule.RANGE, "OBX[1]-5"),
        (oru(value=b"1e400"), Rule.RANGE, "OBX[1]-5"),
        (oru(value=b"12O"), Rule.RANGE, "OBX[1]-5"),
        (oru(TEMP, b"140", b"[degF]^^UCUM"), Rule.RANGE, "OBX[1]-5"),
        (oru(pid=b""), Rule.REQUIRED, "PID-3"),
        (oru(pid=b"^^^"), Rule.REQUIRED, "PID-3"),
        (
            oru().replace(b"||||||R|", b"||||||X|").replace(b"|||||R|||", b"|||||X|||"),
            Rule.TABLE,
            "OBX-11",
        ),
        (oru().replace(b"EI\r", b"\r"), Rule.REQUIRED, "OBX-18"),
        (oru().replace(b"|2.6|", b"|2.3|"), Rule.VERSION, "MSH-12"),
        (oru().replace(b"|MON|", b"|EVE|"), Rule.IDENTITY, "MSH-3"),
        (oru().replace(b"ORU^R01^ORU_R01", b"ADT^A40"), Rule.MESSAGE_TYPE, "MSH-9"),
        (oru().replace(b"UNICODE UTF-8", b"KLINGON"), Rule.CHARSET, "MSH-18"),
        (oru(b"150456^MDC_PULS_OXIM_SAT_O2^MDC", b"35", b"%^^UCUM"), Rule.METRIC, "OBX[1]-3"),
        (oru(b"8867-4^Heart rate^LN"), Rule.CODE, "OBX[1]-3"),
        (oru() + b"NTE|1||" + b"x" * 5_000 + b"\r", Rule.SIZE, ""),
        (b"hello", Rule.FRAMING, ""),
    ],
)
def test_each_rule_finds_its_own(body: bytes, rule: Rule, where: str) -> None:
    assert (rule, where) in found(body)


@pytest.mark.parametrize(
    ("code", "value", "unit"),
    [
        (HR, b"0", BPM),
        (TEMP, b"24.0", b"Cel^^UCUM"),
        (TEMP, b"75.2", b"[degF]^^UCUM"),
        (HR, b"", BPM),
    ],
)
def test_an_extreme_true_value_within_what_the_device_declares_is_verified(
    code: bytes, value: bytes, unit: bytes
) -> None:
    """Goal: a range is the device's, never the body's; another unit of one kind is no error."""
    assert not Hl7Judge(PROFILE).body(oru(code, value, unit)).findings


def test_only_identity_framing_and_size_are_refused() -> None:
    assert Hl7Judge(PROFILE).body(b"hello").blocked
    assert Hl7Judge(PROFILE).body(oru().replace(b"|MON|", b"|EVE|")).blocked
    verdict = Hl7Judge(PROFILE).body(oru(value=b"9999", unit=b"mm[Hg]^^UCUM", pid=b""))
    assert verdict.severity is Severity.QUARANTINE
    assert verdict.unverified
    assert "4711" not in " ".join(f.text() for f in verdict.findings)


@pytest.mark.parametrize(
    "body",
    [
        oru(),
        oru(value=b"9999", pid=b""),
        oru().replace(b"|MON|", b"|EVE|"),
        oru() + b"NTE|1||" + b"x" * 5_000 + b"\r",
    ],
)
def test_the_quick_look_on_the_way_in_refuses_exactly_what_the_whole_one_blocks(
    body: bytes,
) -> None:
    judge, message = Hl7Judge(PROFILE), Message.parse(body)
    assert judge.refusal(message).blocked is judge.body(body).blocked
    assert judge.form(message).blocked is judge.body(body).blocked


def test_a_finding_can_be_read_without_the_standard() -> None:
    assert name_of("OBX[3]-5") == "observation value"
    assert name_of("PID-3.4.1") == "patient identifier list"
    assert name_of("ZZZ-1") == ""
    assert all(path.count("-") == 1 for path in NAMES)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda b: oru() + b)))
def test_judging_never_raises(body: bytes) -> None:
    for profile in (BINDING, PROFILE):
        verdict = Hl7Judge(profile).body(body)
        assert not verdict.blocked or verdict.findings[0].rule in {
            Rule.FRAMING,
            Rule.SIZE,
            Rule.IDENTITY,
        }


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="public data folder is absent")
def test_real_messages_are_taken_without_a_profile_and_their_local_codes_are_only_told() -> None:
    """Goal: of the public messages none is held back by what everybody must say."""
    counts: Counter[str] = Counter()
    for file in sorted(DATA.glob("*.hl7")):
        verdict = Hl7Judge(BINDING).body(file.read_bytes())
        assert not verdict.unverified, file.name
        counts[verdict.severity.word if verdict.severity else "verified"] += 1
    assert counts == {"verified": 62, "warn": 43}
