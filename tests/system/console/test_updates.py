"""Software for devices in Debian's Chromium: a second factor, releases, a campaign, evidence."""

import json
import sys
import time
from base64 import b32decode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Watch, chromium, found, spki_pin
from console_ward import PASSWORD
from playwright.sync_api import Browser, BrowserContext, Page, expect
from test_access_for_all import CONTRAST, CONTRAST_LARGE_MIN, CONTRAST_MIN, nameless

from asepsis.hub.access import totp
from asepsis.tools.campaigns import CampaignClient
from asepsis.tools.evidence.verify_evidence import Pack, check_documents, check_entries

sys.path.insert(0, str(Path(__file__).parents[1] / "releases"))
from release_ward import SIGNING, ReleaseWard, running

pytestmark = pytest.mark.slow
PEOPLE = {"emil": ["clinical-engineer", "security"], "vera": ["clinical-engineer"]}
NAME, FOLLOWER = "net-41", "net-41b"
SignIn = Callable[[str], Page]


@pytest.fixture(scope="module")
def ward() -> Iterator[ReleaseWard]:
    """Return a hub with a release that both parties approved, and one that waits."""
    with running() as made:
        for name, roles in PEOPLE.items():
            made.person.add_person(name, roles=roles)
            made.person.set_password(name, password=PASSWORD)
        place = {"device": SIGNING, "class": "monitor", "ward": "ICU-2"}
        CampaignClient(made.person).list_fleet([place])
        yield made


@pytest.fixture(scope="module")
def sha256(ward: ReleaseWard) -> str:
    """Return the artefact that may be rolled out; another one was not approved yet."""
    ready = ward.ready(41)["sha256"]
    ward.vendor.release(42)
    ward.bring()
    ward.import_()
    return str(ready)


@pytest.fixture(scope="module")
def browser(ward: ReleaseWard) -> Iterator[Browser]:
    """Return Chromium, pinned to the hub."""
    if not CHROMIUM.exists():
        pytest.skip("Debian package chromium is not installed")
    port = int(ward.console.rpartition(":")[2])
    _, _, root_der = ward.devices[SIGNING].load()
    with chromium(spki_pin(port, root_der)) as started:
        yield started


@pytest.fixture
def watch(ward: ReleaseWard) -> Watch:
    """Return the record of one test."""
    return Watch(ward.console)


@pytest.fixture
def sign_in(ward: ReleaseWard, context: BrowserContext, watch: Watch) -> SignIn:
    """Return a function that signs somebody in and returns the page."""

    def enter(name: str) -> Page:
        page = context.new_page()
        watch.attach(page)
        page.goto(f"{ward.console}/sign-in?next=/devices")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/devices")
        return page

    return enter


def document(name: str, sha256: str) -> str:
    """Return a campaign as a person writes it."""
    head = f'name = "{name}"\nrelease = "{sha256}"\nchange = "CHG-7"\n'
    return f'{head}calendars = ["always"]\nwaves = [{{ kind = "site" }}]\n'


def enrol(page: Page, console: str) -> bytes:
    """Enrol an authenticator as its owner would; returns its secret."""
    page.goto(f"{console}/account")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Enrol an authenticator").click()
    secret = b32decode(page.locator(".secret").inner_text().replace(" ", ""))
    type_code(page, secret, button="Confirm")
    page.wait_for_url("**/account")
    return secret


def type_code(page: Page, secret: bytes, *, button: str, later: int = 0) -> None:
    """Type the code of now, or of a later step, which one clock ahead of the hub's shows."""
    step = time.time_ns() // 10**9 // totp.STEP_S + later
    page.get_by_label("Code").fill(totp.code(secret, step))
    page.get_by_role("button", name=button).click()


def order(page: Page, button: str, *, why: str = "") -> None:
    """Give a campaign an order."""
    form = page.get_by_role("region", name="Decide", exact=True)
    form.get_by_label("Why").fill(why)
    form.get_by_role("button", name=button).click()


def stands(page: Page, word: str) -> None:
    """Wait until the campaign stands so."""
    expect(page.get_by_role("region", name="How it stands")).to_contain_text(word)


def test_a_campaign_is_moved_with_a_second_factor(
    ward: ReleaseWard, sha256: str, sign_in: SignIn, watch: Watch, tmp_path: Path
) -> None:
    """Goal: a password alone looks; a code decides; the pack tells it to somebody elsewhere."""
    page = sign_in("emil")
    menu = page.get_by_role("navigation", name="Main")
    menu.get_by_role("link", name="Campaigns").click()
    expect(page.get_by_text("You have none yet")).to_be_visible()
    expect(page.get_by_role("button", name="Keep as a draft")).to_have_count(0)
    secret = enrol(page, ward.console)
    expect(page.get_by_role("region", name="Second factor")).to_contain_text("enrolled")

    menu.get_by_role("link", name="Releases").click()
    expect(page.get_by_text("may be rolled out", exact=True)).to_have_count(1)
    expect(page.get_by_text("not yet", exact=True)).to_have_count(1)
    page.screenshot(path=tmp_path / "releases.png", full_page=True)
    page.locator(f'a[href="/releases/{sha256}"]').click()
    expect(page.get_by_text("CVE-2026-10001")).to_be_visible()
    expect(page.get_by_role("region", name="Approved by")).to_contain_text("Authorisation")
    page.screenshot(path=tmp_path / "release.png", full_page=True)

    menu.get_by_role("link", name="Campaigns").click()
    page.get_by_label("As TOML").fill(document(NAME, "0" * 64))
    page.get_by_role("button", name="Keep as a draft").click()
    expect(page.get_by_role("alert").filter(has_text=".")).to_be_visible()
    page.get_by_label("As TOML").fill(document(NAME, sha256))
    page.get_by_role("button", name="Keep as a draft").click()
    page.wait_for_url(f"**/campaigns/{NAME}")
    expect(page.get_by_role("row", name=SIGNING)).to_contain_text("ICU-2")
    order(page, "Start")
    stands(page, "running")
    order(page, "Pause", why="the ward asks for quiet")
    stands(page, "the ward asks for quiet")
    order(page, "Resume", why="the ward agreed")
    stands(page, "running")
    page.screenshot(path=tmp_path / "campaign.png", full_page=True)
    page.get_by_label("Why it cannot wait").fill("it is exploited")
    page.get_by_role("button", name="Propose").click()
    expect(page.get_by_text("A second person has to confirm it here")).to_be_visible()
    assert CampaignClient(ward.person).campaign(NAME)["state"] == "running"

    page.get_by_role("link", name="Evidence").click()
    expect(page.get_by_text("the ward asks for quiet")).to_be_visible()
    page.screenshot(path=tmp_path / "evidence.png", full_page=True)
    with page.expect_download() as taken:
        page.get_by_role("link", name="Download pack.json").click()
    taken.value.save_as(tmp_path / "pack.json")
    holds(json.loads((tmp_path / "pack.json").read_text("utf-8")))
    # What the browser itself says of a page that came with 400 is no error of ours.
    errors = [each for each in watch.errors if "status of 400" not in each]
    assert (found(page), watch.foreign, errors, watch.dialogs) == ([], [], [], [])
    assert secret


def holds(made: dict[str, object]) -> None:
    """See that a pack agrees with itself and holds the orders and what was signed."""
    pack = Pack(made)
    assert list(check_entries(pack)) == []
    assert list(check_documents(pack, {})) == []
    actions = {one["action"] for one in pack.entries}
    assert any("pause" in one or "order" in one for one in actions), actions
    kinds = {one["kind"] for one in made["documents"]}  # type: ignore[index, union-attr]
    assert kinds == {"release", "authorisation"}


def test_another_session_shows_a_code_that_counts_once(
    ward: ReleaseWard, sha256: str, sign_in: SignIn, tmp_path: Path
) -> None:
    """Goal: each session proves itself, where the act is, with a code that nobody used before."""
    CampaignClient(ward.person).create(document(FOLLOWER, sha256))
    page = sign_in("vera")
    secret = enrol(page, ward.console)
    page.get_by_role("button", name="Sign out").click()
    page = sign_in("vera")
    page.goto(f"{ward.console}/campaigns/{FOLLOWER}")
    expect(page.get_by_role("region", name="Decide", exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="Evidence")).to_have_count(0)
    page.screenshot(path=tmp_path / "prove.png", full_page=True)
    type_code(page, bytes(20), button="Go on")
    expect(page.get_by_role("alert").filter(has_text="wrong or used")).to_be_visible()
    page.goto(f"{ward.console}/campaigns/{FOLLOWER}")
    type_code(page, secret, button="Go on", later=1)
    page.wait_for_url(f"**/campaigns/{FOLLOWER}")
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    assert CampaignClient(ward.person).campaign(FOLLOWER)["state"] == "draft"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_pages_can_be_read_by_everybody(
    ward: ReleaseWard, sha256: str, sign_in: SignIn, theme: str
) -> None:
    """Goal: one heading, a name for each control, contrast, and no sideways scrolling."""
    client = CampaignClient(ward.person)
    name = f"net-{theme}"
    client.create(document(name, sha256))
    page = sign_in("emil")
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    least = [CONTRAST_MIN, CONTRAST_LARGE_MIN]
    for path in ("/releases", f"/releases/{sha256}", "/campaigns", f"/campaigns/{name}",
                 f"/evidence?about={sha256}", "/account"):  # fmt: skip
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(ward.console + path)
        assert page.locator("h1").count() == 1, path
        assert nameless(page) == [], path
        assert page.evaluate(CONTRAST, least) == [], path
        assert page.locator("th:not([scope])").count() == 0, path
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, path
