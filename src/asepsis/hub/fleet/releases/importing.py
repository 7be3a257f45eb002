"""Verifies what a vendor published, exactly as a device does, and says what it names.

The hub's verification protects people from believing in something that devices would refuse; it is
no part of what devices trust: they check everything again.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from asepsis.core.errors import (
    AsepsisError,
    ContentMismatch,
    InputError,
    LimitExceeded,
    NotFound,
    TransientError,
)
from asepsis.core.model.release import (
    DOCUMENT_BYTES_MAX,
    ReleaseDocument,
    delta_place,
    digest,
    read_document,
)
from asepsis.core.model.release_assessment import check
from asepsis.core.trust.metadata.fields import Release, read_custom
from asepsis.core.trust.metadata.library import TargetFile
from asepsis.core.trust.metadata.session import Limits, Session, file_name, prefixed
from asepsis.hub.fleet.releases.folders import Brought, Trusted, VendorFolder

TARGETS_MAX: Final = 20_000
"""Artefacts of one vendor that a hub looks at."""
ROLES_MAX: Final = 20_000
TROUBLE_CHARS_MAX: Final = 500
_TIMESTAMP: Final = "timestamp.json"
NO_DOCUMENT: Final = "not assessed: the vendor signed no release document with it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One artefact that the verified repository names.

    Attributes:
        path: Target path.
        sha256: Of the artefact.
        length: Bytes.
        release: What the vendor signed about it.
        document: The release document; None if it is not there or not about this artefact.
        trouble: Why it can not be rolled out; empty if nothing is in the way.
    """

    path: str
    sha256: str
    length: int
    release: Release
    document: bytes | None
    trouble: str


def pin(folder: VendorFolder, root: bytes) -> None:
    """Begin a vendor's folder with the root that a person pinned.

    Raises:
        InputError: Not a root.
        TrustError: The root is not signed by itself.
        Unavailable: The disk takes no more.
    """
    folder.make()
    store = Trusted(folder.trusted, {})
    if store.read("root.json") is None:
        store.write("root.json", root)
    session = Session(store=store, source=Brought(folder.incoming, {}), now=_at(0))
    folder.serve(f"metadata/{session.root.version}.root.json", root)


def verify(folder: VendorFolder, *, now_ns: int) -> list[Found]:
    """Verify what was brought and serve it; returns every artefact that it names.

    Metadata appears in the order in which devices need it, the timestamp last.

    Raises:
        TrustError: Not signed by enough keys, expired, rolled back, or mixed.
        NotFound: Metadata is missing.
        LimitExceeded: Too many artefacts.
        Unavailable: The disk fails.
    """
    source = Brought(folder.incoming / "metadata", {})
    session = Session(
        store=Trusted(folder.trusted, {}),
        source=source,
        now=_at(now_ns),
        limits=Limits(roles=ROLES_MAX),
    )
    session.refresh()
    found = [_take(folder, session, target) for target in _all(session)]
    shown = _unshown(folder, consistent=session.consistent) | source.given
    for name in sorted(shown, key=lambda name: name == _TIMESTAMP):
        folder.serve(f"metadata/{name}", shown[name])
    return found


def _unshown(folder: VendorFolder, *, consistent: bool) -> dict[str, bytes]:
    """Return trusted metadata that a hub which died in between did not come to serve."""
    found: dict[str, bytes] = {}
    for path in folder.trusted.glob("*.json"):
        content = path.read_bytes()
        version = json.loads(content)["signed"]["version"]
        plain = path.name == _TIMESTAMP or not consistent
        name = path.name if plain else f"{version}.{path.name}"
        if not (folder.served / "metadata" / name).exists():
            found[name] = content
    return found


def _all(session: Session) -> Iterator[TargetFile]:
    """Yield what devices find: what a role names outside its paths, nobody ever does."""
    for count, path in enumerate(session.paths()):
        if count >= TARGETS_MAX:
            raise LimitExceeded(f"a vendor's repository names over {TARGETS_MAX} artefacts")
        target = session.find(path)
        if target is not None:
            yield target


def _take(folder: VendorFolder, session: Session, target: TargetFile) -> Found:
    sha256 = target.hashes.get("sha256", "")
    try:
        release = read_custom(target, Release)
    except InputError as error:
        raise InputError(f"{target.path} is not understood: {error}") from error
    place = prefixed(target, consistent=session.consistent)
    trouble, document = "", None
    try:
        folder.take(
            folder.incoming / "targets" / place,
            folder.served / "targets" / place,
            sha256=sha256,
            length=target.length,
        )
        document = _document(folder, release, sha256)
        trouble = "" if document else NO_DOCUMENT
    except TransientError:
        raise
    except AsepsisError as error:
        trouble = str(error)[:TROUBLE_CHARS_MAX]
    return Found(
        path=target.path,
        sha256=sha256,
        length=target.length,
        release=release,
        document=document,
        trouble=trouble,
    )


def _document(folder: VendorFolder, release: Release, sha256: str) -> bytes | None:
    """Return the release document with its files, whole and about this artefact, or None.

    Raises:
        InputError: It is not complete, or says otherwise of the artefact.
        NotFound: It, or one of its files, was not brought.
        ContentMismatch: Another file than the hashed one.
    """
    if not release.document:
        return None
    name = f"{release.document}.json"
    shown = folder.served / "metadata" / "documents" / name
    content = shown.read_bytes() if shown.exists() else _brought(folder, name)
    if digest(content) != release.document:
        raise InputError("the release document is another one than the signed one")
    document = read_document(content)
    check(document)
    said = document.component_of(sha256)
    named = (document.model, said.component, said.version, said.counter, said.floor, said.reboot)
    if named != msgspec.structs.astuple(release)[: len(named)]:
        raise InputError("the release document says otherwise of the artefact than its target")
    if document.assessment.author_key != release.author:
        raise InputError("the release document names another author than its target")
    for one in document.files():
        folder.take(
            folder.incoming / "files" / one.sha256,
            folder.path / "files" / one.sha256,
            sha256=one.sha256,
            length=one.length,
        )
    _take_deltas(folder, document)
    folder.serve(f"metadata/documents/{name}", content)
    return content


def _take_deltas(folder: VendorFolder, document: ReleaseDocument) -> None:
    """Serve the differences that were brought; devices do without those that were not."""
    for delta in (delta for one in document.components for delta in one.deltas):
        place = delta_place(document.model, delta.sha256)
        with contextlib.suppress(NotFound, ContentMismatch):
            folder.take(
                folder.incoming / "targets" / place,
                folder.served / "targets" / place,
                sha256=delta.sha256,
                length=delta.length,
            )


def _brought(folder: VendorFolder, name: str) -> bytes:
    return Brought(folder.incoming / "documents", {}).metadata(name, bytes_max=DOCUMENT_BYTES_MAX)


def _at(now_ns: int) -> datetime:
    return datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)


def trusted_root(folder: VendorFolder) -> bytes:
    """Return the newest root of a vendor that this hub trusts.

    Raises:
        InputError: None was pinned.
    """
    content = Trusted(folder.trusted, {}).read(file_name("root"))
    if content is None:
        raise InputError("no root of that vendor was pinned")
    return content
