"""Makes a bundle where the keys of the offline role are; nothing of it needs a network.

What goes in is checked as a device checks it: the vendor's repository from its first root on, and
the authorisation by both parties. So a bundle that devices would refuse is not made.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

from asepsis.core.errors import ConfigError, InputError, LimitExceeded, NotFound
from asepsis.core.model.release import ReleaseDocument, delta_place, read_document
from asepsis.core.trust import bundle
from asepsis.core.trust.bundle import DIRECTOR, Member, device_folder
from asepsis.core.trust.metadata import authorisation as authorisations
from asepsis.core.trust.metadata.fields import Assignment, Release, read_custom, write_custom
from asepsis.core.trust.metadata.library import (
    CryptoSigner,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from asepsis.core.trust.metadata.offline import LIFETIME_S_MAX, Terms, write_terms
from asepsis.core.trust.metadata.session import Session, prefixed

DAYS_MAX: Final = LIFETIME_S_MAX // 86_400
DEVICES_MAX: Final = 1_000
ROOT_FILE: Final = "root.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device of the list.

    Attributes:
        name: Its name.
        hardware: Its hardware id.
        after: Version of the director's metadata that the hub has for it; 0 for none.
    """

    name: str
    hardware: str
    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One artefact.

    Attributes:
        vendor: Whose.
        path: Target path in the vendor's repository.
        authorisation: The document that both parties signed.
    """

    vendor: str
    path: str
    authorisation: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where things are taken from.

    Attributes:
        offline: Folder of the offline role's published roots (`public/metadata`).
        vendors: Vendor -> its published repository (`public`, with `metadata` and `targets`).
        signers: Keys of the offline role.
        documents: Further files for people, such as release documents and SBOMs.
    """

    offline: Path
    vendors: Mapping[str, Path]
    signers: Sequence[CryptoSigner]
    documents: Sequence[Path] = ()


@dataclass(slots=True)
class _Memory:
    """A store and source over a folder of metadata; notes what a device would read."""

    folder: Path
    kept: dict[str, bytes] = field(default_factory=dict[str, bytes])
    read_names: list[str] = field(default_factory=list[str])

    def read(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def write(self, name: str, content: bytes) -> None:
        self.kept[name] = content

    def metadata(self, name: str, *, bytes_max: int) -> bytes:
        path = self.folder / name
        if "/" in name or not path.is_file():
            raise NotFound(f"no {name}")
        content = _read(path)
        if len(content) > bytes_max:
            raise LimitExceeded(f"{name} is too long")
        self.read_names.append(name)
        return content


@dataclass(slots=True)
class _Contents:
    """What goes in, in order: bytes, or files that are copied."""

    found: dict[str, bytes | Path] = field(default_factory=dict[str, bytes | Path])

    def put(self, name: str, content: bytes | Path) -> None:
        self.found[name] = content

    def write(self, into: IO[bytes]) -> bytes:
        """Write the bundle; returns its name, the SHA-256 of the index."""
        members = [_member(name, content) for name, content in self.found.items()]
        head = bundle.index_of(members)
        into.write(head)
        for content in self.found.values():
            if isinstance(content, bytes):
                into.write(content)
            else:
                with content.open("rb") as file:
                    shutil.copyfileobj(file, into)
        return hashlib.sha256(head[12:]).digest()


def make(
    into: Path,
    *,
    devices: Sequence[Device],
    wanted: Sequence[Wanted],
    sources: Sources,
    counter: int,
    days: int,
    now: datetime,
) -> str:
    """Make a bundle; returns its name, hexadecimal.

    Args:
        into: New file.
        devices: Who may use it, at most `DEVICES_MAX`.
        wanted: What they are to have.
        sources: Where things are.
        counter: Number of the bundle for each of them, above every one before.
        days: How long it counts, 1 to 14.
        now: Present time, aware.

    Raises:
        InputError: Nothing for nobody, or something that devices would refuse.
        TrustError: A repository or an authorisation does not hold.
        ConfigError: A file cannot be read or written.
    """
    if not devices or not wanted or len(devices) > DEVICES_MAX or not 1 <= days <= DAYS_MAX:
        raise InputError(
            f"a bundle is for 1 to {DEVICES_MAX} devices, of something, and 1 to {DAYS_MAX} days"
        )
    ends = now.replace(microsecond=0) + timedelta(days=days)
    contents = _Contents()
    hospital = _offline_roots(sources.offline, contents)
    targets = [
        _take(one, sources, contents, hospital=hospital, now=now, ends=ends) for one in wanted
    ]
    for device in devices:
        terms = Terms(
            device=device.name,
            hardware=device.hardware,
            counter=counter,
            prepared_s=int(now.timestamp()),
            after=device.after,
        )
        for name, content in _signed(terms, targets, signers=sources.signers, ends=ends).items():
            contents.put(f"{device_folder(device.name)}/{name}", content)
    for path in sources.documents:
        contents.put(f"documents/{path.name}", path)
    try:
        with into.open("xb") as file:
            return contents.write(file).hex()
    except OSError as error:
        raise ConfigError(f"{into} cannot be written: {error.strerror}") from error


def _offline_roots(folder: Path, contents: _Contents) -> Root:
    """Take every root of the offline role and return the newest."""
    newest: bytes | None = None
    for version in range(1, 1_000):
        path = folder / f"{version}.{ROOT_FILE}"
        if not path.is_file():
            break
        newest = _read(path)
        contents.put(f"{DIRECTOR}/{path.name}", newest)
    if newest is None:
        raise ConfigError(
            f"{folder} holds no root of the offline role",
            hint="asepsis release init --director, then sign and publish",
        )
    return Metadata[Root].from_bytes(newest).signed


def _take(
    one: Wanted,
    sources: Sources,
    contents: _Contents,
    *,
    hospital: Root,
    now: datetime,
    ends: datetime,
) -> TargetFile:
    """Take one artefact with everything that proves it; returns what is assigned."""
    public = sources.vendors.get(one.vendor)
    if public is None:
        raise InputError(f"nobody said where vendor {one.vendor}'s repository is")
    memory = _Memory(public / "metadata")
    memory.write(ROOT_FILE, _read(memory.folder / f"1.{ROOT_FILE}"))
    session = Session(store=memory, source=memory, now=now)
    released = session.find(one.path)
    if released is None:
        raise InputError(f"{one.vendor} names no release {one.path}")
    if Metadata[Timestamp].from_bytes(memory.kept["timestamp.json"]).signed.expires < ends:
        raise InputError(
            f"{one.vendor}'s timestamp ends before the bundle does",
            hint="`asepsis release publish` renews it; or fewer --days",
        )
    _check_authorised(one, released, vendor=session.root, hospital=hospital, now=now)
    for name in (f"1.{ROOT_FILE}", *memory.read_names):
        contents.put(f"vendors/{one.vendor}/metadata/{name}", _read(memory.folder / name))
    document = f"documents/{read_custom(released, Release).document}.json"
    if (memory.folder / document).is_file():  # Self-tests and terms of the installation.
        contents.put(f"vendors/{one.vendor}/metadata/{document}", memory.folder / document)
        _put_deltas(one, read_document(_read(memory.folder / document)), public, contents)
    place = prefixed(released, consistent=session.consistent)
    contents.put(f"vendors/{one.vendor}/targets/{place}", public / "targets" / place)
    digest = hashlib.sha256(one.authorisation).hexdigest()
    contents.put(f"{DIRECTOR}/authorisations/{digest}.json", one.authorisation)
    said = TargetFile(released.length, dict(released.hashes), released.path)
    # Filled in for each device; the vendor and the document are the same for all.
    said.unrecognized_fields["custom"] = {"vendor": one.vendor, "authorisation": digest}
    return said


def _put_deltas(one: Wanted, document: ReleaseDocument, public: Path, contents: _Contents) -> None:
    """Take the published differences too: a device that has the old artefact reads less."""
    for delta in (delta for component in document.components for delta in component.deltas):
        name = f"targets/{delta_place(document.model, delta.sha256)}"
        if (public / name).is_file():
            contents.put(f"vendors/{one.vendor}/{name}", public / name)


def _check_authorised(
    one: Wanted, released: TargetFile, *, vendor: Root, hospital: Root, now: datetime
) -> None:
    release = read_custom(released, Release)
    found = authorisations.check(
        one.authorisation, vendor=vendor, hospital=hospital, now=now, author=release.author
    )
    if found.target.hashes != released.hashes or found.target.path != released.path:
        raise InputError(f"the authorisation is not of {one.path}")


def _signed(
    terms: Terms, targets: Sequence[TargetFile], *, signers: Sequence[CryptoSigner], ends: datetime
) -> dict[str, bytes]:
    """Return the files that the offline role signs for one device."""
    named: dict[str, TargetFile] = {}
    for one in targets:
        said: Any = one.unrecognized_fields["custom"]
        target = TargetFile(one.length, dict(one.hashes), one.path)
        assigned = Assignment(device=terms.device, hardware=terms.hardware, **said)
        write_custom(target, assigned)
        named[one.path] = target
    version = terms.counter
    role = Targets(version=version, expires=ends, targets=named)
    write_terms(role, terms)
    of_version = MetaFile(version=version)
    roles: dict[str, Any] = {
        f"{version}.targets.json": role,
        f"{version}.snapshot.json": Snapshot(
            version=version, expires=ends, meta={"targets.json": of_version}
        ),
        "timestamp.json": Timestamp(version=version, expires=ends, snapshot_meta=of_version),
    }
    found: dict[str, bytes] = {}
    for name, signed in roles.items():
        metadata: Any = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        found[name] = metadata.to_bytes()
    return found


def _member(name: str, content: bytes | Path) -> Member:
    if isinstance(content, bytes):
        return Member(name, len(content), hashlib.sha256(content).hexdigest())
    try:
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Member(name, content.stat().st_size, digest)
    except OSError as error:
        raise ConfigError(f"{content} cannot be read: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
