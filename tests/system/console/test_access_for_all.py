"""Pages for everybody: names and roles in the accessibility tree, landmarks, contrast."""

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from browser import open_context
from console_ward import PASSWORD, ConsoleWard, Stay, Traffic
from playwright.sync_api import Browser, Page

from hospital import device_name

pytestmark = pytest.mark.slow
DEVICE = f"/devices/{quote(device_name(1), safe='')}"
PATHS = (
    "/devices",
    DEVICE,
    f"{DEVICE}/revoke",
    "/associations",
    "/status",
    "/audit",
    "/account",
    "/dead-letters",
    "/dead-letters/1",
    "/releases",
    "/campaigns",
    "/evidence",
    "/evidence?about=enrol",
)
NAMED = {"button", "link", "textbox", "searchbox", "checkbox", "image", "meter", "region"}
CONTRAST_MIN, CONTRAST_LARGE_MIN = 4.5, 3.0
"""WCAG 2.2 success criterion 1.4.3."""

CONTRAST = r"""([least, leastLarge]) => {
  const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return rgba(getComputedStyle(document.documentElement).backgroundColor);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest(".sr-only, .skip, script")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgba(style.color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parse(style.fontSize)[0];
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? leastLarge : least))
      found.push(`${walker.currentNode.textContent.trim()}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def live(ward: ConsoleWard) -> Iterator[ConsoleWard]:
    """Return a ward in which something goes on."""
    ward.add_person("everything", ["clinician", "clinical-engineer", "security"])
    ward.admit(Stay("VI-40171", "Okafor", "Ada", "19580312", "1"))
    ward.place(1, "1")
    ward.add_chart()
    ward.measure_for_nobody("Okafor^Ada", number="VI-40171")
    ward.letters(ward.sign_in("everything"), 1)
    with Traffic([ward.bed(1), ward.bed(2)]) as running:
        running.alarm(running.beds[0])
        yield ward


@pytest.fixture(params=["dark", "light"])
def open_page(
    request: pytest.FixtureRequest, live: ConsoleWard, browser: Browser
) -> Iterator[Callable[[str], Page]]:
    """Return a function that opens a page in one of the two themes."""
    context = open_context(browser, color_scheme=request.param)
    page = context.new_page()
    page.goto(f"{live.base}/sign-in")
    page.get_by_label("Name").fill("everything")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{live.base}/ward")

    def go(path: str) -> Page:
        page.goto(live.base + path)
        return page

    yield go
    context.close()


def nameless(page: Page) -> list[str]:
    """Return every control, picture and region that a screen reader would not name."""
    session = page.context.new_cdp_session(page)
    tree = session.send("Accessibility.getFullAXTree")["nodes"]
    found: list[str] = []
    for node in tree:
        role = node.get("role", {}).get("value", "")
        if role in NAMED and not node.get("ignored") and not node.get("name", {}).get("value"):
            found.append(f"{role} {node.get('backendDOMNodeId')}")
    return found


def test_every_page_can_be_read_by_everybody(open_page: Callable[[str], Page]) -> None:
    """Goal: one heading, the landmarks, a name for each control, and enough contrast."""
    for path in PATHS:
        page = open_page(path)
        assert page.locator("h1").count() == 1, path
        for role in ("banner", "main"):
            assert page.get_by_role(role).count() == 1, (path, role)  # type: ignore[arg-type]
        assert page.get_by_role("navigation", name="Main").count() == 1, path
        assert page.locator("html[lang=en]").count() == 1
        assert nameless(page) == [], path
        least = [CONTRAST_MIN, CONTRAST_LARGE_MIN]
        assert page.evaluate(CONTRAST, least) == [], path
        assert page.locator("th:not([scope])").count() == 0, path


def test_the_ward_names_its_controls(open_page: Callable[[str], Page]) -> None:
    page = open_page("/ward")
    page.get_by_text("HR").first.wait_for()
    assert page.locator("h1").count() == 1
    assert nameless(page) == []


def test_nothing_moves_for_who_asks_for_rest(ward: ConsoleWard, browser: Browser) -> None:
    context = open_context(browser, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{ward.base}/sign-in")
    running = "document.getAnimations().length"
    assert page.evaluate(running) == 0
    context.close()


def test_a_narrow_screen_needs_no_sideways_scrolling(
    live: ConsoleWard, open_page: Callable[[str], Page]
) -> None:
    for path in PATHS:
        page = open_page(path)
        page.set_viewport_size({"width": 400, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 400, (path, wide)
    assert live
