"""Dead letters in Debian's Chromium: found, read with field names, and decided."""

import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from browser import Watch, found
from console_ward import ConsoleWard
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow
IMAGES = Path(__file__).parents[3] / "docs" / "images"
PATIENTS = ("VI-1", "VI-2", "VI-3")
SignIn = Callable[[str], Page]


@pytest.fixture(scope="module")
def emil(ward: ConsoleWard) -> httpx.Client:
    """Return the clinical engineer's client."""
    return ward.sign_in("emil")


def state_of(emil: httpx.Client, number: int) -> str:
    """Return where a dead letter stands, as programs are told."""
    answer = emil.get(f"/api/dead-letters/{number}")
    return str(answer.json()["state"])


def audited(ward: ConsoleWard) -> str:
    """Return the audit log's entries."""
    return ward.api.get("/api/audit", params={"after": "0", "limit": "1000"}).text


def decide(page: Page, card: str, button: str, reason: str) -> None:
    """Fill a card of a dead letter and send it."""
    region = page.get_by_role("region", name=card)
    region.get_by_label("Why").fill(reason)
    if card == "Discard":
        region.get_by_label("Nobody gets it").check()
    region.get_by_role("button", name=button).click()


def test_a_person_searches_reads_and_decides(
    ward: ConsoleWard, emil: httpx.Client, sign_in: SignIn, watch: Watch, tmp_path: Path
) -> None:
    ward.add_chart()
    for patient in PATIENTS:
        ward.measure_for_nobody("Okafor^Ada <b>", number=patient)
    first, second, third = ward.letters(emil, len(PATIENTS))

    page = sign_in("emil")
    page.get_by_role("link", name="Dead letters").click()
    expect(page.get_by_text("identity: no declared device")).to_have_count(len(PATIENTS))
    expect(page.locator("main")).not_to_contain_text("Okafor")
    picture(page, tmp_path, "dead-letters")
    page.get_by_label("Patient number").fill(PATIENTS[1])
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="Read number")).to_have_count(1)
    assert PATIENTS[1] not in page.url, "no patient's number stands in an address"

    page.get_by_role("link", name=f"Read number {second}").click()
    expect(page.get_by_role("row", name="PID-5")).to_contain_text("Okafor^Ada <b>")
    expect(page.get_by_role("row", name="PID-5")).to_contain_text("Patient Name")
    picture(page, tmp_path, "dead-letter")
    decide(page, "Send elsewhere", "Redirect", "the study has it")
    page.wait_for_url("**/dead-letters")
    assert state_of(emil, second) == "queued"

    page.goto(f"{ward.base}/dead-letters/{first}")
    decide(page, "Release to the chart", "Release", "seen at the bed")
    page.wait_for_url("**/dead-letters")
    assert state_of(emil, first) == "queued"

    page.goto(f"{ward.base}/dead-letters/{third}")
    decide(page, "Discard", "Discard", "a test of the technician")
    expect(page.get_by_text("Nothing waits.")).to_be_visible()
    assert state_of(emil, third) == "discarded"

    entries = audited(ward)
    for act in ("search", "read", "replay", "redirect", "discard"):
        assert f"{act}-dead-letter" in entries
    assert "a test of the technician" in entries
    assert (found(page), watch.foreign, watch.errors, watch.dialogs) == ([], [], [], [])


def test_only_who_may_handle_them_sees_them(ward: ConsoleWard) -> None:
    for name in ("clara", "wall", "boss"):
        client = ward.sign_in(name)
        assert client.get("/dead-letters").status_code == 403
        assert client.get("/dead-letters/1").status_code == 403
        assert "/dead-letters" not in client.get("/devices").text
        answer = client.post("/dead-letters/1/discard", headers={"Origin": ward.base}, data={})
        assert answer.status_code == 403


def test_no_other_page_decides_for_somebody(ward: ConsoleWard, emil: httpx.Client) -> None:
    ward.measure_for_nobody("Okafor^Ada", number="VI-9")
    number = ward.letters(emil, 1)[-1]
    form = {"reason": "none", "to": "archive", "sure": "1"}
    for origin in ("https://evil.example", ward.base):
        for act in ("replay", "redirect", "discard"):
            path = f"/dead-letters/{number}/{act}"
            answer = emil.post(path, headers={"Origin": origin}, data=form)
            assert answer.status_code in (400, 403), act
    assert state_of(emil, number) == "held"


def picture(page: Page, tmp_path: Path, name: str) -> None:
    """Take a picture in both themes, for docs/images where ASEPSIS_PICTURES is set."""
    folder = IMAGES if os.environ.get("ASEPSIS_PICTURES") else tmp_path
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.screenshot(path=str(folder / f"{name}-{theme}.png"))
