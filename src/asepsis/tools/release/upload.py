"""Brings what a vendor published to a hub, file by file; metadata last."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from asepsis.core.errors import InputError
from asepsis.tools.people import PeopleClient

AREAS = (
    ("files", "files", "*"),
    ("documents", "metadata/documents", "*.json"),
    ("targets", "targets", "*/*"),
    ("metadata", "metadata", "*.json"),
)
"""Area of the hub, folder in `public`, and pattern of its files."""


def published(public: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield area, name and file of everything that was published.

    Raises:
        InputError: The folder holds no published repository.
    """
    if not (public / "metadata" / "timestamp.json").exists():
        raise InputError(
            f"{public} holds nothing published", hint="name the folder `public` of the vendor"
        )
    for area, folder, pattern in AREAS:
        for path in sorted((public / folder).glob(pattern)):
            yield area, path.relative_to(public / folder).as_posix(), path


def upload(client: PeopleClient, vendor: str, public: Path) -> int:
    """Bring everything; returns how many files.

    Raises:
        InputError: Nothing was published there, or the hub refuses a file.
        NotPermitted: This person may not do that.
        Unavailable: The hub does not answer.
    """
    count = 0
    for area, name, path in published(public):
        place = f"/api/updates/vendors/{quote(vendor, safe='')}/files/{area}"
        client.put_file(f"{place}/{quote(name, safe='')}", path)
        count += 1
    return count
