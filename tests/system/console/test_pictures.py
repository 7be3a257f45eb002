"""The pictures of README.md, taken of a real hub with live beds.

They go to `docs/images` where ASEPSIS_PICTURES is set, so that a test run leaves the tree as it is:
`ASEPSIS_PICTURES=1 pytest tests/system/console/test_pictures.py`.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import chromium, found, open_context, spki_pin
from console_ward import PASSWORD, ConsoleWard, Stay, Traffic
from playwright.sync_api import Page

from asepsis.edge.device.catalogue import Kind
from asepsis.edge.uplink.connection import Endpoint
from hospital import device_name
from ward_beds import Bed

pytestmark = pytest.mark.slow
IMAGES = Path(__file__).parents[3] / "docs" / "images"
BYTES_MIN, BYTES_MAX = 40_000, 600_000
MODELS = {
    1: "Philips IntelliVue MX750",
    2: "GE CARESCAPE B650",
    3: "Mindray BeneVision N22",
    4: "Dräger Infinity M540",
    5: "Nihon Kohden BSM-6701",
    6: "Philips IntelliVue MX550",
    7: "Dräger Evita V800",
    8: "B. Braun Infusomat Space",
}
MONITORS = range(1, 7)
THERAPY = {7: Kind.VENTILATOR, 8: Kind.PUMP}
THERAPY_BED = "2"
STAYS = (
    Stay("VI-40171", "Okafor", "Ada", "19580312", "1"),
    Stay("VI-40236", "Lindqvist", "Per", "19440927", "2"),
    Stay("VI-40310", "Meier", "Anna Maria", "19711105", "3"),
    Stay("VI-40118", "Haddad", "Yusuf", "19630718", "4"),
    Stay("VI-40402", "Ferrari", "Giulia", "19820104", "5"),
    Stay("VI-40377", "Nowak", "Jan", "19550630", "6"),
)
UNCONFIRMED, ALARMING = 5, 3
TREND_S = 200
"""How long the beds measure before the pictures of README.md are taken."""


def asked() -> bool:
    """Whether the pictures are to be kept."""
    return bool(os.environ.get("ASEPSIS_PICTURES"))


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWard]:
    """Return a ward of six beds, five of them confirmed, one alarming, one with a ventilator."""
    folder = tmp_path_factory.mktemp("pictures")
    made = ConsoleWard(folder, models=MODELS, lease_ms=10_000)
    try:
        for number, stay in enumerate(STAYS, 1):
            made.admit(stay)
            made.place(number, stay.bed)
        for number in THERAPY:
            made.place(number, THERAPY_BED)
        with Traffic([made.bed(number) for number in MONITORS]) as traffic, therapy(made):
            made.confirm_all("clara", besides=device_name(UNCONFIRMED))
            time.sleep(TREND_S if asked() else 0)
            traffic.alarm(traffic.beds[ALARMING - 1])
            yield made
    finally:
        made.close()


@contextmanager
def therapy(made: ConsoleWard) -> Iterator[None]:
    """Let a ventilator and a pump send until the end."""
    hub = made.ward.hub
    assert hub is not None
    endpoint = Endpoint("localhost", hub.port)
    beds = [
        Bed(
            made.ward.machines[device_name(number)],
            lambda: endpoint,
            made.ward.hospital.root_der,
            seed=number,
            kind=kind,
        )
        for number, kind in THERAPY.items()
    ]
    for bed in beds:
        bed.start()
    try:
        yield
    finally:
        for bed in beds:
            bed.stop()


@pytest.mark.timeout(600)
def test_the_pictures_show_a_living_ward(ward: ConsoleWard, tmp_path: Path) -> None:
    folder = IMAGES if asked() else tmp_path
    folder.mkdir(exist_ok=True)
    port = int(ward.base.rpartition(":")[2])
    with chromium(spki_pin(port, ward.ward.hospital.root_der)) as browser:
        for theme in ("dark", "light"):
            context = open_context(browser, color_scheme=theme)
            page = context.new_page()
            enter(page, ward)
            page.wait_for_timeout(9_000)
            assert page.get_by_text("Okafor, Ada").count() >= 1
            assert page.get_by_text("Heart rate above high limit").count() >= 1
            page.set_viewport_size({"width": 1440, "height": 820})
            page.wait_for_timeout(4_000)
            take(page, folder / f"ward-{theme}.png")
            page.set_viewport_size({"width": 1440, "height": 900})
            page.goto(f"{ward.base}/devices/{quote(device_name(ALARMING), safe='')}")
            page.get_by_text("Trend").wait_for()
            take(page, folder / f"device-{theme}.png")
            assert found(page) == []
            context.close()


def enter(page: Page, ward: ConsoleWard) -> None:
    """Sign the clinician in."""
    page.goto(f"{ward.base}/sign-in")
    page.get_by_label("Name").fill("clara")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{ward.base}/ward")


def take(page: Page, file: Path) -> None:
    """Take a picture and see that something is on it."""
    page.screenshot(path=file)
    assert BYTES_MIN < file.stat().st_size < BYTES_MAX, file.name
