"""Edits of a repository: each makes or changes a draft, and voids the signatures it had."""

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from asepsis.core.errors import Conflict, InputError, LimitExceeded, NotFound
from asepsis.core.trust.metadata.approvers import Approvers, write_approvers
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.fields import Release, read_custom, write_custom
from asepsis.core.trust.metadata.library import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    Role,
    Root,
    TargetFile,
    Targets,
)
from asepsis.tools.release.documents import Documented
from asepsis.tools.release.repository import TOP, AnyMetadata, Repository, Settings

TARGETS_PER_ROLE_MAX: Final = 2_000
"""Above it every refresh of every device grows; delegate by model first."""
ROLES_MAX: Final = 256
KEYS_PER_ROLE_MAX: Final = 16
NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
FILE: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_~-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """Who signs a role.

    Attributes:
        keys: Their public keys.
        threshold: How many must sign, at least 1 and at most as many as there are.
    """

    keys: Sequence[Key]
    threshold: int = 1

    def check(self, role: str) -> None:
        """Check that the threshold can be reached by different keys.

        Raises:
            InputError: It cannot.
        """
        different = {key.keyid for key in self.keys}
        if len(different) != len(self.keys) or len(different) > KEYS_PER_ROLE_MAX:
            raise InputError(f"{role}: at most {KEYS_PER_ROLE_MAX} keys, each once")
        if not 1 <= self.threshold <= len(different):
            raise InputError(
                f"{role}: threshold {self.threshold} with {len(different)} keys",
                hint="name more keys or lower the threshold",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a new repository begins with.

    Attributes:
        holders: Who signs root, targets, snapshot and timestamp.
        approvers: Who approves releases for this party; None for none yet.
        director: Whether a hub's director signs below this root: then nothing but the root is
            made here.
    """

    holders: dict[str, Holders] = field(default_factory=dict[str, Holders])
    approvers: Approvers | None = None
    director: bool = False


def init(folder: Path, *, settings: Settings, plan: Plan, now: datetime) -> Repository:
    """Make a repository with drafts of its first root and targets, to be signed.

    Raises:
        InputError: A threshold that cannot be reached.
        ConfigError: The folder holds a repository already.
    """
    root = Root(expires=settings.expiry(Root.type, now), consistent_snapshot=True)
    for role in TOP:
        holders = plan.holders[role]
        holders.check(role)
        for key in holders.keys:
            root.add_key(key, role)
        root.roles[role].threshold = holders.threshold
    if plan.approvers is not None:
        write_approvers(root, plan.approvers)
    repository = Repository.create(folder, settings)
    repository.write_draft(Root.type, Metadata(root))
    if not plan.director:
        targets = Targets(expires=settings.expiry(Targets.type, now))
        repository.write_draft(Targets.type, Metadata(targets))
    return repository


def add(
    repository: Repository,
    file: Path,
    *,
    release: Release,
    name: str,
    now: datetime,
    document: Documented | None = None,
) -> tuple[str, str]:
    """Add an artefact as a release of its model; returns its target path and the role's name.

    The counter must be above that of every release of the same model and component.

    Args:
        repository: The vendor's.
        file: The artefact.
        release: What is signed about it.
        name: Its file name.
        now: Present time, aware.
        document: The release document with its files; without it nobody can approve the release.

    Raises:
        InputError: A name that is none, an unreadable file, or a document that is not complete or
            is about something else.
        Conflict: The path or the counter is taken.
        LimitExceeded: The role is full.
    """
    if not FILE.fullmatch(name):
        raise InputError("an artefact's name has letters, digits and . + _ ~ - only")
    path = f"{release.model}/{name}"
    role = _role_for(repository, path)
    _check_counter(repository, release)
    try:
        target = TargetFile.from_file(path, str(file), ["sha256"])
    except OSError as error:
        raise InputError(f"{file} does not open: {error.strerror}") from error
    if document is not None:
        release = document.bind(release, target, vendor=repository.settings.name)
        for content in (document.content, *document.files, *document.deltas):
            repository.keep_document(content)
    write_custom(target, release)
    repository.keep_artefact(file, target.hashes["sha256"])

    def put(targets: Targets) -> None:
        if path in targets.targets:
            raise Conflict(f"{path} exists", hint="a release never changes; add a new one")
        if len(targets.targets) >= TARGETS_PER_ROLE_MAX:
            raise LimitExceeded(f"role {role} holds {TARGETS_PER_ROLE_MAX} releases")
        targets.targets[path] = target

    _edit(repository, role, lambda signed: put(cast("Targets", signed)), now=now)
    return path, role


def withdraw(repository: Repository, path: str, *, now: datetime) -> str:
    """Take a release back: no device installs it after the next publication; returns the role.

    Raises:
        NotFound: No role names that path.
    """
    for role in repository.roles()[1:]:
        targets = cast("Targets", repository.current(role).signed)
        if path in targets.targets:
            _edit(
                repository, role, lambda signed: cast("Targets", signed).targets.pop(path), now=now
            )
            return role
    raise NotFound(f"no role names {path}")


def delegate(
    repository: Repository,
    name: str,
    *,
    holders: Holders,
    paths: Sequence[str],
    now: datetime,
) -> None:
    """Let a role of its own sign a model's releases, or a hospital's data sets.

    Raises:
        InputError: A name or pattern that is none, or a threshold that cannot be reached.
        Conflict: The name is taken.
        LimitExceeded: Too many roles.
    """
    if not NAME.fullmatch(name) or name in TOP:
        raise InputError(f"{name} is no name of a role", hint="lower case, digits, . and -")
    if not paths or any(pattern.startswith("*") for pattern in paths):
        raise InputError("a delegated role signs below a named folder, such as 'm5/*'")
    holders.check(name)

    def put(signed: Targets) -> None:
        found = signed.delegations or Delegations({}, {})
        roles = found.roles if found.roles is not None else {}
        if name in roles:
            raise Conflict(f"role {name} exists", hint="`asepsis release rotate` changes its keys")
        if len(roles) >= ROLES_MAX:
            raise LimitExceeded(f"at most {ROLES_MAX} delegated roles")
        roles[name] = DelegatedRole(
            name=name, keyids=[], threshold=holders.threshold, terminating=True, paths=list(paths)
        )
        signed.delegations = Delegations(found.keys, roles)
        for key in holders.keys:
            signed.add_key(key, name)

    _edit(repository, Targets.type, lambda signed: put(cast("Targets", signed)), now=now)
    expires = repository.settings.expiry(name, now)
    repository.write_draft(name, Metadata(Targets(expires=expires)))


def rotate(
    repository: Repository,
    role: str,
    *,
    gain: Sequence[Key] = (),
    lose: Iterable[str] = (),
    threshold: int | None = None,
    now: datetime,
) -> tuple[str, ...]:
    """Change who signs a role, and begin a new version of it; returns the drafts to be signed.

    Without any change it only renews the role: a new version with a new end.

    Raises:
        NotFound: No such role, or it has no such key.
        InputError: The threshold could not be reached any more.
    """
    parent = Root.type if role in TOP else Targets.type
    gone = tuple(lose)
    if gain or gone or threshold is not None:
        _edit(
            repository,
            parent,
            lambda signed: _change(signed, role, gain=gain, lose=gone, threshold=threshold),
            now=now,
        )
    if role not in ("snapshot", "timestamp"):  # Publishing makes those anew every time.
        _edit(repository, role, _unchanged, now=now)
    return tuple(repository.drafts())


def revoke(repository: Repository, keyid: str, *, now: datetime) -> tuple[str, ...]:
    """Take a stolen or lost key out of every role; returns the drafts to be signed.

    Raises:
        NotFound: No role has such a key.
        InputError: A role would be left with fewer keys than its threshold: give it another first.
    """
    holding = [role for role in all_roles(repository) if keyid in role_of(repository, role).keyids]
    if not holding:
        raise NotFound(f"no role has a key {keyid}")
    for role in holding:
        left = role_of(repository, role)
        if len(left.keyids) - 1 < left.threshold:
            raise InputError(
                f"role {role} would have {len(left.keyids) - 1} keys of {left.threshold}",
                hint=f"`asepsis release rotate {role} --add NEW` first",
            )
    for role in holding:
        rotate(repository, role, lose=(keyid,), now=now)
    return tuple(repository.drafts())


def all_roles(repository: Repository) -> tuple[str, ...]:
    """Return every role that has keys."""
    return (*TOP, *(role for role in repository.roles() if role not in TOP))


def role_of(repository: Repository, role: str) -> Role:
    """Return who signs a role, by the newest root or targets.

    Raises:
        NotFound: There is no such role.
    """
    if role in TOP:
        return repository.root().roles[role]
    try:
        return (repository.delegations().roles or {})[role]
    except KeyError as error:
        raise NotFound(f"there is no role {role}") from error


def _change(
    signed: Any, role: str, *, gain: Sequence[Key], lose: Sequence[str], threshold: int | None
) -> None:
    with translated(f"role {role}"):
        try:
            for key in gain:
                signed.add_key(key, role)
            for keyid in lose:
                signed.revoke_key(keyid, role)
            found = cast("Role", signed.get_delegated_role(role))
        except ValueError as error:
            raise NotFound(f"role {role} has no such key") from error
    if threshold is not None:
        found.threshold = threshold
    if not 1 <= found.threshold <= len(found.keyids) <= KEYS_PER_ROLE_MAX:
        raise InputError(f"role {role}: threshold {found.threshold} with {len(found.keyids)} keys")


def _unchanged(signed: object) -> None:
    del signed  # A new version and a new end are the whole edit.


def _edit(
    repository: Repository, role: str, change: Callable[[Any], object], *, now: datetime
) -> None:
    metadata: AnyMetadata = copy.deepcopy(repository.current(role))
    if repository.draft(role) is None:
        metadata.signed.version += 1
    change(metadata.signed)
    metadata.signed.expires = repository.settings.expiry(role, now)
    metadata.signatures.clear()
    repository.write_draft(role, metadata)


def _role_for(repository: Repository, path: str) -> str:
    for name, role in (repository.delegations().roles or {}).items():
        if role.is_delegated_path(path):
            return name
    return Targets.type


def _check_counter(repository: Repository, release: Release) -> None:
    for role in repository.roles()[1:]:
        targets = cast("Targets", repository.current(role).signed)
        for target in targets.targets.values():
            other = read_custom(target, Release)
            same = (other.model, other.component) == (release.model, release.component)
            if same and other.counter >= release.counter:
                raise Conflict(
                    f"{other.model} {other.component} has counter {other.counter} already",
                    hint=f"take at least {other.counter + 1}",
                )
