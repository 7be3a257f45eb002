"""Releases: what vendors published, who approved it, what the manufacturer says, where it runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from litestar import get
from litestar.params import FromPath

from asepsis.core.errors import NotFound
from asepsis.core.model.release_assessment import Conclusion, conclude
from asepsis.hub.access.rules import Action
from asepsis.hub.console.lines import Word
from asepsis.hub.console.pages import Page, Web
from asepsis.hub.console.services import Console
from asepsis.hub.console.words import STANDINGS, STATES
from asepsis.hub.fleet.campaigns.model import Standing
from asepsis.hub.fleet.releases.records import read_root, read_vendors
from asepsis.hub.fleet.releases.service import Judged

PAGE: Final = "/releases"
ONE: Final = "/releases/{sha256:str}"
LINES_MAX: Final = 200
HASH_CHARS: Final = 64
_CONCLUSIONS: Final = {
    Conclusion.NO_SUBMISSION: Word("no new submission", "good"),
    Conclusion.SUBMISSION: Word("covered by a submission", "good"),
    Conclusion.SUBMISSION_MISSING: Word("a submission is needed first", "bad"),
    Conclusion.NOT_COVERED: Word("not covered by this pathway", "bad"),
    Conclusion.DECIDED: Word("decided by the manufacturer", "info"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A campaign of a release, with its devices counted.

    Attributes:
        name: Of the campaign.
        state: In words.
        counts: Words and numbers of devices.
    """

    name: str
    state: Word
    counts: Sequence[tuple[Word, int]]


@get(PAGE, opt={"action": Action.LIST_DEVICES})
async def releases_page(request: Web, console: Console) -> Page:
    """Show every release and how far it is, the newest counter first."""
    updates = console.updates
    found = await updates.releases.judged()
    vendors = await console.store.read(read_vendors)
    root = await console.store.read(read_root)
    return console.frame.page(
        request,
        "releases.html",
        releases=found[:LINES_MAX],
        more=max(0, len(found) - LINES_MAX),
        ready=sum(not one.standing.why for one in found),
        total=len(found),
        vendors=vendors,
        root=root[0] if root else 0,
    )


@get(ONE, opt={"action": Action.LIST_DEVICES})
async def release_page(request: Web, sha256: FromPath[str], console: Console) -> Page:
    """Show one release with its assessment, approvals, self-tests, and where it runs."""
    if len(sha256) != HASH_CHARS:
        raise NotFound("there is no such release")
    judged, document = await console.updates.releases.document(sha256)
    pathways = document.assessment.pathways if document else ()
    return console.frame.page(
        request,
        "release.html",
        one=judged.published,
        standing=judged.standing,
        approvers=_approvers(judged),
        document=document,
        conclusions=[(one, _CONCLUSIONS[conclude(one)]) for one in pathways],
        runs=await _runs(console, sha256),
    )


HANDLERS: Final = (releases_page, release_page)


def _approvers(judged: Judged) -> Sequence[tuple[str, Sequence[str]]]:
    said = judged.standing
    return (("Vendor", said.vendor), ("Hospital", said.hospital))


async def _runs(console: Console, sha256: str) -> list[Run]:
    runs: list[Run] = []
    for stored, tallies in await console.updates.planning.runs(sha256):
        counted = Counter[Standing]()
        for tally in tallies.values():
            counted.update(tally.counts)
        counts = [(STANDINGS[one], counted[one]) for one in Standing if counted[one]]
        runs.append(Run(name=stored.name, state=STATES[stored.state], counts=counts))
    return runs
