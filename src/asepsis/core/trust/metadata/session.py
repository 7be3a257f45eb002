"""One contact of a device with one repository: TUF's client workflow over a store and a source.

The rules are python-tuf's (`TrustedMetadataSet`: pure, no I/O); the order of loading and every
write is ours, for three reasons. The time comes from the caller, because a device's own clock is
not trusted. Nothing here opens a socket, so this runs in a process that has none. And each file is
durable before the next step relies on it.

Source: TUF specification 1.0.34, section 5 (detailed client workflow).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, cast
from urllib import parse

from asepsis.core.errors import NotFound, TrustError
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.library import (
    Delegations,
    EnvelopeType,
    EqualVersionNumberError,
    RepositoryError,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
    TrustedMetadataSet,
)

NAME_BYTES_MAX: Final = 255 - len(".json.partial")
"""Longest encoded role name: it becomes a file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a repository may cost a device, in bytes and counts.

    Attributes:
        root_bytes: One root.
        timestamp_bytes: The timestamp.
        snapshot_bytes: A snapshot whose length the timestamp does not say.
        targets_bytes: A targets role whose length the snapshot does not say.
        root_rotations: Roots followed in one contact.
        roles: Delegated roles looked into for one artefact.
    """

    root_bytes: int = 512_000
    timestamp_bytes: int = 16_384
    snapshot_bytes: int = 2_000_000
    targets_bytes: int = 5_000_000
    root_rotations: int = 256
    roles: int = 32


class Store(Protocol):
    """Where a device keeps the metadata it trusts."""

    def read(self, name: str) -> bytes | None:
        """Return a file, or None."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Make a file durable, whole or not at all.

        Raises:
            Unavailable: The disk takes no more.
        """
        ...


class Source(Protocol):
    """Where metadata comes from; nothing it says is believed."""

    def metadata(self, name: str, *, bytes_max: int) -> bytes:
        """Return a metadata file.

        Raises:
            NotFound: The repository has none of that name.
            LimitExceeded: It is longer than `bytes_max`.
            Unavailable: The repository does not answer.
        """
        ...


class Session:
    """One contact.

    Args:
        store: Trusted metadata of this repository; holds a root.
        source: The repository.
        now: Trusted time, aware.
        limits: What the repository may cost.

    Raises:
        TrustError: The store holds no root, or none that holds.
    """

    def __init__(
        self, *, store: Store, source: Source, now: datetime, limits: Limits | None = None
    ) -> None:
        self._store = store
        self._source = source
        self._limits = limits or Limits()
        root = store.read(file_name(Root.type))
        if root is None:
            raise TrustError("there is no trusted root", hint="give the device its root first")
        with translated("the trusted root"):
            self._trusted = TrustedMetadataSet(root, EnvelopeType.METADATA)
        self._trusted.reference_time = now

    @property
    def root(self) -> Root:
        """The newest trusted root."""
        return self._trusted.root

    @property
    def consistent(self) -> bool:
        """Whether files are named by version and hash."""
        return bool(self.root.consistent_snapshot)

    @property
    def targets(self) -> Targets:
        """The top-level targets, after `refresh`."""
        return cast("Targets", self._trusted[Targets.type])

    def refresh(self) -> None:
        """Bring the top-level roles up to date (section 5.3 to 5.6).

        Raises:
            TrustError: Signature, expiry, rollback, or mixed versions.
            ContentMismatch: Another length or hash than the signed one.
            LimitExceeded: More bytes than allowed.
            Unavailable: No answer, or the disk is full.
        """
        self._refresh_root()
        self._refresh_timestamp()
        self._refresh_snapshot()
        self._load_targets(Targets.type, Root.type)

    def find(self, path: str) -> TargetFile | None:
        """Return what the repository signs about an artefact, or None (section 5.6.7).

        Delegations are searched in order, the most trusted first; a terminating one ends it.

        Raises:
            AsepsisError: As `refresh`.
        """
        if Targets.type not in self._trusted:
            self.refresh()
        visit = [(Targets.type, Root.type)]
        visited: set[str] = set()
        while visit and len(visited) <= self._limits.roles:
            role, parent = visit.pop()
            if role in visited:
                continue
            targets = self._load_targets(role, parent)
            found = targets.targets.get(path)
            if found is not None:
                return found
            visited.add(role)
            children, ends = _children(targets, path)
            if ends:
                visit = []
            visit.extend((child, role) for child in reversed(children))
        return None

    def paths(self) -> Iterator[str]:
        """Yield every path that a role names, after `refresh`; what counts for it `find` says.

        Raises:
            AsepsisError: As `refresh`.
        """
        visit, visited = [(Targets.type, Root.type)], set[str]()
        while visit and len(visited) <= self._limits.roles:
            role, parent = visit.pop()
            if role in visited:
                continue
            visited.add(role)
            targets = self._load_targets(role, parent)
            yield from targets.targets
            if targets.delegations is not None:
                visit.extend((name, role) for name in _names(targets.delegations))

    def _refresh_root(self) -> None:
        first = self.root.version + 1
        for version in range(first, first + self._limits.root_rotations):
            try:
                content = self._fetch(Root.type, version, self._limits.root_bytes)
            except NotFound:
                return
            with translated(f"root {version}"):
                self._trusted.update_root(content)
            self._store.write(file_name(Root.type), content)

    def _refresh_timestamp(self) -> None:
        kept = self._store.read(file_name(Timestamp.type))
        if kept is not None:
            self._take_kept(lambda: self._trusted.update_timestamp(kept))
        content = self._fetch(Timestamp.type, None, self._limits.timestamp_bytes)
        with translated("the timestamp"):
            try:
                self._trusted.update_timestamp(content)
            except EqualVersionNumberError:
                return  # The one we have; its bytes stay.
        self._store.write(file_name(Timestamp.type), content)

    def _refresh_snapshot(self) -> None:
        kept = self._store.read(file_name(Snapshot.type))
        if kept is not None and self._take_kept(
            lambda: self._trusted.update_snapshot(kept, trusted=True)
        ):
            return
        said = self._trusted.timestamp.snapshot_meta
        content = self._fetch(
            Snapshot.type,
            said.version if self.consistent else None,
            said.length or self._limits.snapshot_bytes,
        )
        with translated("the snapshot"):
            self._trusted.update_snapshot(content)
        self._store.write(file_name(Snapshot.type), content)

    def _load_targets(self, role: str, parent: str) -> Targets:
        if self._trusted.contains(role, parent):
            return cast("Targets", self._trusted[role])
        name = file_name(role)
        kept = self._store.read(name)
        if kept is not None and self._take_kept(
            lambda: self._trusted.update_delegated_targets(kept, role, parent)
        ):
            return cast("Targets", self._trusted[role])
        said = self._trusted.snapshot.meta.get(f"{role}.json")
        if said is None:
            raise TrustError(f"role {role} is delegated to and not in the snapshot")
        content = self._fetch(
            role,
            said.version if self.consistent else None,
            said.length or self._limits.targets_bytes,
        )
        with translated(f"role {role}"):
            found = self._trusted.update_delegated_targets(content, role, parent)
        self._store.write(name, content)
        return found

    def _take_kept(self, take: "_Take") -> bool:
        """Try what the device has; what does not hold any more is fetched anew."""
        try:
            take()
        except RepositoryError:
            return False
        return True

    def _fetch(self, role: str, version: int | None, bytes_max: int) -> bytes:
        name = file_name(role)
        return self._source.metadata(
            name if version is None else f"{version}.{name}", bytes_max=bytes_max
        )


class _Take(Protocol):
    def __call__(self) -> object: ...


def file_name(role: str) -> str:
    """Return the file name of a role; what a name may not hold is percent-encoded.

    Raises:
        TrustError: The name is too long for a file.
    """
    encoded = parse.quote(role, "")
    if len(encoded) > NAME_BYTES_MAX:
        raise TrustError("a delegated role's name is too long")
    return f"{encoded}.json"


def prefixed(target: TargetFile, *, consistent: bool) -> str:
    """Return where an artefact lies below the repository's targets (section 6.2, hash prefixes)."""
    if not consistent:
        return target.path
    folder, slash, name = target.path.rpartition("/")
    return f"{folder}{slash}{next(iter(target.hashes.values()))}.{name}"


def _names(delegations: Delegations) -> list[str]:
    if delegations.succinct_roles is not None:
        return list(delegations.succinct_roles.get_roles())
    return list(delegations.roles or {})


def _children(targets: Targets, path: str) -> tuple[list[str], bool]:
    if targets.delegations is None:
        return [], False
    names: list[str] = []
    for name, terminating in targets.delegations.get_roles_for_target(path):
        names.append(name)
        if terminating:
            return names, True
    return names, False
