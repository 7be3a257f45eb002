"""Approving a release: each party's approver signs the same document with a key of their own."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from asepsis.core.errors import InputError, NotFound, NotPermitted
from asepsis.core.trust.metadata import authorisation
from asepsis.core.trust.metadata.approvers import read_approvers
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.fields import Release, Terms, read_custom
from asepsis.core.trust.metadata.library import CryptoSigner, Root, TargetFile, Targets
from asepsis.tools.release.repository import Repository, parse

DAYS_MAX: Final = 730


def propose(
    repository: Repository,
    path: str,
    *,
    models: Sequence[str],
    floor: int,
    days: int,
    now: datetime,
) -> bytes:
    """Return an unsigned authorisation of a published release.

    Args:
        repository: The vendor's.
        path: Target path.
        models: Models it may go to; none for the release's own.
        floor: Security floor; the release's own if that is higher.
        days: Validity, 1 to `DAYS_MAX`.
        now: Present time, aware.

    Raises:
        NotFound: No published role names that path.
        InputError: Validity or floor out of range.
    """
    if not 1 <= days <= DAYS_MAX:
        raise InputError(f"an authorisation holds 1 to {DAYS_MAX} days")
    target = _published(repository, path)
    release = read_custom(target, Release)
    terms = Terms(
        models=tuple(models) or (release.model,),
        counter=release.counter,
        floor=max(floor, release.floor),
        not_before=int(now.timestamp()),
        document=release.document,
    )
    return authorisation.draft(target, terms=terms, expires=now + timedelta(days=days))


def approve(
    content: bytes, signer: CryptoSigner, *, root: Root, party: str, author: str = ""
) -> bytes:
    """Return the authorisation with one more signature.

    Args:
        content: The document.
        signer: The approver's key.
        root: Root of the approver's party.
        party: `vendor` or `hospital`, for the message.
        author: SHA-256 of the assessment's author's public key, as the release document names it.

    Raises:
        NotPermitted: The key is no approver's of that party, or is the author's.
        InputError: Not an authorisation.
    """
    approvers = read_approvers(root, party=party)
    if signer.public_key.keyid not in {key.keyid for key in approvers.keys}:
        raise NotPermitted(f"key {signer.public_key.keyid[:16]} approves nothing for the {party}")
    metadata, found = authorisation.read(content)
    if author and authorisation.fingerprint(signer.public_key) == author:
        raise NotPermitted("who made the assessment does not approve it")
    if not found.terms.document:
        raise InputError("the authorisation names no release document")
    with translated("the authorisation"):
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def root_of(content: bytes, what: str) -> Root:
    """Read a root file that a person names.

    Raises:
        InputError: Not a root.
    """
    signed: object = parse(content, what).signed
    if not isinstance(signed, Root):
        raise InputError(f"{what} is no root")
    return signed


def _published(repository: Repository, path: str) -> TargetFile:
    for role in repository.roles()[1:]:
        published = repository.published(role)
        found = cast("Targets", published.signed).targets.get(path) if published else None
        if found is not None:
            return found
    raise NotFound(f"no published role names {path}", hint="publish the release first")
