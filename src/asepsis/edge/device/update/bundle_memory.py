"""What a device remembers of bundles, and whether one may be used; in the verifier's process.

offline/root.json   root of the offline role, pinned at enrolment
offline/*.json      its trusted metadata
offline/used.json   number of the last bundle that was taken
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from asepsis.core.errors import ConfigError, TrustError, Unavailable
from asepsis.core.trust.metadata import offline
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.judgement import Own
from asepsis.core.trust.metadata.library import Metadata, Targets, Timestamp
from asepsis.core.trust.metadata.offline import Past, Terms
from asepsis.core.trust.sealing import write_durably
from asepsis.edge.device.update.place import DIRECTOR_FOLDER, ROOT

OFFLINE_FOLDER: Final = "offline"
USED: Final = "used.json"


def begin(folder: Path, *, offline_root: bytes) -> None:
    """Let a device take bundles, once: give it the root of the offline role.

    Args:
        folder: The update folder.
        offline_root: Given at enrolment, with the director's.

    Raises:
        ConfigError: It has one already, or the folder cannot be written.
    """
    place = folder / OFFLINE_FOLDER
    if (place / ROOT).exists():
        raise ConfigError("this device has the root of the offline role")
    try:
        place.mkdir(parents=True, exist_ok=True)
        write_durably(place / USED, json.dumps({"counter": 0}).encode())
        write_durably(place / ROOT, offline_root)
    except OSError as error:
        raise ConfigError(f"the root cannot be kept: {error.strerror}") from error


def check(folder: Path, targets: Targets, *, own: Own, now: datetime) -> Terms:
    """Return the terms of a bundle that may be used, or refuse; errors as `offline.check`.

    Raises:
        TrustError: What the device remembers cannot be read: nothing is taken then.
    """
    past = Past(counter=_used(folder), contact=_contact(folder))
    return offline.check(targets, own=own, past=past, now=now)


def keep(folder: Path, terms: Terms) -> None:
    """Remember that a bundle was taken.

    Raises:
        Unavailable: The disk takes no more.
    """
    try:
        content = json.dumps({"counter": terms.counter}).encode()
        write_durably(folder / OFFLINE_FOLDER / USED, content)
    except OSError as error:
        raise Unavailable(f"the bundle's number cannot be kept: {error.strerror}") from error


def _used(folder: Path) -> int:
    try:
        found: Any = json.loads((folder / OFFLINE_FOLDER / USED).read_bytes())
        counter = found["counter"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrustError("what this device remembers of bundles is not readable") from error
    if type(counter) is not int or counter < 0:
        raise TrustError("what this device remembers of bundles is not readable")
    return counter


def _contact(folder: Path) -> int:
    """Return the version of the director's metadata that came last online, 0 for none."""
    path = folder / DIRECTOR_FOLDER / "timestamp.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise TrustError("what the hub told last is not readable") from error
    with translated("the last online contact"):
        signed = cast("object", Metadata[Timestamp].from_bytes(content).signed)
    if not isinstance(signed, Timestamp):
        raise TrustError("what the hub told last is not readable")
    return signed.version
