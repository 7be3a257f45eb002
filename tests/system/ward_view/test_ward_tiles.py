"""Tiles in Chromium: no number is cut, free room is used, the header says how the stream is."""

from collections.abc import Iterator

import pytest
from browser import SIZE
from live_ward import LiveWard
from playwright.sync_api import Locator, Page
from test_ward_browser import BLANK, cell, until

from asepsis.edge.device.catalogue import Kind
from hospital import device_name

pytestmark = pytest.mark.slow
KINDS = {2: Kind.VENTILATOR, 3: Kind.PUMP}
CELLS_OF_THREE = 6 + 6 + 4
CUT = """(tile) => {
  const panel = tile.querySelector(".numbers").getBoundingClientRect();
  const foot = tile.querySelector(".machines").getBoundingClientRect();
  return [...tile.querySelectorAll(".cell")].filter((cell) => {
    const box = cell.getBoundingClientRect();
    const inner = [...cell.querySelectorAll(".value, .mean, .mark, .since, .cell-unit")];
    const label = cell.querySelector(".cell-label");
    const named = label.textContent.length <= 9;  // A name of the nomenclature may be cut.
    const out = (named && label.scrollWidth > label.clientWidth + 1) || inner.some((each) => {
      const own = each.getBoundingClientRect();
      return own.width && (own.right > box.right + 0.5 || own.bottom > box.bottom + 1.5);
    });
    return out || box.bottom > panel.bottom + 0.5 || box.bottom > foot.top + 0.5;
  }).map((cell) => `${cell.dataset.cell}: ${cell.innerText}`);
}"""


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWard]:
    """Return a bed with monitor, ventilator and pump, and one with a monitor."""
    made = LiveWard(tmp_path_factory.mktemp("tiles"), kinds=KINDS)
    for number in (1, 2, 3):
        made.place(number, "A")
    made.place(4, "R")
    made.start_beds()
    yield made
    made.close()


def bed(page: Page, name: str) -> Locator:
    """Return the tile of a bed."""
    return page.locator("article.tile", has_text=f"Bed {name}")


def left_out(tile: Locator) -> int:
    """Return how many values the tile says it has no room for."""
    more = tile.locator(".more-values")
    return int(more.inner_text().split()[0]) if more.is_visible() else 0


def see_whole(page: Page, ward: LiveWard) -> None:
    """See that every number is whole or counted, while live and while blank."""
    tile = bed(page, "A")
    count = tile.locator(".cell").count
    until(lambda: count() + left_out(tile) == CELLS_OF_THREE, seconds=8)
    until(lambda: cell(tile, "HR") != BLANK, seconds=8)
    page.wait_for_timeout(500)
    assert tile.evaluate(CUT) == []
    for each in ward.beds.values():
        each.paused = True
    until(lambda: cell(tile, "HR") == BLANK, seconds=9)
    page.wait_for_timeout(500)
    cut = tile.evaluate(CUT)
    for each in ward.beds.values():
        each.paused = False
    assert cut == []


@pytest.mark.parametrize(
    "size", [SIZE, {"width": 1024, "height": 600}, {"width": 390, "height": 800}], ids=str
)
def test_no_number_of_three_devices_is_cut(
    ward: LiveWard, page: Page, size: dict[str, int]
) -> None:
    """Goal: whole or counted, live and blank; alone on the screen all of them are there."""
    page.set_viewport_size(size)
    see_whole(page, ward)
    tile = bed(page, "A")
    if left_out(tile):
        tile.locator(".more-values").click()
    else:
        tile.locator(".tile-open").click()
    until(lambda: tile.locator(".cell").count() == CELLS_OF_THREE, seconds=3)


def test_tiles_use_the_free_height(page: Page) -> None:
    page.set_viewport_size(SIZE)
    one = bed(page, "R")
    until(lambda: cell(one, "HR") != BLANK, seconds=8)
    page.wait_for_timeout(500)
    box = one.bounding_box()
    assert box is not None
    assert box["height"] > 500
    font = one.locator(".big .value").first.evaluate(
        "(e) => parseFloat(getComputedStyle(e).fontSize)"
    )
    assert font > 40


def test_the_badge_of_the_header_follows_the_stream(page: Page) -> None:
    """Goal: a hub that answers every other request does not hide a dark ward."""
    badge = page.locator("#contact")
    until(lambda: badge.get_attribute("data-state") == "good", seconds=3)
    page.route("**/views/ward*", lambda route: route.abort())
    page.evaluate("() => { const now = Date.now; Date.now = () => now() + 60000; }")
    until(lambda: badge.get_attribute("data-state") == "lost", seconds=3)
    with page.expect_response("**/api/session") as answer:
        pass
    assert answer.value.ok
    page.wait_for_timeout(300)
    assert badge.inner_text() == "No contact"
    page.unroute("**/views/ward*")
    until(lambda: badge.get_attribute("data-state") == "good", seconds=5)


def test_a_revoked_only_monitor_counts_as_an_alarm_condition(ward: LiveWard, page: Page) -> None:
    """Goal: on the tile and in the count of the page; never "No alarm condition"."""
    one = bed(page, "R")
    until(lambda: cell(one, "HR") != BLANK, seconds=8)
    until(lambda: page.inner_text(".ward-status") == "No alarm condition", seconds=5)
    name = device_name(4)
    body = {"reason": "test", "confirm": name}
    assert ward.api.post(f"/api/devices/{name}/revoke", json=body).is_success
    banner = one.locator(".banner[data-kind='technical'][data-priority='high']")
    until(lambda: "DEVICE REVOKED" in " ".join(banner.all_inner_texts()), seconds=2)
    for _ in range(20):
        assert page.inner_text(".ward-status") == "Alarm conditions: 1 high"
        page.wait_for_timeout(100)
    assert "revoked" in one.locator(".proof").inner_text()
    page.reload()
    page.wait_for_selector("#ward[data-live=yes]")
    assert "DEVICE REVOKED" in " ".join(banner.all_inner_texts())
    assert page.inner_text(".ward-status") == "Alarm conditions: 1 high"
    ward.kill()
    ward.ward.start()
    page.reload()
    page.wait_for_selector("#ward[data-live=yes]")
    assert "DEVICE REVOKED" in " ".join(banner.all_inner_texts()), "nobody's, and yet remembered"
