"""Journeys in Debian's Chromium against a real hub: sign in, watch, confirm, revoke, leave."""

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from browser import Watch, found
from console_ward import PASSWORD, ConsoleWard, Stay, Traffic
from playwright.sync_api import BrowserContext, Page, expect

from hospital import device_name

pytestmark = pytest.mark.slow
ADA = Stay("VI-40171", "Okafor", "Ada", "19580312", "1")
SignIn = Callable[[str], Page]


@pytest.fixture(scope="module")
def traffic(ward: ConsoleWard) -> Iterator[Traffic]:
    """Let three devices measure."""
    ward.admit(ADA)
    for number in (1, 2, 3):
        ward.place(number, str(number))
    with Traffic([ward.bed(number) for number in (1, 2, 3)]) as running:
        yield running
        assert running.failed is None


def clean(watch: Watch, page: Page) -> None:
    """Nothing went elsewhere, nothing was refused by the policy, no script failed."""
    assert watch.foreign == []
    assert watch.dialogs == []
    assert watch.errors == []
    assert found(page) == []


def test_sign_in_is_refused_alike_and_then_works(
    ward: ConsoleWard, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(f"{ward.base}/devices")
    assert page.url.startswith(f"{ward.base}/sign-in?next=/devices")
    texts = []
    for name, password in (("clara", "wrong password here"), ("nobody", PASSWORD)):
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        texts.append(page.get_by_role("alert").inner_text())
    assert texts[0] == texts[1]
    page.get_by_label("Name").fill("clara")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/devices")
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()


@pytest.mark.usefixtures("traffic")
def test_a_ward_is_watched(sign_in: SignIn, watch: Watch) -> None:
    page = sign_in("clara")
    notice = page.get_by_text("Information only. Bedside alarms apply.")
    expect(notice).to_be_visible()
    expect(page.get_by_text("Philips IntelliVue MX750").first).to_be_visible()
    expect(page.locator("main")).to_contain_text("HR")
    assert page.evaluate("document.cookie") == ""
    clean(watch, page)


@pytest.mark.usefixtures("traffic")
def test_an_association_is_confirmed_in_two_steps(
    ward: ConsoleWard, sign_in: SignIn, watch: Watch
) -> None:
    page = sign_in("clara")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Associations").click()
    row = page.get_by_role("row", name="Okafor, Ada")
    expect(row).to_contain_text("1958-03-12")
    expect(row).to_contain_text("VI-40171")
    row.get_by_role("link", name="Review").click()
    expect(page.get_by_text("Okafor, Ada")).to_be_visible()
    page.get_by_role("button", name="Confirm").click()
    assert "/associations/" in page.url, "the browser lets no unchecked box pass"
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url("**/associations")
    confirmed = page.get_by_role("region", name="Confirmed now")
    expect(confirmed).to_contain_text("Okafor, Ada")
    expect(confirmed).to_contain_text("person:clara")
    listed = ward.api.get("/api/associations")
    assert listed.status_code == 403, "an administrator sees no patient"
    clean(watch, page)
    page.goto(f"{ward.base}/devices/{quote(device_name(1), safe='')}")
    expect(page.get_by_role("link", name="Okafor, Ada")).to_be_visible()


@pytest.mark.usefixtures("traffic")
def test_a_page_renews_itself_and_says_when_it_cannot(
    ward: ConsoleWard, sign_in: SignIn, watch: Watch
) -> None:
    """Goal: what a page shows is of now, or it says that it is not."""
    page = sign_in("emil")
    page.goto(f"{ward.base}/devices")
    expect(page.get_by_role("row", name="GE CARESCAPE")).to_contain_text("Never heard")
    with Traffic([ward.bed(4)]):
        expect(page.get_by_role("row", name="GE CARESCAPE")).to_contain_text("Connected")
    expect(page.get_by_role("row", name="GE CARESCAPE")).to_contain_text("Silent", timeout=15_000)
    clean(watch, page)
    page.context.set_offline(True)
    expect(page.get_by_role("alert").filter(has_text="No contact")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_role("alert").filter(has_text="No contact")).to_be_hidden()


@pytest.mark.usefixtures("traffic")
def test_a_device_is_revoked_in_two_steps(ward: ConsoleWard, sign_in: SignIn, watch: Watch) -> None:
    page = sign_in("emil")
    page.goto(f"{ward.base}/devices/{quote(device_name(4), safe='')}")
    page.get_by_role("link", name="Revoke").click()
    expect(page.get_by_text("What would happen")).to_be_visible()
    page.get_by_label("Why").fill("lost in transport")
    page.get_by_label("Type the last characters").fill("999999")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("alert").last).to_contain_text("not the end of the device's name")
    page.get_by_label("Type the last characters").fill(device_name(4)[-6:])
    page.get_by_role("button", name="Revoke").click()
    page.wait_for_url("**/devices/*0004")
    expect(page.get_by_text("lost in transport")).to_be_visible()
    expect(page.locator("#now")).to_contain_text("Revoked")
    page.goto(f"{ward.base}/audit")
    expect(page.get_by_role("row", name="revoke-device").first).to_contain_text("person:emil")
    assert watch.foreign == []
    assert found(page) == []


@pytest.mark.usefixtures("traffic")
def test_signing_out_ends_every_stream_of_the_session(ward: ConsoleWard, sign_in: SignIn) -> None:
    """Goal: another tab of the same session is at the sign-in page at once, and shows nothing."""
    watching = sign_in("clara")
    expect(watching.locator("main")).to_contain_text("HR")
    other = watching.context.new_page()
    other.goto(f"{ward.base}/account")
    other.get_by_role("button", name="Sign out").click()
    other.wait_for_url("**/sign-in*")
    watching.wait_for_url("**/sign-in*", timeout=8_000)
    other.goto(f"{ward.base}/ward")
    assert "/sign-in" in other.url


@pytest.mark.usefixtures("traffic")
def test_by_keyboard_alone(ward: ConsoleWard, context: BrowserContext) -> None:
    """Goal: sign in, reach a page by its skip link, open a device, and leave, without a mouse."""
    page: Page = context.new_page()
    page.goto(f"{ward.base}/sign-in?next=/devices")
    assert page.evaluate("document.activeElement.name") == "name"
    page.keyboard.type("clara")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{ward.base}/devices")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("Evita")
    page.keyboard.press("Enter")
    page.wait_for_url("**find=Evita")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "line-1":
            break
    assert page.evaluate("document.activeElement.id") == "line-1"
    page.wait_for_timeout(4_500)
    assert page.evaluate("document.activeElement.id") == "line-1", "renewing must keep the focus"
    page.keyboard.press("Enter")
    page.wait_for_url("**/devices/urn*")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Evita")
