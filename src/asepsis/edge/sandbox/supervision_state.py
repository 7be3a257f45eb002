"""Which version of each compartment is the confirmed one, kept over a power cut.

One write confirms a version, after its trial. Until that write is durable the old version is the
one that starts; from then on the new one. There is no state between, and where the file is damaged
there is still the version that the device was made with.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, cast

from asepsis.core.errors import FramingError, InputError, TransientError
from asepsis.core.model.manifest import COMPARTMENTS_MAX
from asepsis.edge.sandbox.supervision_disk import Disk

SHIPPED: Final = "shipped"
"""The version that the device was made with; it is always there."""
VERSION_PATTERN: Final = r"[a-z0-9][a-z0-9.+-]{0,63}"
NAME: Final = "supervisor.json"
ASIDE: Final = "supervisor.json.new"
STATE_BYTES_MAX: Final = 16_384
FORMAT: Final = 2
_FIELDS: Final = {
    1: {"format", "number", "versions"},
    2: {"format", "number", "versions", "previous"},
}
"""Fields by format; devices that were made before one could go back have the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The confirmed versions.

    Attributes:
        number: How often it was written, from 0.
        versions: Version by compartment; one that is not named runs `SHIPPED`.
        previous: What was confirmed before, by compartment.
    """

    number: int = 0
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    previous: Mapping[str, str] = field(default_factory=dict[str, str])

    def version(self, compartment: str) -> str:
        """Return the confirmed version of a compartment."""
        return self.versions.get(compartment, SHIPPED)

    def confirm(self, compartment: str, version: str) -> Self:
        """Return the state in which another version is confirmed.

        Raises:
            InputError: No version has such a name, or there are too many compartments.
        """
        require_version(version)
        versions = {**self.versions, compartment: version}
        if len(versions) > COMPARTMENTS_MAX:
            raise InputError("more compartments than a device has")
        before = self.version(compartment)
        previous = dict(self.previous)
        if before != version:
            previous[compartment] = before
        return replace(self, number=self.number + 1, versions=versions, previous=previous)


def require_version(version: str) -> None:
    """Check the form of a version's name, which is also that of a folder.

    Raises:
        InputError: Another form.
    """
    if not re.fullmatch(VERSION_PATTERN, version):
        raise InputError(
            f"{version[:80]!r} names no version",
            hint="lower case, digits, dots, plus and hyphen; at most 64",
        )


def encode(state: Confirmed) -> bytes:
    """Return the content of the state's file: a line of JSON and a line with its SHA-256."""
    document = {
        "format": FORMAT,
        "number": state.number,
        "versions": dict(state.versions),
        "previous": dict(state.previous),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"


def decode(data: bytes) -> Confirmed:
    """Read what `encode` wrote.

    Raises:
        FramingError: Anything else, whole or not.
    """
    text, _, rest = data.partition(b"\n")
    if len(data) > STATE_BYTES_MAX or rest != hashlib.sha256(text).hexdigest().encode() + b"\n":
        raise FramingError("the supervisor's state is damaged")
    try:
        return _read(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError, InputError) as error:
        raise FramingError("the supervisor's state has another form") from error


def _read(document: Any) -> Confirmed:
    if set(document) != _FIELDS.get(document["format"]):
        raise FramingError("the supervisor's state is of another format")
    number = document["number"]
    if not isinstance(number, int) or number < 0:
        raise FramingError("the supervisor's state has another form")
    return Confirmed(
        number=number,
        versions=_versions(document["versions"]),
        previous=_versions(document.get("previous", {})),
    )


def _versions(found: Any) -> dict[str, str]:
    versions = cast("dict[str, str]", found)
    if len(versions) > COMPARTMENTS_MAX:
        raise FramingError("the supervisor's state has another form")
    for name, version in versions.items():
        require_version(name)
        require_version(version)
    return dict(versions)


class StateStore:
    """Keeps the confirmed versions in one file.

    Args:
        disk: Where.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def load(self) -> Confirmed:
        """Return what is confirmed; a file that was never written confirms `SHIPPED`.

        Raises:
            FramingError: The file is damaged: start `SHIPPED`, and tell somebody.
            TransientError: The disk does not let it be read: the same.
        """
        try:
            data = self._disk.read(NAME, STATE_BYTES_MAX + 1)
        except OSError as error:
            raise TransientError(f"cannot read {NAME}: {error.strerror}") from error
        return Confirmed() if data is None else decode(data)

    def save(self, state: Confirmed) -> None:
        """Make a state durable: written aside, flushed, then renamed over the old one.

        Raises:
            TransientError: The disk refuses, for example because it is full. The old state holds,
                or, where only the last flush failed, the old or the new one.
        """
        try:
            self._disk.write(ASIDE, encode(state))
            self._disk.flush(ASIDE)
            self._disk.rename(ASIDE, NAME)
            self._disk.flush_names()
        except OSError as error:
            raise TransientError(f"cannot write {NAME}: {error.strerror}") from error
