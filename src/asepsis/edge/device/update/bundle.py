"""A bundle at the device: the answers of a fetcher out of one file, without network and key.

The same verifier as online judges everything (`assigned.fulfil`), with the root of the offline role
in place of the director's. Nothing of the bundle is believed here: this side reads a stranger's
file and hands bytes on.
"""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from asepsis.core.errors import (
    FramingError,
    LimitExceeded,
    NotFound,
    NotPermitted,
    Unavailable,
)
from asepsis.core.trust import bundle
from asepsis.core.trust.bundle import Index
from asepsis.edge.device.update.fetching import METADATA_BYTES_MAX, Fetcher
from asepsis.edge.device.update.talk import DIRECTOR, PART_BYTES, Kind, send

FIELD: Final = "x-asepsis-bundle"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a bundle says of itself for one device; nobody has verified it yet.

    Attributes:
        counter: Its number for this device.
        prepared_s: When it was made, seconds since 1970: the date that is shown to a person.
        ends_s: When it ends.
    """

    counter: int
    prepared_s: int
    ends_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFetcher(Fetcher):
    """Answers what a verifier asks, from a bundle.

    Attributes:
        path: The bundle.
        index: What it holds.
        device: For whom it is read.
    """

    path: Path
    index: Index
    device: str

    def claim(self) -> Claim:
        """Return what the bundle says of itself for this device.

        Raises:
            NotPermitted: The device is not in its list.
            FramingError: What it says cannot be read.
        """
        folder = bundle.device_folder(self.device)
        try:
            timestamp = self._json(f"{folder}/timestamp.json")
            version = int(timestamp["meta"]["snapshot.json"]["version"])
            said = self._json(f"{folder}/{version}.targets.json")[FIELD]
            ends = datetime.fromisoformat(str(timestamp["expires"]))
            return Claim(int(said["counter"]), int(said["prepared_s"]), int(ends.timestamp()))
        except NotFound as error:
            raise NotPermitted("the bundle is not for this device") from error
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise FramingError("the bundle does not say what it is") from error

    def _answer(self, kind: Kind, said: dict[str, Any], answers: IO[bytes]) -> None:
        name, most = str(said["name"]), int(said["bytes"])
        if kind is Kind.METADATA:
            for place in self._places(str(said["from"]), name):
                try:
                    at, length = self.index.place(place)
                except NotFound:
                    continue
                if length > min(most, METADATA_BYTES_MAX):
                    raise LimitExceeded("the bundle's metadata is too long")
                for part in self._parts_of(at, length):
                    send(answers, Kind.PART, part)
                return
            raise NotFound("the bundle holds no such metadata")
        if kind is Kind.ARTEFACT:
            at, length = self.index.place(f"vendors/{said['from']}/targets/{name}")
            if length > most:
                raise LimitExceeded("the artefact is longer than the signed length")
            self._copy(at, length, into=str(said["into"]))
            return
        raise Unavailable("no such thing is in a bundle")

    def _places(self, repository: str, name: str) -> tuple[str, ...]:
        if repository != DIRECTOR:
            return (f"vendors/{repository}/metadata/{name}",)
        # What is only for this device goes first: its targets, snapshot and timestamp.
        return f"{bundle.device_folder(self.device)}/{name}", f"{bundle.DIRECTOR}/{name}"

    def _parts_of(self, at: int, length: int) -> "list[bytes]":
        try:
            with self.path.open("rb") as file:
                file.seek(at)
                content = file.read(length)
        except OSError as error:
            raise Unavailable(f"the bundle cannot be read: {error.strerror}") from error
        return [content[begin : begin + PART_BYTES] for begin in range(0, length, PART_BYTES)]

    def _copy(self, at: int, length: int, *, into: str) -> None:
        if Path(into).name != into:
            raise LimitExceeded("an artefact is named strangely")
        try:
            with self.path.open("rb") as file, (self.incoming / into).open("wb") as copy:
                file.seek(at)
                left = length
                while left and (part := file.read(min(left, PART_BYTES))):
                    copy.write(part)
                    left -= len(part)
                copy.flush()
                os.fsync(copy.fileno())
        except OSError as error:
            raise Unavailable(f"the artefact cannot be copied: {error.strerror}") from error

    def _json(self, name: str) -> Any:
        at, length = self.index.place(name)
        if length > METADATA_BYTES_MAX:
            raise LimitExceeded("the bundle's metadata is too long")
        return json.loads(b"".join(self._parts_of(at, length)))["signed"]


def read_index(path: Path) -> Index:
    """Read the head of a bundle.

    Raises:
        FramingError: Not a bundle, or cut.
        LimitExceeded: Over a limit.
        Unavailable: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return bundle.read_index(file)
    except OSError as error:
        raise Unavailable(f"the bundle cannot be read: {error.strerror}") from error
