"""Fixtures: a hub that keeps its ports over a crash, beds in the hand of a test, Chromium."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
sys.path[:0] = [
    str(Path(__file__).parent),
    str(TESTS / "system" / "console"),
    str(TESTS / "system" / "hub"),
    str(TESTS.parent / "benchmarks"),
]

from browser import CHROMIUM, Watch, chromium, open_context, spki_pin  # noqa: E402 - found by path
from console_ward import PASSWORD  # noqa: E402
from live_ward import LiveWard  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402

VIEWPORT = {"width": 1920, "height": 1080}


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWard]:
    """Return a running ward that the tests of a module share."""
    made = LiveWard(tmp_path_factory.mktemp("ward"))
    made.start_beds()
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(ward: LiveWard) -> Iterator[Browser]:
    """Return Chromium, pinned to the ward's hub."""
    if not CHROMIUM.exists():
        pytest.skip("Debian package chromium is not installed")
    port = int(ward.base.rpartition(":")[2])
    with chromium(spki_pin(port, ward.ward.hospital.root_der)) as started:
        yield started


@pytest.fixture
def watch(ward: LiveWard) -> Watch:
    """Return the record of one test."""
    return Watch(ward.base)


@pytest.fixture
def page(ward: LiveWard, browser: Browser, watch: Watch) -> Iterator[Page]:
    """Return the ward page of a clinician."""
    context = open_context(browser)
    made = context.new_page()
    made.set_viewport_size(VIEWPORT)
    watch.attach(made)
    made.goto(ward.base + "/ward")
    made.get_by_label("Name").fill("clara")
    made.get_by_label("Password").fill(PASSWORD)
    made.get_by_role("button", name="Sign in").click()
    made.wait_for_selector("#ward[data-live=yes]")
    yield made
    context.close()
