"""Foreign text on every page: shown as text, isolated, and nothing of it runs or asks for anything.

The pages are those of the route table: a new page is visited without anybody remembering to.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import Watch, found
from console_ward import PASSWORD, ConsoleWard, Stay, Traffic, wait_for
from playwright.sync_api import BrowserContext, Page

from asepsis.hub.console.http import HANDLERS
from hospital import device_name

pytestmark = pytest.mark.slow

IMAGE = '<img src="https://evil.example/x.png" onerror="__ran()">'
REQUEST = '" hx-post=/sign-out hx-trigger=load autofocus onfocus="__ran()'
TURNED = "gpj.\u202eevil\u2066\u200b\u061c"
SCRIPT = "</td><script>__ran()</script>{{ 7 * 7 }}<svg onload=__ran()>"
TEXTS = (IMAGE, REQUEST, TURNED, SCRIPT)
MODELS = {number: f"{text} {number}" for number, text in enumerate(TEXTS, 1)}
VISITOR = f"visitor {IMAGE}"[:100]
ROLES = ["clinician", "clinical-engineer", "security", "administrator"]


def hl7(text: str) -> str:
    """Return a text as a field of a message holds it.

    Source: HL7 v2 chapter 2, section 2.7.
    """
    marks = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
    return "".join(marks.get(char, char) for char in text)


LOOK = r"""() => {
  const found = [];
  const made = document.querySelectorAll(
    'img[src*="evil"], script:not([src]), [hx-post], [onerror], [onload], [onfocus], svg[onload]');
  if (made.length) found.push(`made: ${made[0].outerHTML}`);
  if (/[\u202a-\u202e\u2066-\u2069\u200b\u061c]/.test(document.documentElement.outerHTML))
    found.push("a hidden character");
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let shown = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!/evil|__ran/.test(node.textContent)) continue;
    shown += 1;
    let element = node.parentElement;
    // An element of its own line is a paragraph of its own: nothing beside it can be turned.
    const alone = (e) => !/^inline$|^inline /.test(getComputedStyle(e).display)
      && e.textContent.trim() === node.textContent.trim();
    while (element && !alone(element)
        && !/isolate-override|plaintext/.test(getComputedStyle(element).unicodeBidi)
        && element.localName !== "bdi")
      element = element.parentElement;
    if (!element) found.push(`not isolated: ${node.textContent}`);
  }
  return {found, shown};
}"""


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWard]:
    """Return a ward in which every foreign text is an attack."""
    made = ConsoleWard(tmp_path_factory.mktemp("hostile"), models=MODELS)
    try:
        made.add_person(VISITOR, ROLES)
        for number, text in enumerate(TEXTS, 1):
            made.admit(Stay(f"N{number}", text, f"given {text}", "19700101", str(number)))
            made.place(number, str(number))
        made.add_chart()
        for number, text in enumerate(TEXTS):
            made.measure_for_nobody(hl7(text), number=f"N{number}")
        made.say_alarms(4, TEXTS)
        with Traffic([made.bed(number) for number in (1, 2, 3)]) as running:
            yield made
            assert running.failed is None
    finally:
        made.close()


@pytest.fixture(scope="module")
def associations(ward: ConsoleWard) -> list[str]:
    """Return the ids of what the admissions propose."""
    client = ward.sign_in("clara")

    def look() -> list[str]:
        page = client.get("/associations").text
        ids = sorted(set(re.findall(r'href="/associations/([0-9a-f-]{36})"', page)))
        return ids if len(ids) == len(TEXTS) else []

    return wait_for(look, what="the proposals")


@pytest.fixture(scope="module")
def letters(ward: ConsoleWard) -> list[str]:
    """Return the numbers of the dead letters."""
    return [str(number) for number in ward.letters(ward.sign_in(VISITOR), len(TEXTS))]


def addresses(associations: list[str], letters: list[str]) -> list[str]:
    """Return every address of the route table that a browser can open, parameters filled in."""
    values = {
        "{name:str}": [quote(device_name(number), safe="") for number in MODELS],
        "{id:str}": associations,
        "{letter:str}": letters,
        "{sha256:str}": ["ab" * 32],
    }
    found: list[str] = []
    for handler in HANDLERS:
        methods = getattr(handler, "http_methods", frozenset())
        for path in getattr(handler, "paths", ()) if "GET" in methods else ():
            parameter = re.search(r"\{[^}]*\}", path)
            if parameter is None:
                found.append(path)
            else:
                found += [path.replace(parameter[0], each) for each in values[parameter[0]]]
    hostile = quote(IMAGE, safe="")
    return [
        *found,
        f"/devices?find={hostile}",
        f"/sign-in?next={hostile}",
        f"/nothing/{quote('<img>', safe='')}",
        f"/devices/{hostile}",
        f"/campaigns/{hostile}",
        f"/evidence?about={hostile}",
        "/",
    ]


def test_no_page_lets_foreign_text_act(
    ward: ConsoleWard,
    context: BrowserContext,
    watch: Watch,
    associations: list[str],
    letters: list[str],
) -> None:
    context.set_extra_http_headers({"User-Agent": f"agent {IMAGE} {REQUEST}"})
    page = context.new_page()
    page.goto(f"{ward.base}/sign-in")
    page.get_by_label("Name").fill(VISITOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{ward.base}/ward")
    watch.attach(page)
    shown: dict[str, int] = {}
    for address in addresses(associations, letters):
        shown[address] = visit(page, ward.base + address)
    assert watch.foreign == []
    assert watch.dialogs == []
    assert [each for each in watch.requests if not each.startswith("GET ")] == []
    assert [each for each in watch.errors if "Failed to load resource" not in each] == []
    for path in ("/ward", "/devices", "/associations", "/audit", "/account", "/status"):
        assert shown[path] > 0 or path == "/status", f"{path} shows none of the hostile texts"
    for number in letters:
        assert shown[f"/dead-letters/{number}"] > 0, f"{number} shows none of the hostile texts"


def visit(page: Page, address: str) -> int:
    """Open a page, wait for its live part, and judge it; return how many foreign texts it shows."""
    page.goto(address)
    page.wait_for_timeout(900 if "/ward" in address else 150)
    seen = page.evaluate(LOOK)
    assert seen["found"] == [], address
    assert found(page) == [], address
    return seen["shown"]


def test_hidden_characters_are_shown(ward: ConsoleWard, associations: list[str]) -> None:
    """Goal: a name that turns itself around looks like one."""
    client = ward.sign_in("clara", agent="x")
    for path in ("/devices", "/associations"):
        assert "gpj.[U+202E]evil[U+2066][U+200B][U+061C]" in client.get(path).text
    assert associations


def test_renewed_parts_are_as_safe_as_pages(
    ward: ConsoleWard, context: BrowserContext, watch: Watch, associations: list[str]
) -> None:
    """Goal: what htmx puts in is text too; it comes at least twice."""
    page = context.new_page()
    page.goto(f"{ward.base}/sign-in?next=/associations")
    page.get_by_label("Name").fill(VISITOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{ward.base}/associations")
    watch.attach(page)
    page.wait_for_timeout(7_500)
    renewals = [each for each in watch.requests if each.endswith("/associations")]
    assert len(renewals) >= 2
    assert page.evaluate(LOOK)["found"] == []
    assert (found(page), watch.foreign, watch.errors) == ([], [], [])
    assert page.locator("main").inner_text().count("evil.example") >= len(associations) / 2


def test_templates_print_nothing_unescaped() -> None:
    """Goal: no filter or tag turns escaping off, and no attribute stands without quotes."""
    folder = Path(__file__).parents[3] / "src/asepsis/hub/console/templates"
    for path in folder.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|\bstyle=|<style|\son[a-z]+=", text), path.name
        assert not re.search(r"\s[\w-]+=\{", text), path.name
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path.name
        assert not re.search(r"https?://", text), path.name
