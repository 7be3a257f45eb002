"""Makes an artefact from one that is here and a difference; where that fails, all of it is fetched.

In the verifier. The release document names differences by their hash, and is named by its own in
what the vendor signed; the new artefact must have the signed hash all the same.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, ContentMismatch, LimitExceeded, NotFound
from asepsis.core.model.release import Delta, ReleaseDocument, delta_place
from asepsis.core.trust import delta as deltas
from asepsis.core.trust.metadata.library import TargetFile
from asepsis.edge.device.update.keeping import Artefacts
from asepsis.edge.device.update.line import Line

MEMORY_MIB: Final = 768
"""Memory that a difference may take: the verifier has some more, and needs it for itself."""
KEPT_MAX: Final = 2
"""Artefacts that nobody assigns any more and that are kept to make new ones from."""


def rebuild(
    target: TargetFile, document: ReleaseDocument, *, line: Line, incoming: Path, kept: Artefacts
) -> bool:
    """Make an artefact, if there is a difference from one that is here; returns whether it is done.

    Raises:
        Unavailable: The disk takes no more.
    """
    wanted = document.component_of(target.hashes["sha256"])
    ways = [one for one in wanted.deltas if one.memory_mib <= MEMORY_MIB]
    if not ways or kept.has(target):
        return False
    here = kept.by_hash()
    for one in sorted(ways, key=lambda way: way.length):
        if one.old not in here or one.length >= target.length:
            continue
        # Nothing is lost: the whole artefact is fetched.
        with contextlib.suppress(AsepsisError, MemoryError):
            patch = _fetched(one, document, line=line, incoming=incoming)
            made = deltas.apply(
                deltas.Method(one.method),
                old=_read(here[one.old], deltas.ARTEFACT_BYTES_MAX),
                patch=patch,
                patch_sha256=one.sha256,
                length=target.length,
                sha256=target.hashes["sha256"],
            )
            kept.make(made, target)
            return True
    return False


def _fetched(one: Delta, document: ReleaseDocument, *, line: Line, incoming: Path) -> bytes:
    place = delta_place(document.model, one.sha256)
    line.artefact(place, into=one.sha256, length=one.length)
    found = _read(incoming / one.sha256, one.length)
    if len(found) != one.length:
        raise ContentMismatch("the difference has another length than the signed one")
    return found


def _read(path: Path, bytes_max: int) -> bytes:
    """Read a file that nobody has checked.

    Raises:
        NotFound: It cannot be read.
        LimitExceeded: It is too long.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > bytes_max:
                raise LimitExceeded("an artefact is longer than it may be")
            return file.read(size)
    except OSError as error:
        raise NotFound(f"an artefact cannot be read: {error.strerror}") from error
