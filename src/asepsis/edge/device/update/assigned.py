"""What the director assigns to this device, judged in the verifier: all of it holds, or none.

director/           trusted metadata of the hospital's director
offline/            the same of the offline role, whose bundles people carry
vendors/NAME/       trusted metadata of a vendor's image repository, its root from the image
artefacts/          what was checked
staged/SHA256/      what was unpacked of it, for compartments
floors.json         below which release a component never goes again
offered.json        what is agreed on, while its artefacts are still on their way
accepted.json       what may be installed now; gone as long as nothing is
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import ContentMismatch, FramingError, NotPermitted, Unavailable
from asepsis.core.model.release import DOCUMENT_BYTES_MAX, ReleaseDocument, read_document
from asepsis.core.trust.metadata.authorisation import AUTHORISATION_BYTES_MAX
from asepsis.core.trust.metadata.fields import Assignment, Release, read_custom
from asepsis.core.trust.metadata.judgement import Accepted, Offer, Own, assignments, judge
from asepsis.core.trust.metadata.library import TargetFile
from asepsis.core.trust.metadata.session import Session
from asepsis.core.trust.sealing import write_durably
from asepsis.edge.device.update import bundle_memory
from asepsis.edge.device.update.bundle_memory import OFFLINE_FOLDER
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.keeping import Artefacts, FolderStore
from asepsis.edge.device.update.line import Line, bring
from asepsis.edge.device.update.place import (
    ACCEPTED,
    ARTEFACTS,
    DIRECTOR_FOLDER,
    OFFERED,
    STAGED,
    vendor_folder,
)
from asepsis.edge.device.update.plan import NAME as PLAN
from asepsis.edge.device.update.planning import planned
from asepsis.edge.device.update.rebuilding import KEPT_MAX, rebuild
from asepsis.edge.device.update.talk import DIRECTOR, fields
from asepsis.edge.device.update.unpacking import unpack

VENDORS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Order:
    """What the supervisor wants.

    Attributes:
        folder: The update folder of the device.
        incoming: Folder of what the fetcher wrote.
        own: What the device is.
        vendors: Vendors whose roots are in the verified image.
        now: Trusted time.
        compartments: Components whose artefacts are unpacked.
        placed: Digest of what was unpacked, by artefact, where the supervisor took it already.
        offline: Whether a bundle is judged: the offline role speaks in the director's place.
    """

    folder: Path
    incoming: Path
    own: Own
    vendors: frozenset[str]
    now: datetime
    compartments: frozenset[str] = frozenset()
    placed: Mapping[str, str] = field(default_factory=dict[str, str])
    offline: bool = False

    @classmethod
    def parse(cls, body: bytes) -> "Order":
        """Read an order.

        Raises:
            FramingError: Not one.
        """
        said = fields(body)
        try:
            return cls(
                folder=Path(said["folder"]),
                incoming=Path(said["incoming"]),
                own=Own(**{name: str(value) for name, value in said["own"].items()}),
                vendors=frozenset(map(str, said["vendors"][:VENDORS_MAX])),
                now=datetime.fromtimestamp(int(said["now_s"]), UTC),
                compartments=frozenset(map(str, said.get("compartments", ()))),
                placed={str(name): str(tree) for name, tree in said.get("placed", {}).items()},
                offline=said.get("offline") is True,
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
            raise FramingError("not an order for the verifier") from error


@dataclass(slots=True)
class _Round:
    """One contact with the director and the vendors that it names."""

    order: Order
    line: Line
    director: Session
    images: dict[str, Session] = field(default_factory=dict[str, Session])

    def image(self, vendor: str) -> Session:
        if vendor not in self.order.vendors:
            raise NotPermitted(f"no root of a vendor {vendor[:64]} is in the image")
        if vendor not in self.images:
            self.images[vendor] = Session(
                store=FolderStore(vendor_folder(self.order.folder, vendor)),
                source=self.line.at(vendor),
                now=self.order.now,
            )
        return self.images[vendor]

    def accept(self, target: TargetFile, said: Assignment) -> Accepted:
        image = self.image(said.vendor)
        released = image.find(target.path)
        floor = 0
        if released is not None:
            floor = Floors(self.order.folder).of(read_custom(released, Release).component)
        offer = Offer(
            assigned=target,
            released=released,
            authorisation=self._authorisation(said.authorisation),
            vendor=image.root,
            hospital=self.director.root,
        )
        return judge(offer, own=self.order.own, floor=floor, now=self.order.now)

    def take(self, one: Accepted, *, vendor: str, kept: Artefacts) -> dict[str, Any]:
        """Have the artefact here, made from an older one or fetched; unpack a compartment's."""
        line = self.line.at(vendor)
        order, installed = self.order, one.release.component in self.order.compartments
        document = None
        if one.release.document and (installed or not kept.has(one.target)):
            document = _release_document(one, line)
            rebuild(one.target, document, line=line, incoming=order.incoming, kept=kept)
        session = self.image(vendor)
        bring(one.target, session=session, line=line, incoming=order.incoming, kept=kept)
        return _staged(one, kept, order, document=document) if installed else {}

    def _authorisation(self, sha256: str) -> bytes:
        content = self.line.at(DIRECTOR).metadata(
            f"authorisations/{sha256}.json", bytes_max=AUTHORISATION_BYTES_MAX
        )
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ContentMismatch("the authorisation is not the one that the director names")
        return content


def fulfil(order: Order, line: Line) -> list[str]:
    """Refresh, judge everything that is assigned, take the artefacts; returns their paths.

    Raises:
        TrustError: The director, a vendor or the approvers do not agree, or below a floor.
        AsepsisError: As `Session.refresh`, `judge` and `Artefacts.take`.
    """
    for name in (ACCEPTED, OFFERED):
        (order.folder / name).unlink(missing_ok=True)
    director = Session(
        store=FolderStore(order.folder / (OFFLINE_FOLDER if order.offline else DIRECTOR_FOLDER)),
        source=line.at(DIRECTOR),
        now=order.now,
    )
    director.refresh()
    terms = None
    if order.offline:
        terms = bundle_memory.check(order.folder, director.targets, own=order.own, now=order.now)
    contact = _Round(order, line, director)
    accepted: list[tuple[Accepted, Assignment]] = []
    for target, said in assignments(director.targets, order.own):
        accepted.append((contact.accept(target, said), said))
    kept = Artefacts(order.folder / ARTEFACTS)
    _write(order.folder / OFFERED, [_document(one, said, kept) for one, said in accepted])
    documents = [
        _document(one, said, kept) | contact.take(one, vendor=said.vendor, kept=kept)
        for one, said in accepted
    ]
    _write(order.folder / ACCEPTED, documents)
    kept.tidy({kept.place(one.target) for one, _ in accepted}, others_max=KEPT_MAX)
    if terms is not None:  # Only now: after a power cut the same bundle still does its work.
        bundle_memory.keep(order.folder, terms)
    return [one.target.path for one, _ in accepted]


def _document(one: Accepted, said: Assignment, kept: Artefacts) -> dict[str, Any]:
    return {
        "path": one.target.path,
        "file": kept.place(one.target).name,
        "length": one.target.length,
        "sha256": one.target.hashes["sha256"],
        "release": {name: getattr(one.release, name) for name in one.release.__struct_fields__},
        "floor": one.floor,
        "windows": said.windows,
    }


def _staged(
    one: Accepted, kept: Artefacts, order: Order, *, document: ReleaseDocument | None
) -> dict[str, Any]:
    """Unpack an artefact of a compartment beside its plan; returns the digest of all of it."""
    if document is None:
        raise ContentMismatch("the release has no document, so nobody says how it is installed")
    folder = order.folder / STAGED
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise Unavailable(f"nothing can be unpacked: {error.strerror}") from error
    sha256 = str(one.target.hashes["sha256"])
    if sha256 in order.placed:
        return {"tree": order.placed[sha256]}  # Unpacked anew at each contact it would wear flash.
    plan = planned(document, sha256)
    return {"tree": unpack(kept.place(one.target), folder / sha256, beside={PLAN: plan})}


def _release_document(one: Accepted, line: Line) -> ReleaseDocument:
    """Fetch the document that the vendor's signed metadata names by its hash."""
    content = line.metadata(f"documents/{one.release.document}.json", bytes_max=DOCUMENT_BYTES_MAX)
    if hashlib.sha256(content).hexdigest() != one.release.document:
        raise ContentMismatch("the release document is not the one that the vendor signed")
    return read_document(content)


def _write(path: Path, documents: list[dict[str, Any]]) -> None:
    try:
        write_durably(path, json.dumps(documents, sort_keys=True).encode())
    except OSError as error:
        raise Unavailable(f"what is accepted cannot be kept: {error.strerror}") from error
