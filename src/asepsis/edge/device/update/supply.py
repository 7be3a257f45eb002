"""What the director assigns, as the agent sees it: contacts, artefacts, folders of versions."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from asepsis.core.errors import (
    AsepsisError,
    Conflict,
    ContentMismatch,
    NotFound,
    TrustError,
    Unavailable,
)
from asepsis.core.trust.sealing import sync_folder
from asepsis.edge.device.update import plan as plans
from asepsis.edge.device.update.contact import Contact, StartFetcher
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.memory import Target
from asepsis.edge.device.update.moment import Window
from asepsis.edge.device.update.place import ACCEPTED, OFFERED, STAGED
from asepsis.edge.device.update.plan import Plan, read_plan
from asepsis.edge.device.update.unpacking import tree_digest

DOCUMENTS_BYTES_MAX: Final = 1 << 20
TRANSIENT: Final = "ASP-4"
"""How the codes of what may work later begin; every other refusal is the verifier's judgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where it is on the device.

    Attributes:
        update: The update folder; the verifier writes there.
        releases: Versions of compartments; only the supervisor writes there.
    """

    update: Path
    releases: Path

    def version(self, target: Target) -> Path:
        """Return where a version of a compartment belongs."""
        return self.releases / target.component / target.version


class DirectedSupply:
    """Fetcher and verifier, asked every so often; see `ports.Supply`.

    Args:
        folders: Where it is on the device.
        order: Returns what the verifier is to do now.
        start_fetcher: Starts a fetcher.
        every_s: From one contact to the next, seconds.
        now_s: Monotonic seconds.
        tell: Told what came of each contact.

    Resource handling: `close` ends a contact that is under way.
    """

    def __init__(
        self,
        folders: Folders,
        *,
        order: Callable[[], dict[str, Any]],
        start_fetcher: StartFetcher,
        every_s: float,
        now_s: Callable[[], float],
        tell: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._folders = folders
        self._order = order
        self._start_fetcher = start_fetcher
        self._every_s = every_s
        self._now_s = now_s
        self._tell = tell
        self._due_s = now_s()
        self._contact: Contact | None = None
        self._offers: Sequence[Target] | None = None
        self._placed: dict[str, str] = {}
        self._windows: dict[str, tuple[Window, ...]] = {}

    def step(self) -> None:
        """See `Supply`."""
        now_s = self._now_s()
        if self._contact is None:
            if now_s >= self._due_s:
                self._begin(now_s)
            return
        result = self._contact.poll(now_s)
        if result is not None:
            self.close()
            self._due_s = now_s + self._every_s
            self._ended(result)
        elif (offered := self._read(OFFERED)) is not None:
            self._take(offered)

    def close(self) -> None:
        """End what is under way."""
        if self._contact:
            self._contact.close()
        self._contact = None

    def offers(self) -> Sequence[Target] | None:
        """See `Supply`."""
        return self._offers

    def windows(self, target: Target) -> tuple[Window, ...]:
        """See `Supply`."""
        return self._windows.get(target.release, ())

    def ready(self, target: Target) -> bool:
        """See `Supply`."""
        return self._contact is None and self._accepted(target) is not None

    def stage(self, target: Target) -> None:
        """See `Supply`; the verifier unpacked it, here it gets its place and is read back."""
        found = self._accepted(target)
        if found is None or not isinstance(found.get("tree"), str):
            raise Unavailable("it is not accepted now")
        unpacked = self._folders.update / STAGED / target.release
        place = self._folders.version(target)
        try:
            if unpacked.is_dir():
                _move(unpacked, place)
            elif not place.is_dir():
                self._placed.pop(target.release, None)
                raise Unavailable("the version is gone; it is unpacked anew")
            if tree_digest(place) != found["tree"]:
                raise ContentMismatch("what was read back is not what was verified")
            self._placed[target.release] = found["tree"]
        except OSError as error:
            raise Unavailable(f"the version cannot be placed: {error.strerror}") from error

    def plan(self, target: Target) -> Plan:
        """See `Supply`."""
        try:
            with (self._folders.version(target) / plans.NAME).open("rb") as file:
                return read_plan(file.read(plans.PLAN_BYTES_MAX + 1))
        except OSError as error:
            raise NotFound(f"the release has no readable plan: {error.strerror}") from error

    def verified(self, target: Target) -> None:
        """See `Supply`."""
        Floors(self._folders.update).verified(target.component, target.floor)

    def tidy(self, component: str, *, runs: str, before: str) -> None:
        """Remove versions that this agent placed and nobody needs, or that lie below the floor.

        What lies below the floor goes although a person might want to go back to it: that is what
        the floor is for. What a person placed has no counter and stays.

        Args:
            component: Whose versions.
            runs: The confirmed one.
            before: The one that was confirmed before it; "" for none.
        """
        floor = Floors(self._folders.update).of(component)
        with contextlib.suppress(OSError):  # What cannot be removed is tried again next time.
            for path in (self._folders.releases / component).iterdir():
                counter = path.name.rpartition("+")[2]
                if path.name == runs or not counter.isdecimal():
                    continue
                if path.name != before or int(counter) < floor:
                    shutil.rmtree(path)

    def _begin(self, now_s: float) -> None:
        try:
            order = {**self._order(), "placed": self._placed}
            self._contact = Contact(order, start_fetcher=self._start_fetcher, now_s=now_s)
        except AsepsisError as error:
            self._due_s = now_s + self._every_s
            self._ended({"done": False, "code": error.code, "why": str(error)})

    def _ended(self, result: Mapping[str, Any]) -> None:
        transient = str(result.get("code", "")).startswith(TRANSIENT)
        known = self._read(ACCEPTED if result.get("done") else OFFERED)
        if result.get("done") or transient:
            self._take(known)
        else:
            # Somebody's word does not hold any more: then nothing is offered.
            self._offers = []
        self._tell(result)

    def _take(self, known: list[dict[str, Any]] | None) -> None:
        """Take what the verifier wrote; what is not known now keeps the windows it had."""
        if known is None:
            self._offers = None
            return
        self._offers = [_target(one) for one in known]
        self._windows = {
            one["sha256"]: tuple(Window(*span) for span in one.get("windows", ())) for one in known
        }

    def _accepted(self, target: Target) -> dict[str, Any] | None:
        documents = self._read(ACCEPTED) or []
        return next((one for one in documents if one["sha256"] == target.release), None)

    def _read(self, name: str) -> list[dict[str, Any]] | None:
        try:
            with (self._folders.update / name).open("rb") as file:
                found: object = json.loads(file.read(DOCUMENTS_BYTES_MAX))
        except (OSError, ValueError):
            return None
        return cast("list[dict[str, Any]]", found)


def _target(document: Mapping[str, Any]) -> Target:
    release = document["release"]
    version = re.sub(r"[^a-z0-9.+-]", "-", str(release["version"]).lower())
    return Target(
        release=document["sha256"],
        path=document["path"],
        component=release["component"],
        # The counter makes it unique: a version is for people and may come twice.
        version=f"{version[:40]}+{release['counter']}",
        counter=release["counter"],
        floor=document["floor"],
        reboot=release["reboot"],
    )


def _move(unpacked: Path, place: Path) -> None:
    """Give what the verifier unpacked to the supervisor's user, readable for compartments.

    Raises:
        Conflict: The place is in use, as a mount.
        TrustError: It belongs to somebody else and cannot be taken.
    """
    if place.is_mount():
        raise Conflict("an image is mounted where the version belongs")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    unpacked.rename(place)
    for path in (place, *place.rglob("*")):
        try:
            os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
        except PermissionError as error:
            raise TrustError("the version belongs to somebody else") from error
        path.chmod(0o755 if path.is_dir() else 0o644)
    sync_folder(place)
    sync_folder(place.parent)
