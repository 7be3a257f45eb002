"""A manifest is read strictly: every mistake is told with file, line and the nearest right name."""

import json
import re
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from asepsis.core.errors import ConfigError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import Criticality, Manifest, Rung, Zone
from asepsis.core.model.manifest_lines import locate
from asepsis.core.model.manifest_toml import MANIFEST_BYTES_MAX, read_manifest
from asepsis.core.model.syscall_class import SyscallClass

ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "standard/schemas/manifest.json").read_text("utf-8"))
SHIPPED = (ROOT / "src/asepsis/edge/device/monitor.toml").read_text("utf-8")


def refusal(text: str | bytes) -> ConfigError:
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        read_manifest(raw, name="m.toml")
    return caught.value


def test_the_shipped_manifest_says_what_a_device_has(shipped: Manifest) -> None:
    assert list(shipped.compartments) == [
        "vitals",
        "origin",
        "network",
        "timekeeper",
        "attester",
    ]
    vitals = shipped.compartments["vitals"]
    assert vitals.criticality is Criticality.CRITICAL
    assert vitals.syscalls is SyscallClass.CORE
    assert vitals.zone is Zone.NONE
    assert not vitals.outward
    assert vitals.update.rung is Rung.RESTART
    assert ClinicalState.IN_USE not in vitals.update.when
    assert shipped.critical == (vitals,)
    assert shipped.lines["time"].bytes_max == 20


BAD = {
    "unknown key": ('syscalls = "core"', 'sysclls = "core"', 'did you mean "syscalls"?'),
    "unknown table": ("[ring.vitals]", "[rings.vitals]", 'did you mean "ring"?'),
    "unknown ring": ('reads = ["signed"]', 'reads = ["sinned"]', 'did you mean "signed"?'),
    "unknown word": ('criticality = "critical"', 'criticality = "crit"', '"critical"?'),
    "unknown state": ('"standby"', '"standing-by"', 'did you mean "standby"?'),
    "too large": ("memory_mib = 384", "memory_mib = 999999", ""),
    "not a number": ("silence_s = 3.0", "silence_s = nan", ""),
    "a flag as number": ("channels = 8", "channels = true", ""),
    "a number as text": ("user = 62201", 'user = "62201"', ""),
    "a fraction": ("user = 62201", "user = 62201.5", ""),
    "a text as flag": ("folder = true", 'folder = "yes"', ""),
    "no list": ('writes = ["vitals"]', 'writes = "vitals"', ""),
    "twice": ('writes = ["vitals"]', 'writes = ["vitals", "vitals"]', ""),
    "too many": ("self_tests = [", "self_tests = [" + "".join(f'"t{n}",' for n in range(17)), ""),
    "no table": ("update = {", "update = 5 #", ""),
    "a bad name": ("[ring.vitals]", '[ring."../x"]', ""),
    "a long name": ("[ring.vitals]", f"[ring.{'x' * 25}]", ""),
    "a reserved name": ("[compartment.vitals]", "[compartment.supervisor]", ""),
    "the kernel's name": ("[compartment.vitals]", "[compartment.kernel]", ""),
    "a control character": ('text = "The key', 'text = "\\u0007The key', ""),
    "an empty text": ('text = "The key of the origin signature."', 'text = ""', ""),
    "a path upwards": ('path = "origin.key"', 'path = "../origin.key"', ""),
    "code that is no module": ('"asepsis.edge.device.vitals"', '"os; import x"', ""),
    "another format": ("format = 1", "format = 2", ""),
    "a true format": ("format = 1", "format = true", ""),
    "no version": ("version = 1\n", "", ""),
    "a broker without endpoints": ('endpoints = ["enrolment"]', "", ""),
    "endpoints without a broker": ('zone = "broker"', 'zone = "none"', ""),
    "a network in class core": ('syscalls = "network"', 'syscalls = "core"', "network"),
    "listening without ports": ('syscalls = "network"', 'syscalls = "listening"', ""),
    "a service zone without ports": ('zone = "broker"', 'zone = "service"', ""),
    "a folder in class core": ('handed = ["recording", "operator-key"]', "folder = true", ""),
    "keeping nowhere": ("folder = true", "folder = false", ""),
    "real time without memory": ("lock_memory = true", "lock_memory = false", ""),
    "unused": ('handed = ["recording", "operator-key"]', 'handed = ["operator-key"]', ""),
    "a port of none": ('handed = ["recording", "operator-key"]', "ports = [0]", ""),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_told_with_file_and_line(case: str) -> None:
    good, bad, hint = BAD[case]
    assert good in SHIPPED
    spoilt = SHIPPED.replace(good, bad, 1)
    error = refusal(spoilt)
    place = re.match(r"m\.toml:(\d+): ", str(error))
    assert place, str(error)
    assert hint in error.hint
    line = int(place.group(1))
    if case not in {"no version", "unused"}:
        at = SHIPPED[: SHIPPED.index(good)].count("\n") + 1
        # A contradiction may be told at the table of what contradicts.
        assert abs(line - at) <= 8, f"{line} is not near {at}: {error}"


def test_a_request_to_nobody_is_told() -> None:
    table = (
        '[request.limit]\ntext = "x"\nto = "vital"\nper_minute_max = 6\nconfirmed_by = "bedside"\n'
    )
    spoilt = SHIPPED.replace('says = ["time"]', 'says = ["time"]\nrequests = ["limit"]') + table
    error = refusal(spoilt)
    assert "request.limit.to" in str(error)
    assert error.hint == 'did you mean "vitals"?'


@pytest.mark.parametrize(
    "raw",
    [
        b"x" * (MANIFEST_BYTES_MAX + 1),
        b"\xff\xfe",
        b"format = ",
        b"format = " + b"9" * 5_000,
        b"a=" + b"[" * 20_000,
        b"",
        b"format = 1",
        b'compartment = 5\nformat = 1\ndevice = "d"\nversion = 1\ntext = "x"',
        b'format = 1\ndevice = "d"\nversion = 1\ntext = "x"\n[compartment]',
    ],
    ids=["size", "utf-8", "toml", "digits", "deep", "empty", "head", "no table", "none"],
)
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    assert str(refusal(raw)).startswith("m.toml")


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_refused_and_nothing_else(raw: bytes) -> None:
    refusal(raw)


@given(at=st.integers(0, len(SHIPPED) - 1), put=st.sampled_from(list("x=[]{}\"'#\n.\\0-")))
@settings(max_examples=150, deadline=None)
def test_one_wrong_character_is_read_or_refused(at: int, put: str) -> None:
    with suppress(ConfigError):
        read_manifest((SHIPPED[:at] + put + SHIPPED[at + 1 :]).encode())


def test_every_key_has_its_line() -> None:
    text = (
        'a = """\n[no.table]\nx = 1\n"""  # one\n\n[ t . "b c" ]\n'
        "list = [ # [\n 1,\n 2 ]\n'q.r' = 1\nc.d = { e = '''\n''' }\n[[many]]\nf = ']'\n"
    )
    tomllib.loads(text)
    assert locate(text) == {
        "a": 1, "t.b c": 6, "t.b c.list": 7, "t.b c.q.r": 10, "t.b c.c.d": 11,
        "many": 13, "many.f": 14,
    }  # fmt: skip


def test_the_schema_takes_the_shipped_manifest_and_refuses_unknown_keys() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    schema = Draft202012Validator(SCHEMA)
    document = tomllib.loads(SHIPPED)
    schema.validate(document)
    document["compartment"]["vitals"]["sysclls"] = "core"
    assert not schema.is_valid(document)


SPOILT_BY_SCHEMA = [
    case
    for case in BAD
    if case
    not in {
        "unknown ring", "a broker without endpoints", "endpoints without a broker",
        "a network in class core", "listening without ports", "a folder in class core",
        "a service zone without ports",
        "keeping nowhere", "real time without memory", "unused", "a control character",
        "no table", "not a number",
    }
]  # fmt: skip
"""Contradictions between keys are told by the reader; the schema speaks of single keys."""


@pytest.mark.parametrize("case", SPOILT_BY_SCHEMA)
def test_the_schema_refuses_the_same_single_mistakes(case: str) -> None:
    good, bad, _ = BAD[case]
    document = tomllib.loads(SHIPPED.replace(good, bad, 1))
    assert not Draft202012Validator(SCHEMA).is_valid(document)
