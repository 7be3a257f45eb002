"""Hostile manifests: each is refused with its line, or everything generated from it is whole."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asepsis.core.errors import ConfigError
from asepsis.core.model.manifest_claims import breaches
from asepsis.core.model.manifest_toml import ManifestFile, read_manifest
from asepsis.edge.device.manifest import SHIPPED
from asepsis.edge.sandbox.generate.artefacts import artefacts

TEXT = SHIPPED.read_text("utf-8")
DOCUMENT: dict[str, Any] = tomllib.loads(TEXT)
STATE = Path("/var/lib/asepsis")
WORDS = (
    "vitals", "network", "signed", "time", "clinical", "core", "listening", "broker", "critical",
    "expendable", "bedside", "nothing", "in-use", "image", "supervisor", "kernel", "../x", "a.b",
    "%n", "$(id)", "x\ny", "(allow a b (c (d)))", "{{x}}", "\u202e", "-", "--", "x" * 25, "",
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.lists(st.sampled_from(WORDS), max_size=20),
    st.dictionaries(st.sampled_from(WORDS), st.integers(0, 3), max_size=3),
)


def places(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of every key, tables before what is in them."""
    found: list[tuple[str, ...]] = []
    for key, value in table.items():
        found.append((*path, key))
        if isinstance(value, dict):
            found += places(cast("Mapping[str, Any]", value), (*path, key))
    return found


PLACES = places(DOCUMENT)
CHANGES = st.tuples(
    st.sampled_from(PLACES), st.sampled_from(["put", "drop", "add", "twin"]), VALUES
)


def changed(changes: list[tuple[tuple[str, ...], str, Any]]) -> dict[str, Any]:
    """Return the shipped manifest with changes; one whose place is gone by then is left out."""
    document: dict[str, Any] = tomllib.loads(TEXT)
    for path, act, value in changes:
        inside: dict[str, Any] = document
        for key in path[:-1]:
            inner = inside.get(key)
            inside = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
        if path[-1] not in inside:
            continue
        if act == "drop":
            del inside[path[-1]]
        elif act == "twin":
            inside["twin"] = inside[path[-1]]
        else:
            inside[path[-1] if act == "put" else "extra"] = value
    return document


def written(value: Any) -> str:
    """Return a value as TOML writes it within a line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = "".join(f"\\u{ord(c):04x}" if not c.isalnum() else c for c in value)
        return f'"{plain}"'
    if isinstance(value, list):
        return f"[{', '.join(map(written, cast('list[Any]', value)))}]"
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return f"{{ {', '.join(f'{written(k)} = {written(v)}' for k, v in pairs)} }}"
    return repr(value)


def toml(document: Mapping[str, Any]) -> str:
    """Return a document as TOML, one key a line, so that a line names a mistake."""
    lines = [f"{written(k)} = {written(v)}" for k, v in document.items() if not tables(v)]
    for kind, named in document.items():
        if tables(named):
            for name, table in named.items():
                lines.append(f"[{written(kind)}.{written(name)}]")
                lines += [f"{written(k)} = {written(v)}" for k, v in table.items()]
    return "\n".join(lines) + "\n"


def tables(value: Any) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(inner, dict) for inner in cast("dict[str, Any]", value).values())


@given(st.lists(CHANGES, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_is_refused_with_its_line_or_generates_whole_files(
    changes: list[tuple[tuple[str, ...], str, Any]],
) -> None:
    text = toml(changed(changes))
    assert tomllib.loads(text) is not None
    file, refused = read(text)
    if file is None:
        place = re.match(r"m\.toml:(\d+): ", refused)
        assert place, refused
        assert 1 <= int(place[1]) <= text.count("\n") + 1
        assert "\n" not in refused
        assert len(refused) < 600
        return
    breaches(file.manifest)
    whole(artefacts(file.manifest, state=STATE))


def read(text: str) -> tuple[ManifestFile | None, str]:
    """Return what was read, or the words of the refusal."""
    try:
        return read_manifest(text.encode(), name="m.toml"), ""
    except ConfigError as error:
        return None, str(error)


def whole(files: Mapping[str, str]) -> None:
    """See that no generated file was broken open by what stands in a manifest."""
    policy = files["selinux/device.cil"]
    bare = re.sub(r";.*|\"[^\"\n]*\"", "", policy)
    assert bare.count("(") == bare.count(")")
    (unit,) = (text for name, text in files.items() if name.startswith("systemd/"))
    for line in unit.splitlines():
        assert not line or line[0] in "[#" or re.match(r"[A-Z][A-Za-z]+=", line), line
    assert unit.count("ExecStart=") == 1
    assert all(re.fullmatch(r"[a-z]+/[a-z0-9.-]+", name) for name in files if "/" in name)


@given(
    st.text(
        st.characters(exclude_categories=("C", "Z")).filter(str.isprintable),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=60, deadline=None)
def test_words_for_people_change_no_rule(words: str) -> None:
    """Goal: a text is a text: not a line of the unit, a rule of the policy or a specifier."""
    document: dict[str, Any] = tomllib.loads(TEXT)
    document["text"] = words
    document["compartment"]["network"]["text"] = words
    made = artefacts(read_manifest(toml(document).encode()).manifest, state=STATE)
    whole(made)
    same = artefacts(read_manifest(TEXT.encode()).manifest, state=STATE)
    assert made["selinux/device.cil"] == same["selinux/device.cil"]
    unit = next(name for name in made if name.startswith("systemd/"))
    differing = [line for line in made[unit].splitlines() if line not in same[unit].splitlines()]
    assert all(line.startswith("Description=") for line in differing)
    assert not re.search(r"(?<!%)%(%%)*(?!%)", "".join(differing))


CONTRADICTIONS = {
    "two writers of a ring": ("origin", "writes", ["vitals"]),
    "two of one user": ("origin", "user", 62_201),
    "critical with a way out": ("vitals", "zone", "broker"),
    "secret with a way out": ("network", "handed", ["origin-key"]),
    "critical behind the network": ("vitals", "reads", ["signed"]),
    "critical replaced on a patient": (
        "vitals",
        "update",
        {"rung": "restart", "when": ["in-use"]},
    ),
    "a line to itself": ("timekeeper", "hears", ["time"]),
    "as the supervisor": ("vitals", "user", 0),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_told(case: str) -> None:
    """Goal: by its line if it is a mistake, by the claim's id if it would harm a patient."""
    name, key, value = CONTRADICTIONS[case]
    document: dict[str, Any] = tomllib.loads(TEXT)
    document["compartment"][name][key] = value
    text = toml(document)
    file, refused = read(text)
    if file is None:
        assert re.match(r"m\.toml:\d+: ", refused), refused
        return
    told = breaches(file.manifest)
    assert told, "nobody was told"
    assert all(re.fullmatch(r"m\.toml:\d+", file.where(one.path)) for one in told)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"format = 1\nversion = \n", 2),
        (b"format = 1\nformat = 1\n", 2),
        (b"format = 1\n\n# \xff\n", 3),
        (b'format = 1\ntext = "', 2),
        (b"format = 1\n[ring.a]\n[ring.a]\n", 3),
        (b"format = 1\r\r\n", 1),
    ],
    ids=["no-value", "twice", "utf-8", "open-text", "table-twice", "carriage-return"],
)
def test_what_is_no_toml_is_told_with_its_line(raw: bytes, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"^m\.toml:{line}: not TOML: "):
        read_manifest(raw, name="m.toml")
