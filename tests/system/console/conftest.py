"""Fixtures: a ward with a console, Chromium, and people who are signed in."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
sys.path[:0] = [
    str(Path(__file__).parent),
    str(TESTS / "system" / "hub"),
    str(TESTS.parent / "benchmarks"),
]

from browser import CHROMIUM, Watch, chromium, open_context, spki_pin  # noqa: E402 - found by path
from console_ward import PASSWORD, ConsoleWard  # noqa: E402
from playwright.sync_api import Browser, BrowserContext, Page  # noqa: E402

MODELS = {
    1: "Philips IntelliVue MX750",
    2: "Dräger Evita V800",
    3: "B. Braun Perfusor Space",
    4: "GE CARESCAPE B650",
}


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWard]:
    """Return a running ward that the tests of a module share."""
    made = ConsoleWard(tmp_path_factory.mktemp("console"), models=MODELS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(ward: ConsoleWard) -> Iterator[Browser]:
    """Return Chromium, pinned to the ward's hub."""
    if not CHROMIUM.exists():
        pytest.skip("Debian package chromium is not installed")
    port = int(ward.base.rpartition(":")[2])
    with chromium(spki_pin(port, ward.ward.hospital.root_der)) as started:
        yield started


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Return a fresh profile."""
    made = open_context(browser)
    yield made
    made.close()


@pytest.fixture
def watch(ward: ConsoleWard) -> Watch:
    """Return the record of one test."""
    return Watch(ward.base)


@pytest.fixture
def sign_in(ward: ConsoleWard, context: BrowserContext, watch: Watch) -> Callable[[str], Page]:
    """Return a function that signs somebody in and returns the page."""

    def enter(name: str) -> Page:
        page = context.new_page()
        watch.attach(page)
        page.goto(ward.base + "/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/ward" if name in ("clara", "wall", "emil") else "**/devices")
        return page

    return enter
