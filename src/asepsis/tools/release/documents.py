"""Release documents on the vendor's side: begun as a skeleton, read with their files, bound."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from asepsis.core.errors import ContentMismatch, InputError
from asepsis.core.model.release import (
    DOCUMENT_BYTES_MAX,
    FILE_BYTES_MAX,
    ReleaseDocument,
    digest,
    read_document,
)
from asepsis.core.model.release_assessment import check
from asepsis.core.model.release_pathways import PATHWAYS
from asepsis.core.trust.metadata.fields import Release
from asepsis.core.trust.metadata.library import TargetFile

TO_SAY: Final = ""
"""Stands in a skeleton where the manufacturer has to write; no document with it is accepted."""


@dataclass(frozen=True, slots=True)
class Documented:
    """A complete release document with the files that belong to it.

    Attributes:
        content: The document as it is hashed.
        document: What it says.
        files: Bytes of bill of materials, VEX and decisions.
        deltas: Bytes of those differences that were given with it.
    """

    content: bytes
    document: ReleaseDocument
    files: tuple[bytes, ...]
    deltas: tuple[bytes, ...] = ()

    def bind(self, release: Release, target: TargetFile, *, vendor: str) -> Release:
        """Return the release with the document's hash and author, if it is about that artefact.

        Raises:
            ContentMismatch: The document says otherwise of the artefact.
            InputError: It does not name the artefact.
        """
        said = self.document.component_of(target.hashes["sha256"])
        ours = (
            vendor,
            release.model,
            release.component,
            release.version,
            release.counter,
            release.floor,
            release.reboot,
            target.length,
        )
        theirs = (
            self.document.vendor,
            self.document.model,
            said.component,
            said.version,
            said.counter,
            said.floor,
            said.reboot,
            said.length,
        )
        if ours != theirs:
            raise ContentMismatch(f"the release document says {theirs}, the release {ours}")
        return msgspec.structs.replace(
            release, document=digest(self.content), author=self.document.assessment.author_key
        )


def documented(content: bytes, files: Sequence[bytes]) -> Documented:
    """Check a document and find its files among those given.

    Raises:
        InputError: It is not complete.
        ContentMismatch: A file that it names was not given, or has another length.
    """
    document = read_document(content)
    check(document)
    given = {digest(one): one for one in files}
    found: list[bytes] = []
    for one in document.files():
        if len(given.get(one.sha256, b"")) != one.length:
            raise ContentMismatch(f"{one.name} was not given, or is another file", hint="--file")
        found.append(given[one.sha256])
    named = [delta for one in document.components for delta in one.deltas]
    deltas = tuple(
        given[one.sha256] for one in named if len(given.get(one.sha256, b"")) == one.length
    )
    return Documented(content, document, tuple(found), deltas)


def read_given(path: Path, *, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """Read a file that a person names.

    Raises:
        InputError: It does not open, or is too long.
    """
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise InputError(f"{path} does not open: {error.strerror}") from error
    if len(content) > bytes_max:
        raise InputError(f"{path} is over {bytes_max} bytes")
    return content


def read_documented(path: Path, files: Sequence[Path]) -> Documented:
    """Read a document and its files from disk; errors as `documented` and `read_given`."""
    content = read_given(path, bytes_max=DOCUMENT_BYTES_MAX)
    return documented(content, [read_given(one) for one in files])


def release_of(document: ReleaseDocument, artefact: bytes) -> Release:
    """Return what is signed about an artefact, as the document says it.

    Args:
        document: Which names the artefact by its hash.
        artefact: Its bytes.

    Raises:
        InputError: The document does not name it.
    """
    said = document.component_of(digest(artefact))
    return Release(
        model=document.model,
        component=said.component,
        version=said.version,
        counter=said.counter,
        floor=said.floor,
        reboot=said.reboot,
    )


def skeleton(
    *,
    vendor: str,
    model: str,
    pathways: Sequence[str],
    artefacts: Sequence[tuple[str, bytes]],
    files: Sequence[tuple[str, bytes]],
) -> bytes:
    """Return a document to be filled in: hashes are right, every answer is missing.

    Args:
        vendor: Name as in the image repository.
        model: Device model.
        pathways: Names of pathways.
        artefacts: Component and bytes of each artefact.
        files: Name and bytes of the bill of materials, then of the VEX document if there is one.
    """
    named: list[dict[str, Any]] = [
        {"name": name, "sha256": digest(content), "length": len(content)} for name, content in files
    ]
    said: dict[str, Any] = {
        "format": 1,
        "vendor": vendor,
        "model": model,
        "name": TO_SAY,
        "components": [
            {
                "component": component,
                "version": TO_SAY,
                "counter": 1,
                "floor": 0,
                "reboot": "component",
                "sha256": digest(content),
                "length": len(content),
            }
            for component, content in artefacts
        ],
        **dict(zip(("sbom", "vex"), named, strict=False)),
        "closes": [],
        "installing": {
            "states": ["standby", "idle"],
            "run_s": 300,
            "rollback_s": 120,
            "acceptance": False,
            "changes": [],
        },
        "self_tests": [{"name": TO_SAY, "unit": "1", "low": 0, "high": 0}],
        "notes": [{"language": "en", "text": TO_SAY}],
        "assessment": _assessment(pathways),
    }
    return msgspec.json.format(msgspec.json.encode(said)) + b"\n"


def _assessment(pathways: Sequence[str]) -> dict[str, Any]:
    return {
        "manufacturer": TO_SAY,
        "author": TO_SAY,
        "author_key": TO_SAY,
        "document": TO_SAY,
        "date": TO_SAY,
        "pathways": [
            {
                "name": name,
                "answers": [
                    {"question": question.id, "answer": None, "rationale": TO_SAY}
                    for question in PATHWAYS[name].questions
                ],
                "submission": "",
            }
            for name in pathways
        ],
        "schedule": "routine",
        "schedule_reason": "",
        "field_action": {"kind": "none", "number": "", "rationale": TO_SAY},
    }
