"""The pages keep their word: links resolve, indexes are whole, tables equal the program's."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from asepsis.core import errors
from asepsis.core.trust.identity import ARC, USAGES, Profile
from asepsis.hub.settings import Settings
from asepsis.hub.web.problems import status_of

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    + [page for folder in ("docs", "standard") for page in (ROOT / folder).rglob("*.md")]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
USAGE = re.compile(r"arc`(\.\d)`|`([\d.]+)`|(clientAuth|serverAuth|timeStamping)")
PATH = re.compile(r"\b(?:docs|standard|tests|src/asepsis|benchmarks)/[\w./*<>{},-]+")


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the relative links of a page: file and anchor."""
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            yield (page.parent / file if file else page), anchor


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_relative_link_resolves(page: Path) -> None:
    for file, anchor in links(page):
        assert file.exists(), file
        assert file.resolve().is_relative_to(ROOT), file
        if anchor:
            assert anchor in anchors(file), f"{file}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_file_of_the_repository_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for found in PATH.findall(text):
        name = found.rstrip(".,")
        if set(name) & set("*<{"):
            continue  # A pattern.
        assert (ROOT / name).exists() or (page.parent / name).exists(), name


def test_every_page_that_the_program_names_exists() -> None:
    for source in (ROOT / "src").rglob("*.py"):
        for name in re.findall(r"docs/[a-z/-]+\.md", source.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{source}: {name}"


@pytest.mark.parametrize("folder", ["reference", "howto", "adr"])
def test_an_index_lists_every_page(folder: str) -> None:
    index = ROOT / "docs" / folder / "README.md"
    listed = {file.resolve() for file, _ in links(index)}
    assert {p for p in index.parent.rglob("*.md") if p != index} <= listed


def test_every_page_is_reached_from_the_first_one() -> None:
    """Goal: no page that nobody finds."""
    found, open_ = {ROOT / "README.md"}, [ROOT / "README.md"]
    while open_:
        for file, _ in links(open_.pop()):
            page = file.resolve() / "README.md" if file.is_dir() else file.resolve()
            if page.suffix == ".md" and page.exists() and page not in found:
                found.add(page)
                open_.append(page)
    assert set(PAGES) <= found


def leaf_errors() -> list[type[errors.AsepsisError]]:
    found = [errors.AsepsisError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", leaf_errors(), ids=lambda kind: kind.code)
def test_the_page_of_an_error_names_its_status(kind: type[errors.AsepsisError]) -> None:
    """Goal: `docs/reference/errors` is the table of `hub/web/problems.py`."""
    page = (ROOT / f"docs/reference/errors/{kind.code}.md").read_text(encoding="utf-8")
    row = re.search(r"^\| As HTTP status, HL7 or exit code \| (.+) \|$", page, re.MULTILINE)
    assert row, kind
    status = status_of(kind("x"))
    statuses = [int(number) for number in re.findall(r"\b[45]\d\d\b", row[1])]
    assert statuses == ([] if status == 500 else [status]), kind
    if issubclass(kind, errors.TransientError):
        assert "Retry-After" in row[1]


def test_the_page_of_problems_is_the_table() -> None:
    page = (ROOT / "docs/reference/problems.md").read_text(encoding="utf-8")
    said: dict[str, int] = {}
    for names, codes, status in re.findall(
        r"^\| ([^|]+) \| (ASP[^|]+) \| (\d+) \|", page, re.MULTILINE
    ):
        for code in codes.split(", "):
            first, _, last = code.partition(" to ")
            for number in range(int(first[4:]), int((last or first)[4:]) + 1):
                said.setdefault(f"ASP-{number}", int(status))
        assert names.strip()
    real = {kind.code: status_of(kind("x")) for kind in leaf_errors()}
    assert said == {code: status for code, status in real.items() if status != 500}


def keys(kind: type, path: str = "") -> Iterator[str]:
    """Yield the path of every key of the configuration."""
    for field in msgspec.structs.fields(kind):
        name = f"{path}.{field.encode_name}" if path else field.encode_name
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from keys(field.type, name)
        else:
            yield name


def test_the_page_of_settings_names_every_key() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    for key in keys(Settings):
        section, _, name = key.rpartition(".")
        if section.startswith("journal.lanes"):
            section = "journal.lanes.<lane>"
        known = (f"`{section}.{name}`" if section else f"`{name}`", f"`.{section.split('.')[-1]}`")
        listener = section.startswith("listeners.")
        assert known[0] in rows or f"[[{key}]]" in rows or listener, key
        if listener:
            assert known[1] in rows or f"`{section}`" in rows, key


def test_the_standard_lists_the_usages_of_every_kind_of_certificate() -> None:
    page = (ROOT / "standard" / "frames.md").read_text(encoding="utf-8")
    section = page[page.index("## 9. Extended key usages") :].split("\n## ", 1)[0]
    assert ARC in section
    by_name = {"origin key": Profile.ORIGIN, "hub": Profile.SERVER}
    said: dict[Profile, set[str]] = {}
    rows = re.findall(r"^\| ([a-z ]+) \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)
    for kind, usages in rows:
        if kind != "kind":
            named = re.findall(
                r"arc`(\.\d)`|`([\d.]+)`|(clientAuth|serverAuth|timeStamping)", usages
            )
            profile = by_name.get(kind) or Profile(kind)
            said[profile] = {f"{ARC}{a}" if a else b or c for a, b, c in named}
    words = {
        "1.3.6.1.5.5.7.3.1": "serverAuth",
        "1.3.6.1.5.5.7.3.2": "clientAuth",
        "1.3.6.1.5.5.7.3.8": "timeStamping",
    }
    real = {
        profile: {words.get(usage.dotted_string, usage.dotted_string) for usage in usages}
        for profile, usages in USAGES.items()
    }
    assert said == real
