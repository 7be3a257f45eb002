"""Signing drafts and publishing them: nothing leaves that a device would refuse."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from asepsis.core.errors import ConfigError, Conflict, NotPermitted, SignatureInvalid
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.fields import CUSTOM
from asepsis.core.trust.metadata.library import (
    CryptoSigner,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from asepsis.core.trust.metadata.session import file_name, prefixed
from asepsis.tools.release.repository import AnyMetadata, Repository

SNAPSHOT_FILE: Final = "snapshot.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far a role's newest version is signed.

    Attributes:
        role: Name.
        version: Version.
        signed: Ids of the keys that signed it and count.
        missing: How many further keys are needed.
        unsigned: Ids of the keys that may still sign.
    """

    role: str
    version: int
    signed: tuple[str, ...]
    missing: int
    unsigned: tuple[str, ...]


def tally(repository: Repository, role: str) -> Tally:
    """Count the signatures of a role's newest version; a root needs the old root's keys too.

    Raises:
        NotFound: There is no such role.
    """
    metadata = repository.current(role)
    found = [_result(root, role, metadata) for root in _judges(repository, role)]
    signed = {keyid for result in found for keyid in result.signed}
    return Tally(
        role=role,
        version=metadata.signed.version,
        signed=tuple(sorted(signed)),
        missing=max(result.missing for result in found),
        unsigned=tuple(sorted({keyid for result in found for keyid in result.unsigned})),
    )


def sign(repository: Repository, signer: CryptoSigner) -> tuple[str, ...]:
    """Sign every draft that this key may sign; returns their roles.

    Raises:
        NotPermitted: No draft waits for this key.
    """
    keyid = signer.public_key.keyid
    done: list[str] = []
    for role, metadata in repository.drafts().items():
        if keyid not in tally(repository, role).unsigned:
            continue
        with translated(role):
            metadata.sign(signer, append=True)
        repository.write_draft(role, metadata)
        done.append(role)
    if not done:
        raise NotPermitted(
            f"no draft waits for key {keyid[:16]}", hint="`asepsis release inspect` shows who may"
        )
    return tuple(done)


def publish(
    repository: Repository, signers: Sequence[CryptoSigner], *, now: datetime
) -> dict[str, int]:
    """Check every role as a device would, then publish; returns the versions.

    Artefacts appear first, then metadata, the timestamp last: a device that asks in between sees
    the old state or the new one, whole.

    Args:
        repository: Whose drafts.
        signers: Keys of the snapshot and timestamp roles.
        now: Present time, aware.

    Raises:
        SignatureInvalid: A role lacks signatures.
        ConfigError: A role has expired, or an artefact is missing.
        Conflict: A director's root has nothing below it to publish.
    """
    for role in repository.roles():
        _check(repository, role, now=now)
    files = _changed(repository)
    if Targets.type not in repository.roles():
        if not files:
            raise Conflict("there is no draft to publish")
        repository.write_public(files)
        repository.remove_drafts()
        return {Root.type: repository.root().version}
    snapshot = _snapshot(repository, signers, files=files, now=now)
    timestamp = _timestamp(repository, signers, snapshot=snapshot, now=now)
    for role in repository.roles()[1:]:
        for target in cast("Targets", repository.current(role).signed).targets.values():
            repository.publish_artefact(target.hashes["sha256"], prefixed(target, consistent=True))
            document = cast("dict[str, Any]", target.custom or {}).get(CUSTOM, {}).get("document")
            if document:
                repository.publish_document(document)
    repository.write_public(
        {
            **files,
            f"{snapshot.signed.version}.{SNAPSHOT_FILE}": snapshot.to_bytes(),
            file_name(Timestamp.type): timestamp.to_bytes(),
        }
    )
    versions = {role: repository.current(role).signed.version for role in repository.roles()}
    repository.remove_drafts()
    return versions | {
        Snapshot.type: snapshot.signed.version,
        Timestamp.type: timestamp.signed.version,
    }


def _check(repository: Repository, role: str, *, now: datetime) -> None:
    counted = tally(repository, role)
    if counted.missing:
        ids = ", ".join(keyid[:16] for keyid in counted.unsigned)
        raise SignatureInvalid(
            f"{role} version {counted.version} lacks {counted.missing} signature(s)",
            hint=f"any of {ids}: `asepsis release sign --key ...`",
        )
    if repository.current(role).signed.is_expired(now):
        raise ConfigError(f"{role} has expired", hint=f"`asepsis release rotate {role}` renews it")


def _changed(repository: Repository) -> dict[str, bytes]:
    """Return the drafts by published name: roots first, as they are what the rest hangs on."""
    return {
        f"{metadata.signed.version}.{file_name(role)}": metadata.to_bytes()
        for role, metadata in repository.drafts().items()
    }


def _snapshot(
    repository: Repository,
    signers: Sequence[CryptoSigner],
    *,
    files: dict[str, bytes],
    now: datetime,
) -> Metadata[Snapshot]:
    meta: dict[str, MetaFile] = {}
    for role in repository.roles()[1:]:
        version = repository.current(role).signed.version
        content = files.get(f"{version}.{file_name(role)}") or repository.published_bytes(role)
        if content is None:
            raise AssertionError("a current role is a draft or published")
        meta[f"{role}.json"] = MetaFile.from_data(version, content, ["sha256"])
    signed = Snapshot(
        version=_next(repository, Snapshot.type),
        expires=repository.settings.expiry(Snapshot.type, now),
        meta=meta,
    )
    return _signed(repository, Metadata(signed), signers)


def _timestamp(
    repository: Repository,
    signers: Sequence[CryptoSigner],
    *,
    snapshot: Metadata[Snapshot],
    now: datetime,
) -> Metadata[Timestamp]:
    described = MetaFile.from_data(snapshot.signed.version, snapshot.to_bytes(), ["sha256"])
    signed = Timestamp(
        version=_next(repository, Timestamp.type),
        expires=repository.settings.expiry(Timestamp.type, now),
        snapshot_meta=described,
    )
    return _signed(repository, Metadata(signed), signers)


def _next(repository: Repository, role: str) -> int:
    found = repository.published(role)
    return 1 if found is None else found.signed.version + 1


def _signed(repository: Repository, metadata: Any, signers: Sequence[CryptoSigner]) -> Any:
    role = metadata.signed.type
    holders = repository.root().roles[role]
    for signer in signers:
        if signer.public_key.keyid in holders.keyids:
            with translated(role):
                metadata.sign(signer, append=True)
    result = _result(repository.root(), role, metadata)
    if not result.verified:
        raise SignatureInvalid(
            f"{role} lacks {result.missing} signature(s)",
            hint=f"publish with --key of {', '.join(k[:16] for k in result.unsigned)}",
        )
    return metadata


def _judges(repository: Repository, role: str) -> list[Root | Targets]:
    """Return whose keys must have signed a role: of a new root, the old one's as well."""
    if role == Root.type:
        old = repository.published(Root.type)
        new = repository.root()
        return [new] if old is None else [cast("Root", old.signed), new]
    return [repository.root() if role == Targets.type else repository.targets()]


def _result(judge: Root | Targets, role: str, metadata: AnyMetadata) -> Any:
    with translated(role):
        return judge.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
