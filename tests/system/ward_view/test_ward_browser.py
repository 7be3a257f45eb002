"""The ward view in Chromium, before a real hub and beds that really sign."""

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import httpx
import pytest
from browser import Watch, found
from console_ward import PASSWORD, Stay
from live_ward import LiveWard
from playwright.sync_api import Locator, Page

from asepsis.core.model.alarm import AlarmKind, AlarmPhase, AlarmPriority
from hospital import device_name

pytestmark = pytest.mark.slow
BLANK = "--"
SIGNS = {"HR": 1, "SpO2": 3, "RR": 4, "Temp": 15}
HOSTILE = '<img src=x onerror="__ran()">'


def until(check: Callable[[], object], *, seconds: float) -> float:
    """Wait until a check holds; return how long that took."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - began


def tile(page: Page, number: int) -> Locator:
    """Return the tile that shows a device."""
    name = f"{device_name(number)[-6:]}"
    return page.locator("article.tile", has=page.locator(f".machine:has-text('{name}')"))


def cell(where: Locator, label: str) -> str:
    """Return what a tile shows for a metric."""
    return where.locator(f".cell[data-cell='{label}'] .value").first.inner_text()


def ink(where: Locator) -> int:
    """Return how many pixels of the waveforms are drawn."""
    return where.locator("canvas").evaluate(
        """(canvas) => {
          if (!canvas.width) return 0;
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let count = 0;
          // The canvas is opaque: its first pixel is paper unless a trace begins just there.
          for (let i = 0; i < data.length; i += 4) {
            if (Math.abs(data[i] - data[0]) + Math.abs(data[i + 1] - data[1]) > 60) count += 1;
          }
          return count;
        }"""
    )


def test_values_shown_are_values_sent(ward: LiveWard, page: Page, watch: Watch) -> None:
    """Goal: number by number, with unit, proof of origin and a moving trace."""
    one, bed = tile(page, 1), ward.beds[1]
    for label, handle in SIGNS.items():
        until(lambda n=label, h=handle: cell(one, n) == bed.values[h], seconds=4)
    pressure = one.locator(".cell[data-cell='ABP']")
    until(
        lambda: (
            pressure.locator("dd").inner_text().split()
            == [f"{bed.values[5]}/{bed.values[6]}", f"({bed.values[7]})"]
        ),
        seconds=4,
    )
    assert pressure.locator(".cell-unit").inner_text() == "mmHg"
    assert "signed by the device" in one.locator(".proof").inner_text()
    until(lambda: ink(one) > 500, seconds=5)
    assert "Information only. Bedside alarms apply." in page.inner_text(".information-only")
    assert page.locator("audio, video").count() == 0
    assert found(page) == []
    assert watch.foreign == []
    assert watch.errors == []


def test_a_name_appears_with_its_confirmation_and_leaves_with_the_device(
    ward: LiveWard, page: Page
) -> None:
    """Goal: unconfirmed shows no name; a moved device leaves the tile with everything it showed."""
    ward.place(2, "A")
    ward.admit(Stay("7", "NIGHTINGALE", "Florence", "18200512", "A"))
    two = tile(page, 2)
    until(lambda: "Patient unconfirmed" in two.locator(".patient").inner_text(), seconds=5)
    clara = ward.speak_for("clara")
    waiting = clara.get("/api/associations?state=proposed").json()["associations"]
    proposal = next(a["id"] for a in waiting if a["device"] == device_name(2))
    done = clara.post(f"/api/associations/{proposal}/confirm", json={"confirm": "VITUS|7"})
    assert done.json()["done"], done.text
    until(lambda: "NIGHTINGALE" in two.locator(".patient").inner_text().upper(), seconds=3)
    until(lambda: cell(two, "HR") != BLANK, seconds=3)
    old_bed = page.locator("article.tile", has_text="Bed A")
    ward.move(2, "B")
    until(lambda: old_bed.locator(".machine").count() == 0, seconds=2)
    assert old_bed.locator(".cell").count() == 0
    assert "NIGHTINGALE" not in page.inner_text("#ward").upper()
    new_bed = page.locator("article.tile", has_text="Bed B")
    until(lambda: cell(new_bed, "HR") == ward.beds[2].values[1], seconds=4)


def test_only_the_metric_that_is_not_renewed_blanks(ward: LiveWard, page: Page) -> None:
    """Goal: within its period (1 s) plus 5 s, with the moment; the others go on."""
    three, bed = tile(page, 3), ward.beds[3]
    until(lambda: cell(three, "SpO2") != BLANK, seconds=5)
    bed.withheld = {3}
    took = until(lambda: cell(three, "SpO2") == BLANK, seconds=9)
    assert 3.5 < took < 7.5
    since = three.locator(".cell[data-cell='SpO2'] .since").inner_text()
    assert since.startswith("since ")
    for label in ("HR", "RR", "Temp"):
        assert cell(three, label) != BLANK
    bed.withheld = set()
    until(lambda: cell(three, "SpO2") == bed.values[3], seconds=4)


def test_a_late_waveform_leaves_a_gap(ward: LiveWard, page: Page) -> None:
    three, bed = tile(page, 3), ward.beds[3]
    until(lambda: ink(three) > 500, seconds=6)
    bed.waves = False
    until(lambda: ink(three) == 0, seconds=9)
    assert cell(three, "HR") != BLANK
    bed.waves = True
    until(lambda: ink(three) > 500, seconds=6)


def test_a_silent_device_is_a_condition_and_not_an_empty_tile(ward: LiveWard, page: Page) -> None:
    four, bed = tile(page, 4), ward.beds[4]
    until(lambda: cell(four, "HR") != BLANK, seconds=5)
    bed.paused = True
    banner = four.locator(".banner[data-kind='technical']")
    until(lambda: banner.count() and "NO DATA" in banner.first.inner_text(), seconds=5)
    assert "!!!" in banner.first.inner_text()
    assert "HIGH" in banner.first.inner_text()
    until(lambda: cell(four, "HR") == BLANK, seconds=7)
    assert "no data" in four.locator(".proof").inner_text()
    bed.paused = False
    until(lambda: cell(four, "HR") == bed.values[1], seconds=5)
    until(lambda: banner.count() == 0, seconds=3)


def test_an_alarm_has_colour_symbol_and_word_and_ends(ward: LiveWard, page: Page) -> None:
    one, bed = tile(page, 1), ward.beds[1]
    condition = bed.alarm(AlarmPhase.ONSET, "Heart rate above high limit")
    banner = one.locator(".banner[data-priority='high']")
    until(lambda: banner.count() == 1, seconds=2)
    assert banner.inner_text().split("\n")[:3] == ["!!!", "HIGH", "Heart rate above high limit"]
    assert one.locator(".cell[data-cell='HR']").get_attribute("data-priority") == "high"
    assert "high priority: Heart rate" in page.locator("[role=log]").inner_text()
    assert "1 high" in page.inner_text(".ward-status")
    bed.alarm(AlarmPhase.END, "Heart rate above high limit", condition=condition)
    until(lambda: banner.count() == 0, seconds=2)


def test_conditions_of_a_silent_device_are_unknown_until_its_next_list(
    ward: LiveWard, page: Page
) -> None:
    """Goal: on the tile and on the page of the device; REQ-ALM-017."""
    three, bed = tile(page, 3), ward.beds[3]
    condition = bed.alarm(AlarmPhase.ONSET, "Heart rate above high limit")
    banner = three.locator(".banner", has_text="Heart rate above")
    until(
        lambda: banner.count() and banner.get_attribute("data-kind") == "physiological", seconds=2
    )
    bed.paused = True
    until(lambda: banner.get_attribute("data-kind") == "unknown", seconds=5)
    words = banner.inner_text().split("\n")
    assert words[:2] == ["?", "HIGH"]
    assert re.match(r"unknown since \d\d:\d\d:\d\d\b", words[3])
    assert three.locator(".cell[data-cell='HR']").get_attribute("data-priority") == ""
    assert three.get_attribute("data-kind") == "technical"
    assert "1 unknown" in page.inner_text(".ward-status")
    machine = page.context.new_page()
    machine.goto(f"{ward.base}/devices/{quote(device_name(3), safe='')}")
    row = machine.locator(".alarms .alarm", has_text="Heart rate above")
    assert "unknown since" in row.inner_text()
    bed.paused = False
    until(lambda: cell(three, "HR") != BLANK, seconds=5)
    assert banner.get_attribute("data-kind") == "unknown"
    bed.list_alarm()
    until(lambda: banner.get_attribute("data-kind") == "physiological", seconds=3)
    until(lambda: "unknown since" not in row.inner_text(), seconds=4)
    machine.close()
    bed.alarm(AlarmPhase.END, "Heart rate above high limit", condition=condition)
    until(lambda: banner.count() == 0, seconds=2)


def test_hostile_text_is_text(ward: LiveWard, page: Page, watch: Watch) -> None:
    """Goal: markup, a turn of direction and a name that is a script: shown, never run."""
    bed = ward.beds[1]
    text = f"{HOSTILE}\u202eTXET"
    condition = bed.alarm(
        AlarmPhase.ONSET, text, priority=AlarmPriority.LOW, kind=AlarmKind.TECHNICAL
    )
    banner = tile(page, 1).locator(".banner .text", has_text="<img")
    until(lambda: banner.count() == 1, seconds=2)
    assert banner.inner_text() == f"{HOSTILE}[U+202E]TXET"
    ward.place(3, "X")
    ward.admit(Stay("66", "<script>__ran()</script>", HOSTILE, "19000101", "X"))
    clara = ward.speak_for("clara")
    patient = {"value": "66", "authority": "VITUS"}
    body = {"device": device_name(3), "patient": patient, "confirm": "VITUS|66"}
    done = clara.post("/api/associations", json=body)
    assert done.json()["done"], done.text
    shown = tile(page, 3).locator(".patient")
    until(lambda: "<" in shown.inner_text(), seconds=4)
    assert page.locator("#ward img, #ward script").count() == 0
    assert found(page) == []
    assert watch.foreign == []
    assert watch.dialogs == []
    bed.alarm(AlarmPhase.END, text, condition=condition)


def test_a_page_that_slept_or_was_hidden_shows_nothing_of_before(page: Page) -> None:
    """Goal: blank before the first frame after a wake; live again by itself."""
    page.evaluate(
        """() => {
          const now = Date.now;
          Date.now = () => now() + 60000;
          window.__states = [];
          new MutationObserver(() => __states.push(document.querySelector("#ward").dataset.live))
            .observe(document.querySelector("#ward"), { attributes: true });
        }"""
    )
    until(lambda: "no" in page.evaluate("__states"), seconds=3)
    page.wait_for_selector("#ward[data-live=yes]")
    page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { value: true, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    hidden = page.locator(".tile-body").first.evaluate("(e) => getComputedStyle(e).visibility")
    assert hidden == "hidden"


def test_tiles_go_by_themselves_when_our_scripts_hang(page: Page) -> None:
    """Goal: no frozen numbers, even when nothing of ours runs any more."""
    frames: list[str] = []
    caster = page.context.new_cdp_session(page)

    def keep(event: dict[str, str]) -> None:
        frames.append(event["data"])
        caster.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    caster.on("Page.screencastFrame", keep)
    caster.send("Page.startScreencast", {"format": "png"})
    page.wait_for_timeout(1_500)
    before = frames[-1]
    page.evaluate("setTimeout(() => { const e = Date.now() + 5500; while (Date.now() < e); }, 20)")
    page.wait_for_timeout(4_500)  # The page hangs; what comes now the compositor drew alone.
    hung = frames[-1]
    caster.send("Page.stopScreencast")
    page.wait_for_selector("#ward[data-live=yes]")
    other = page.context.new_page()
    assert green(other, hung) < green(other, before) / 10
    other.close()


def green(page: Page, png: str) -> int:
    """Return how many pixels of a picture have the colour of heart rate and electrocardiogram."""
    return page.evaluate(
        """async (png) => {
          const image = new Image();
          image.src = `data:image/png;base64,${png}`;
          await image.decode();
          const canvas = new OffscreenCanvas(image.width, image.height);
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const { data } = context.getImageData(0, 60, image.width, image.height - 60);
          let count = 0;
          for (let i = 0; i < data.length; i += 4) if (data[i + 1] - data[i] > 60) count += 1;
          return count;
        }""",
        png,
    )


def test_the_end_of_a_session_ends_the_view(ward: LiveWard, page: Page) -> None:
    """Goal: within a second the stream is gone; the page says that somebody must sign in."""
    ended: list[float] = []
    client = ward.sign_in("clara")

    def follow() -> None:
        with suppress(httpx.HTTPError), client.stream("GET", "/views/ward") as answer:
            for _ in answer.iter_bytes():
                began.set()
        ended.append(time.monotonic())

    began = threading.Event()
    watcher = threading.Thread(target=follow)
    watcher.start()
    assert began.wait(5)
    answer = ward.api.post("/api/people/clara/password", json={"password": PASSWORD})
    done = time.monotonic()
    assert answer.is_success
    watcher.join(5)
    assert ended
    assert ended[0] - done < 1
    page.wait_for_url("**/sign-in**", timeout=6_000)


def test_a_revoked_device_is_a_condition_and_not_an_empty_tile(ward: LiveWard, page: Page) -> None:
    """Goal: blank at once, said in words, and still on the tile of its bed."""
    ward.place(4, "R")
    bed = page.locator("article.tile", has_text="Bed R")
    until(lambda: bed.count() and cell(bed, "HR") != BLANK, seconds=5)
    name = device_name(4)
    body = {"reason": "test", "confirm": name}
    assert ward.api.post(f"/api/devices/{name}/revoke", json=body).is_success
    until(lambda: cell(bed, "HR") == BLANK, seconds=1.5)
    banner = bed.locator(".banner[data-kind='technical']")
    until(lambda: "DEVICE REVOKED" in " ".join(banner.all_inner_texts()), seconds=2)
    page.wait_for_timeout(1_000)
    assert "DEVICE REVOKED" in " ".join(banner.all_inner_texts())


@pytest.mark.alone
def test_a_hub_that_dies_blanks_every_tile_and_is_live_again_at_once(
    ward: LiveWard, page: Page
) -> None:
    """Goal: no data since, on every tile, within 10 s; live within a second of the return."""
    tiles = page.locator("article.tile")
    page.wait_for_function("document.querySelectorAll('.cell .value').length > 8")
    ward.kill()
    took = until(lambda: page.locator(".tile.is-dark").count() == tiles.count() > 0, seconds=10)
    assert took < 6
    for text in page.locator("article.tile .dark").all_inner_texts():
        assert text.startswith("No data since ")
    shown = page.locator(".cell .value").all_inner_texts()
    assert all(set(text) <= set("-/()") for text in shown)
    assert all(ink(one) == 0 for one in tiles.all())
    assert page.locator("#lost").is_visible()
    ward.ward.start()
    back = until(lambda: page.locator("#ward[data-live=yes]").count() == 1, seconds=10)
    values = until(lambda: cell(tile(page, 1), "HR") != BLANK, seconds=10)
    assert values < 3, (
        f"dark after {took:.1f} s, live {back:.2f} s after the return, values {values:.2f} s"
    )
    assert back < 3  # Two shared cores; where nothing runs beside it, under one.
