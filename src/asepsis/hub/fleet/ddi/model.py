"""Values of the interface: targets, modules, files, actions. Pure."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from asepsis.core.model.update import Outcome
from asepsis.core.wire.ddi import AutoConfirm
from asepsis.hub.fleet.ddi.profiles import GENERIC, Profile

WINDOWS_MAX: Final = 366
MODULES_MAX: Final = 20
FILES_MAX: Final = 20
STATUSES_MAX: Final = 1_000
"""Reports of one action that are kept; its end is kept in any case."""


class Stage(StrEnum):
    """Where an action is in the protocol; what it came to is its `Outcome`."""

    CONFIRM = "waits-for-confirmation"
    RUNNING = "running"
    CANCELING = "canceling"
    DOWNLOADED = "downloaded"
    FINISHED = "finished"
    ERROR = "error"
    CANCELED = "canceled"


CLOSED: Final = frozenset({Stage.DOWNLOADED, Stage.FINISHED, Stage.ERROR, Stage.CANCELED})


class Kind(StrEnum):
    """How much is left to the device."""

    FORCED = "forced"
    SOFT = "soft"
    TIME_FORCED = "time-forced"
    DOWNLOAD_ONLY = "download-only"


class Window(msgspec.Struct, frozen=True, array_like=True):
    """When an update may be installed.

    Attributes:
        opens_ns: From when, nanoseconds since 1970.
        closes_ns: Until when, exclusive.
    """

    opens_ns: int
    closes_ns: int


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a module, by its hashes in hexadecimal."""

    filename: str
    size: int
    sha256: str
    sha1: str
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A piece of software with its files.

    Attributes:
        id: Number at this hub.
        name: Its name.
        version: For people, and what the device reports when it runs.
        part: What it is, for example `os`.
        files: Its files.
        person: Who brought it.
        added_ns: When.
    """

    id: int
    name: str
    version: str
    part: str
    files: tuple[File, ...]
    person: str
    added_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One update of one target.

    Attributes:
        id: Number at this hub, rising.
        target: Whose.
        name: Of the set of modules.
        version: Of the set: what the device reports as `asepsis-version` when it runs it.
        modules: Numbers of the modules.
        kind: How much is left to the device.
        force_ns: With `TIME_FORCED`, from when it is forced.
        windows: When it may be installed, in order; empty for always.
        stage: Where it is in the protocol.
        outcome: What it came to, as far as is known.
        reason: For people.
        retrieved: Whether the client has looked at it.
        served: Whether a whole file of it was sent.
        boot: What the device said of its boot when it reported success.
        statuses: Reports so far.
        person: Who assigned it.
        created_ns: When.
        closed_ns: When it ended in the protocol; 0 before.
    """

    id: int
    target: str
    name: str
    version: str
    modules: tuple[int, ...]
    kind: Kind = Kind.FORCED
    force_ns: int = 0
    windows: tuple[Window, ...] = ()
    stage: Stage = Stage.RUNNING
    outcome: Outcome = Outcome.OFFERED
    reason: str = ""
    retrieved: bool = False
    served: bool = False
    boot: str = ""
    statuses: int = 0
    person: str = ""
    created_ns: int = 0
    closed_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device as an update client.

    Attributes:
        name: Its own name (`controllerId`).
        profile: How its client behaves.
        token_sha256: Hash of its own token, hexadecimal; empty for none.
        blocked: Whether it is refused.
        attributes: What it says of itself.
        wanted: Whether it is asked for them.
        auto_confirm: Who confirms everything, or None.
        installed: Number of the action that was finished last; 0 for none.
        person: Who listed it; empty if it came by a gateway's token or a certificate.
        added_ns: When.
        seen_ns: When it asked last, as far as is written down.
        address: Where from.
    """

    name: str
    profile: Profile = GENERIC
    token_sha256: str = ""
    blocked: bool = False
    attributes: dict[str, str] = field(default_factory=dict[str, str])
    wanted: bool = True
    auto_confirm: AutoConfirm | None = None
    installed: int = 0
    person: str = ""
    added_ns: int = 0
    seen_ns: int = 0
    address: str = ""
