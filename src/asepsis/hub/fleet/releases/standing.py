"""How far an artefact is from a ward: published, assessed, approved by both parties, valid now.

Pure. The hub's word opens nothing: a device judges the same documents again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from asepsis.core.errors import AsepsisError, InputError, NotPermitted
from asepsis.core.model.release import ReleaseDocument
from asepsis.core.trust.metadata.authorisation import Authorisation, check, read, signed_by
from asepsis.core.trust.metadata.library import Root
from asepsis.hub.fleet.ports import ReleaseFacts
from asepsis.hub.fleet.releases.records import Approval, Published

NS: Final = 1_000_000_000
NO_ROOT: Final = "this hub has no root of its director yet"
NOT_APPROVED: Final = "not approved: no authorisation was brought"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far one artefact is.

    Attributes:
        approval: The authorisation that holds now; None for none.
        authorisation: What it says; None without it.
        why: Why it can not be rolled out now; empty if it can.
        vendor: Ids of the vendor's approvers who signed, of the newest authorisation.
        hospital: The same of the hospital's.
    """

    approval: Approval | None = None
    authorisation: Authorisation | None = None
    why: str = ""
    vendor: tuple[str, ...] = ()
    hospital: tuple[str, ...] = ()


def standing(
    one: Published,
    approvals: Sequence[Approval],
    *,
    vendor: Root,
    hospital: Root | None,
    now_ns: int,
) -> Standing:
    """Return how far an artefact is.

    Args:
        one: The artefact.
        approvals: Authorisations of it, the newest first.
        vendor: Trusted root of the vendor.
        hospital: Newest root of the director; None where there is none.
        now_ns: Present time, nanoseconds since 1970.
    """
    if one.withdrawn or one.trouble:
        return Standing(why="withdrawn by the vendor" if one.withdrawn else one.trouble)
    if hospital is None:
        return Standing(why=NO_ROOT)
    now, found = datetime.fromtimestamp(now_ns // NS, UTC), Standing(why=NOT_APPROVED)
    for approval in approvals:
        judged = _judged(one, approval, vendor=vendor, hospital=hospital, now=now)
        if not judged.why:
            return judged
        if found.why == NOT_APPROVED:
            found = judged
    return found


def check_about(one: Published, content: bytes) -> Authorisation:
    """Return what an authorisation says, if it is about this very artefact; signatures aside.

    Raises:
        InputError: Not an authorisation, or about something else.
        NotPermitted: The assessment is another one, or the artefact has none.
    """
    said = read(content)[1]
    _check_same(one, said)
    return said


def facts(one: Published, said: Standing, document: ReleaseDocument) -> ReleaseFacts:
    """Return what a campaign must know of an artefact that holds now."""
    if said.approval is None or said.authorisation is None:
        raise AssertionError("only what is approved has facts")
    terms, installing = said.authorisation.terms, document.installing
    return ReleaseFacts(
        sha256=one.sha256,
        vendor=one.vendor,
        path=one.path,
        length=one.length,
        model=one.model,
        models=terms.models,
        component=one.component,
        version=one.version,
        counter=one.counter,
        floor=max(one.floor, terms.floor),
        reboot=one.reboot,
        authorisation=said.approval.sha256,
        not_before_ns=terms.not_before * NS,
        expires_ns=int(said.authorisation.expires.timestamp()) * NS,
        document=one.document,
        out_of_cycle=document.assessment.schedule == "out-of-cycle",
        clinical_states=installing.states,
        acceptance=installing.acceptance,
        run_s=installing.run_s,
        rollback_s=installing.rollback_s,
    )


def _judged(
    one: Published, approval: Approval, *, vendor: Root, hospital: Root, now: datetime
) -> Standing:
    signers: tuple[list[str], list[str]] = ([], [])
    try:
        signers = signed_by(approval.content, vendor=vendor, hospital=hospital, author=one.author)
        said = check(approval.content, vendor=vendor, hospital=hospital, now=now, author=one.author)
        _check_same(one, said)
    except AsepsisError as error:
        return Standing(why=str(error), vendor=tuple(signers[0]), hospital=tuple(signers[1]))
    return Standing(
        approval=approval,
        authorisation=said,
        vendor=tuple(signers[0]),
        hospital=tuple(signers[1]),
    )


def _check_same(one: Published, said: Authorisation) -> None:
    target, terms = said.target, said.terms
    named = (target.path, target.length, target.hashes.get("sha256"), terms.counter)
    if named != (one.path, one.length, one.sha256, one.counter):
        raise InputError("the authorisation is about another artefact than the published one")
    if not one.document or terms.document != one.document:
        raise NotPermitted("the approvers read another release document than the vendor signed")
    if one.model not in terms.models:
        raise NotPermitted("the approvers do not allow the release for its own model")
