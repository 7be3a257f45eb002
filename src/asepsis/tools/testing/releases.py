"""A vendor with throw-away keys, and a device that reads what the vendor publishes from files."""

import copy
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.errors import LimitExceeded, NotFound
from asepsis.core.model.release import (
    Answer,
    Assessment,
    Closed,
    Component,
    Delta,
    FieldAction,
    FileRef,
    Installing,
    Note,
    Pathway,
    ReleaseDocument,
    SelfTest,
    digest,
    write_document,
)
from asepsis.core.model.release_pathways import PATHWAYS
from asepsis.core.trust.metadata.approvers import Approvers
from asepsis.core.trust.metadata.fields import Release
from asepsis.core.trust.metadata.library import CryptoSigner, Key
from asepsis.core.trust.metadata.session import Session
from asepsis.tools.release import editing
from asepsis.tools.release.documents import Documented, documented
from asepsis.tools.release.editing import Holders, Plan
from asepsis.tools.release.publishing import publish, sign
from asepsis.tools.release.repository import Repository, Settings

BEGUN: Final = datetime(2026, 11, 23, tzinfo=UTC)
MODEL: Final = "m5"
ASSESSMENT: Final = Assessment(
    manufacturer="Acme Medical",
    author="R. Author",
    author_key="0" * 64,
    document="QMS-4711",
    date="2026-11-20",
    pathways=(
        Pathway(
            name="510k",
            answers=tuple(
                Answer(
                    question=question.id,
                    answer=question.id == "cybersecurity-only",
                    rationale="The parser checks a length that it did not check before.",
                )
                for question in PATHWAYS["510k"].questions
            ),
        ),
    ),
    schedule="routine",
    field_action=FieldAction(kind="none", rationale="No risk to health is reduced by it."),
)


def new_signer() -> CryptoSigner:
    """Return a new P-256 key in memory."""
    return CryptoSigner(ec.generate_private_key(ec.SECP256R1()))


def document_for(
    release: Release, artefact: bytes, *, vendor: str = "vendor", **changed: object
) -> Documented:
    """Return a complete document of a release of one artefact.

    Args:
        release: What is signed about it.
        artefact: Its bytes.
        vendor: Whose it is.
        changed: Fields of the document to be set otherwise.
    """
    sbom = b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}'
    document = ReleaseDocument(
        format=1,
        vendor=vendor,
        model=release.model,
        name=f"{release.component} {release.version}",
        components=(
            Component(
                component=release.component,
                version=release.version,
                counter=release.counter,
                floor=release.floor,
                reboot=release.reboot,
                sha256=digest(artefact),
                length=len(artefact),
            ),
        ),
        sbom=FileRef(name="sbom.cdx.json", sha256=digest(sbom), length=len(sbom)),
        closes=(Closed(id="CVE-2026-10001", words="a parser read past its input"),),
        installing=Installing(states=("standby", "idle"), run_s=60, rollback_s=30),
        self_tests=(SelfTest(name="reference-signal", unit="mV", low=0.95, high=1.05),),
        notes=(Note(language="en", text="Nothing changes in how the device is used."),),
        assessment=ASSESSMENT,
    )
    document = msgspec.structs.replace(document, **changed)
    return documented(write_document(document), [sbom])


def holders(signers: Sequence[CryptoSigner], threshold: int = 1) -> Holders:
    """Return the public side of keys."""
    return Holders(keys=[one.public_key for one in signers], threshold=threshold)


@dataclass(slots=True)
class MemoryStore:
    """A device's trusted metadata, in memory."""

    files: dict[str, bytes]

    def read(self, name: str) -> bytes | None:
        """Return a file, or None."""
        return self.files.get(name)

    def write(self, name: str, content: bytes) -> None:
        """Keep a file."""
        self.files[name] = content


@dataclass(slots=True)
class FolderSource:
    """A repository as static files.

    Attributes:
        folder: Its metadata.
        asked: What was fetched, in order.
    """

    folder: Path
    asked: list[str] = field(default_factory=list[str])

    def metadata(self, name: str, *, bytes_max: int) -> bytes:
        """Return a file.

        Raises:
            NotFound: There is none.
            LimitExceeded: It is longer than `bytes_max`.
        """
        self.asked.append(name)
        try:
            content = (self.folder / name).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"no {name}") from error
        if len(content) > bytes_max:
            raise LimitExceeded(f"{name} is over {bytes_max} bytes")
        return content


@dataclass(slots=True)
class Vendor:
    """A vendor: root 2 of 3 keys, targets 2 of 2, one model with a role of its own.

    Attributes:
        folder: Working folder of the image repository.
        now: Present time, aware.
        name: Of the vendor.
        root: Keys of the root.
        top: Keys of the top-level targets.
        online: Key of snapshot and timestamp, on the vendor's server.
        model: Key of the model's role.
        approver: Key of the regulatory role.
    """

    folder: Path
    now: datetime = BEGUN
    name: str = "vendor"
    root: list[CryptoSigner] = field(default_factory=lambda: [new_signer() for _ in range(3)])
    top: list[CryptoSigner] = field(default_factory=lambda: [new_signer() for _ in range(2)])
    online: CryptoSigner = field(default_factory=new_signer)
    model: CryptoSigner = field(default_factory=new_signer)
    approver: CryptoSigner = field(default_factory=new_signer)
    repository: Repository = field(init=False)

    def __post_init__(self) -> None:
        plan = Plan(
            holders={
                "root": holders(self.root, 2),
                "targets": holders(self.top, 2),
                "snapshot": holders([self.online]),
                "timestamp": holders([self.online]),
            },
            approvers=Approvers(keys=[self.approver.public_key]),
        )
        settings = Settings(name=self.name)
        self.repository = editing.init(self.folder, settings=settings, plan=plan, now=self.now)
        of_model = holders([self.model])
        editing.delegate(
            self.repository, MODEL, holders=of_model, paths=[f"{MODEL}/*"], now=self.now
        )
        self.sign(*self.root[:2], *self.top, self.model)
        self.publish()

    def copied(self, folder: Path) -> "Vendor":
        """Return the same vendor in another folder; making keys and signing takes time."""
        shutil.copytree(self.folder, folder)
        other = copy.copy(self)
        other.folder, other.repository = folder, Repository.open(folder)
        other.root, other.top = [*self.root], [*self.top]
        return other

    @property
    def first_root(self) -> bytes:
        """The root that is in the verified image."""
        return (self.repository.public / "1.root.json").read_bytes()

    @property
    def artefacts(self) -> Path:
        """Published artefacts."""
        return self.folder / "public" / "targets"

    def sign(self, *signers: CryptoSigner) -> None:
        """Sign what waits for these keys."""
        for one in signers:
            sign(self.repository, one)

    def publish(self) -> dict[str, int]:
        """Publish what is signed; returns the versions."""
        return publish(self.repository, [self.online], now=self.now)

    def add(self, counter: int, *, floor: int = 0, model: str = MODEL, content: bytes = b"") -> str:
        """Add a release to a draft; returns its path."""
        release = Release(
            model=model, component="vitals", version=f"1.{counter}", counter=counter, floor=floor
        )
        file = self.folder / f"vitals-{counter}.img"
        file.write_bytes(content or b"release %d" % counter)
        path, _ = editing.add(
            self.repository,
            file,
            release=release,
            name=file.name,
            now=self.now,
            document=document_for(release, file.read_bytes(), vendor=self.repository.settings.name),
        )
        return path

    def release(self, counter: int, *, floor: int = 0, content: bytes = b"") -> str:
        """Add a release, sign it with the model's key and publish it; returns its path."""
        path = self.add(counter, floor=floor, content=content)
        self.sign(self.model)
        self.publish()
        return path

    def release_after(
        self, counter: int, content: bytes, *, deltas: Sequence[tuple[Delta, bytes]]
    ) -> str:
        """Publish a release with differences from what devices have; returns its path."""
        release = Release(model=MODEL, component="vitals", version=f"1.{counter}", counter=counter)
        component = Component(
            component=release.component,
            version=release.version,
            counter=counter,
            sha256=digest(content),
            length=len(content),
            deltas=tuple(one for one, _ in deltas),
        )
        vendor = self.repository.settings.name
        made = document_for(release, content, vendor=vendor, components=(component,))
        file = self.folder / f"vitals-{counter}.img"
        file.write_bytes(content)
        path, _ = editing.add(
            self.repository,
            file,
            release=release,
            name=file.name,
            now=self.now,
            document=documented(made.content, [*made.files, *(patch for _, patch in deltas)]),
        )
        self.sign(self.model)
        self.publish()
        return path

    def session(
        self, store: MemoryStore, *, now: datetime | None = None, source: FolderSource | None = None
    ) -> Session:
        """Begin a device's contact with the published repository."""
        return Session(
            store=store,
            source=source or FolderSource(self.repository.public),
            now=now or self.now,
        )


@dataclass(slots=True)
class Hospital:
    """A hospital: the offline root of its director, and an approver; the signer has the rest.

    Attributes:
        folder: Working folder of the director's root.
        director: The online key's public half.
        now: Present time, aware.
        root: Key of the root.
        approver: Key of clinical engineering.
    """

    folder: Path
    director: Key
    now: datetime = BEGUN
    root: CryptoSigner = field(default_factory=new_signer)
    approver: CryptoSigner = field(default_factory=new_signer)
    repository: Repository = field(init=False)

    def __post_init__(self) -> None:
        online = Holders(keys=[self.director])
        plan = Plan(
            holders={
                "root": holders([self.root]),
                **dict.fromkeys(("targets", "snapshot", "timestamp"), online),
            },
            approvers=Approvers(keys=[self.approver.public_key]),
            director=True,
        )
        settings = Settings(name="hospital")
        self.repository = editing.init(self.folder, settings=settings, plan=plan, now=self.now)
        sign(self.repository, self.root)
        publish(self.repository, [], now=self.now)

    @property
    def first_root(self) -> bytes:
        """The root that is pinned at enrolment."""
        return (self.repository.public / "1.root.json").read_bytes()
