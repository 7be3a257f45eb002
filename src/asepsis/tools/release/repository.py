"""The vendor's working folder: drafts that collect signatures, and what is published.

    repository.json     name and lifetimes
    drafts/ROLE.json    the next version of a role; every edit voids its signatures
    artefacts/SHA256    files of releases that are not published yet
    documents/SHA256    release documents and their files, not published yet
    public/metadata     what devices fetch: N.ROLE.json, timestamp.json, documents/SHA256.json
    public/files        what hubs fetch: SHA256 of a bill of materials, VEX, or decision
    public/targets      what devices fetch: FOLDER/SHA256.NAME, and differences: FOLDER/SHA256.delta

Private keys are never in it, so it can be carried to where they are.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, cast

import msgspec

from asepsis.core.errors import ConfigError, InputError, NotFound
from asepsis.core.model.release import ReleaseDocument, delta_place, digest, read_document
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.library import (
    Delegations,
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from asepsis.core.trust.metadata.session import file_name
from asepsis.core.trust.sealing import write_durably

TOP: Final = ("root", "targets", "snapshot", "timestamp")
PARTS: Final = (
    "drafts",
    "artefacts",
    "documents",
    "public/metadata/documents",
    "public/targets",
    "public/files",
)
METADATA_BYTES_MAX: Final = 5_000_000
Days = Annotated[int, msgspec.Meta(ge=1, le=3_650)]
AnyMetadata = Metadata[Any]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What init wrote.

    Attributes:
        name: Vendor, or hospital for the root of a director.
        root_days: Lifetime of a root, days.
        targets_days: Lifetime of targets and delegated roles, days.
        snapshot_days: Lifetime of a snapshot, days.
        timestamp_days: Lifetime of a timestamp, days; how long a freeze can last.
    """

    name: str
    root_days: Days = 730
    targets_days: Days = 365
    snapshot_days: Days = 60
    timestamp_days: Days = 14

    def expiry(self, role: str, now: datetime) -> datetime:
        """Return the end of a role that is made now, to the second."""
        days = {
            Root.type: self.root_days,
            Snapshot.type: self.snapshot_days,
            Timestamp.type: self.timestamp_days,
        }
        return now.replace(microsecond=0) + timedelta(days=days.get(role, self.targets_days))


_SETTINGS: Final = msgspec.json.Decoder(Settings)


@dataclass(frozen=True, slots=True)
class Repository:
    """An open working folder.

    Attributes:
        folder: Where.
        settings: What init wrote.
    """

    folder: Path
    settings: Settings

    @classmethod
    def create(cls, folder: Path, settings: Settings) -> "Repository":
        """Make the folder.

        Raises:
            ConfigError: It holds a repository already, or cannot be made.
        """
        path = folder / "repository.json"
        if path.exists():
            raise ConfigError(f"{folder} holds a repository already")
        try:
            for part in PARTS:
                (folder / part).mkdir(parents=True, exist_ok=True)
            write_durably(path, msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
        except OSError as error:
            raise ConfigError(f"{folder} cannot be made: {error.strerror}") from error
        return cls(folder, settings)

    @classmethod
    def open(cls, folder: Path) -> "Repository":
        """Open the folder.

        Raises:
            ConfigError: It holds no repository.
        """
        try:
            return cls(folder, _SETTINGS.decode((folder / "repository.json").read_bytes()))
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{folder} holds no repository", hint="begin with `asepsis release init`"
            ) from error

    @property
    def public(self) -> Path:
        """What a web server gives to devices."""
        return self.folder / "public" / "metadata"

    def draft(self, role: str) -> AnyMetadata | None:
        """Return the next version of a role, or None."""
        return _read(self.folder / "drafts" / file_name(role))

    def drafts(self) -> dict[str, AnyMetadata]:
        """Return all drafts by role; root first, then targets, then the others."""
        return {role: found for role in self.roles() if (found := self.draft(role)) is not None}

    def published(self, role: str) -> AnyMetadata | None:
        """Return the newest published version of a role, or None."""
        content = self.published_bytes(role)
        return None if content is None else parse(content, role)

    def published_bytes(self, role: str) -> bytes | None:
        """Return the newest published version of a role as it was published, or None."""
        if role == Timestamp.type:
            return _bytes(self.public / file_name(role))
        suffix = f".{file_name(role)}"
        versions = [
            int(number)
            for path in self.public.glob("*" + suffix.replace("[", "[[]"))
            if (number := path.name.removesuffix(suffix)).isdigit()
        ]
        return _bytes(self.public / f"{max(versions)}{suffix}") if versions else None

    def current(self, role: str) -> AnyMetadata:
        """Return the draft of a role, else what is published.

        Raises:
            NotFound: There is no such role.
        """
        found = self.draft(role) or self.published(role)
        if found is None:
            raise NotFound(f"there is no role {role}", hint="`asepsis release inspect` lists them")
        return found

    def root(self) -> Root:
        """Return the newest root, draft or published."""
        return cast("Root", self.current(Root.type).signed)

    def targets(self) -> Targets:
        """Return the newest top-level targets, draft or published."""
        return cast("Targets", self.current(Targets.type).signed)

    def delegations(self) -> Delegations:
        """Return who is delegated to, possibly nobody."""
        return self.targets().delegations or Delegations({}, {})

    def roles(self) -> tuple[str, ...]:
        """Return root, targets, and every role delegated to."""
        if self.draft(Targets.type) is None and self.published(Targets.type) is None:
            return (Root.type,)
        return (Root.type, Targets.type, *(self.delegations().roles or {}))

    def write_draft(self, role: str, metadata: AnyMetadata) -> None:
        """Write a draft.

        Raises:
            ConfigError: The disk takes no more.
        """
        self._write(self.folder / "drafts" / file_name(role), metadata.to_bytes())

    def write_public(self, files: Mapping[str, bytes]) -> None:
        """Publish files in their order; each appears whole.

        Raises:
            ConfigError: The disk takes no more.
        """
        for name, content in files.items():
            self._write(self.public / name, content)
            (self.public / name).chmod(0o644)

    def remove_drafts(self) -> None:
        """Forget all drafts; they are published now."""
        for path in (self.folder / "drafts").glob("*.json"):
            path.unlink()

    def keep_artefact(self, file: Path, sha256: str) -> None:
        """Copy an artefact into the folder, by its hash.

        Raises:
            ConfigError: It cannot be copied.
        """
        try:
            shutil.copyfile(file, self.folder / "artefacts" / sha256)
        except OSError as error:
            raise ConfigError(f"{file} cannot be kept: {error.strerror}") from error

    def publish_artefact(self, sha256: str, place: str) -> None:
        """Show an artefact at its place below `public/targets`.

        Raises:
            ConfigError: It is not kept here.
        """
        shown = self.folder / "public" / "targets" / place
        if shown.exists():
            return
        try:
            shown.parent.mkdir(parents=True, exist_ok=True)
            partial = shown.with_name(shown.name + ".partial")
            shutil.copyfile(self.folder / "artefacts" / sha256, partial)
            partial.replace(shown)
        except OSError as error:
            raise ConfigError(f"artefact {place} is not kept here") from error

    def keep_document(self, content: bytes) -> None:
        """Keep a release document, or one of its files, by its hash.

        Raises:
            ConfigError: The disk takes no more.
        """
        (self.folder / "documents").mkdir(exist_ok=True)
        self._write(self.folder / "documents" / digest(content), content)

    def publish_document(self, sha256: str) -> None:
        """Show a release document to devices, and its files to hubs.

        Raises:
            ConfigError: One of them is not kept here.
        """
        shown = self.public / "documents" / f"{sha256}.json"
        if shown.exists():
            return
        try:
            content = (self.folder / "documents" / sha256).read_bytes()
            document = read_document(content)
            self._publish_deltas(document)
            for one in document.files():
                kept = (self.folder / "documents" / one.sha256).read_bytes()
                self._show(self.folder / "public" / "files" / one.sha256, kept)
        except OSError as error:
            raise ConfigError(
                f"a file of release document {sha256[:16]} is not kept here"
            ) from error
        self._show(shown, content)

    def _publish_deltas(self, document: ReleaseDocument) -> None:
        """Show the differences that are kept here; devices do without those that are not."""
        for delta in (delta for one in document.components for delta in one.deltas):
            kept = self.folder / "documents" / delta.sha256
            if kept.exists():
                place = delta_place(document.model, delta.sha256)
                self._show(self.folder / "public" / "targets" / place, kept.read_bytes())

    def _show(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write(path, content)
        path.chmod(0o644)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_durably(path, content)
        except OSError as error:
            raise ConfigError(f"{path} is not written: {error.strerror}") from error


def parse(content: bytes, what: str) -> AnyMetadata:
    """Read metadata.

    Raises:
        InputError: Not TUF metadata.
    """
    if len(content) > METADATA_BYTES_MAX:
        raise InputError(f"{what} is over {METADATA_BYTES_MAX} bytes")
    with translated(what):
        return Metadata[Any].from_bytes(content)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _read(path: Path) -> AnyMetadata | None:
    content = _bytes(path)
    return None if content is None else parse(content, path.name)
