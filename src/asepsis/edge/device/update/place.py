"""The update folder of a device: its names, its beginning, and what follows a verified release."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from asepsis.core.errors import ConfigError, NotFound, TrustError
from asepsis.core.trust.sealing import write_durably
from asepsis.edge.device.update.floors import Floors

DIRECTOR_FOLDER: Final = "director"
ARTEFACTS: Final = "artefacts"
ACCEPTED: Final = "accepted.json"
OFFERED: Final = "offered.json"
STAGED: Final = "staged"
ROOT: Final = "root.json"
_VENDOR: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


def vendor_folder(folder: Path, vendor: str) -> Path:
    """Return where the metadata of a vendor is kept.

    Raises:
        ConfigError: Not a vendor's name.
    """
    if not _VENDOR.fullmatch(vendor) or vendor == DIRECTOR_FOLDER:
        raise ConfigError("not a vendor's name", hint="lower case, digits, . and -")
    return folder / "vendors" / vendor


def begin(folder: Path, *, director_root: bytes, vendor_roots: Mapping[str, bytes]) -> None:
    """Give a device the roots it trusts, once.

    Args:
        folder: The update folder.
        director_root: Root of the hospital's director, given at enrolment.
        vendor_roots: Roots of the vendors' image repositories, from the verified image.

    Raises:
        ConfigError: The folder has roots already, or cannot be written.
    """
    places = {folder / DIRECTOR_FOLDER: director_root}
    places |= {vendor_folder(folder, name): root for name, root in vendor_roots.items()}
    if (folder / DIRECTOR_FOLDER / ROOT).exists():
        raise ConfigError("this device has its roots", hint="they change by their own chains")
    try:
        (folder / ARTEFACTS).mkdir(parents=True, exist_ok=True)
        for place, root in sorted(places.items(), reverse=True):  # The director's last.
            place.mkdir(parents=True, exist_ok=True)
            write_durably(place / ROOT, root)
    except OSError as error:
        raise ConfigError(f"the roots cannot be kept: {error.strerror}") from error
    Floors(folder).create()


def accepted(folder: Path) -> list[dict[str, Any]]:
    """Return what may be installed now, as the verifier wrote it.

    Raises:
        TrustError: Nothing was accepted.
    """
    try:
        return cast("list[dict[str, Any]]", json.loads((folder / ACCEPTED).read_bytes()))
    except (OSError, ValueError) as error:
        raise TrustError("nothing is accepted for installation") from error


def verified(folder: Path, path: str) -> None:
    """Raise the floor after a release passed its self-tests on this device.

    Raises:
        NotFound: It was not accepted.
        TrustError: Nothing was accepted, or the floors are not readable.
        Unavailable: The disk takes no more; the old floor stands.
    """
    for one in accepted(folder):
        if one["path"] == path:
            return Floors(folder).verified(one["release"]["component"], one["floor"])
    raise NotFound("no such release was accepted")
