"""What the director says to one device, and the exact bytes that are signed for it.

Three TUF roles with one version: targets, snapshot, timestamp. The signer builds the bytes from
typed values itself and signs nothing else with the director key, so a broken-into hub cannot have
a root, a delegation or an approval signed. Values are plain ASCII words, so sorted JSON without
spaces is TUF's canonical form of them.

Source: TUF specification 1.0.34, sections 4.2 to 4.5; Uptane Standard 2.1.0, section 5.2.3.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec

from asepsis.core.trust.signer_values import Message

ROLES: Final = ("targets", "snapshot", "timestamp")
TARGETS_MAX: Final = 16
"""Artefacts assigned to one device at one time."""
SETS_MAX: Final = 16
"""Devices in one request; with all their artefacts they fit into one answer."""
DAYS: Final = {"targets": 30, "snapshot": 30, "timestamp": 7}
"""Lifetimes; how long a device believes what it was told last."""
WINDOWS_MAX: Final = 64
SPECIFICATION: Final = "1.0.31"

_Word = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[a-z0-9][a-z0-9.-]*$")]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Path = Annotated[
    str,
    msgspec.Meta(max_length=200, pattern=r"^[a-z0-9][a-z0-9.-]*/[0-9A-Za-z][0-9A-Za-z.+_~-]*$"),
]
_Device = Annotated[str, msgspec.Meta(max_length=256, pattern=r"^[0-9A-Za-z][0-9A-Za-z:./_-]*$")]


Moment = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Windows = Annotated[tuple[tuple[Moment, Moment], ...], msgspec.Meta(max_length=WINDOWS_MAX)]
"""First second of each, and first second after it, since 1970."""


class Assigned(Message, frozen=True, tag="assigned"):
    """One artefact for one device.

    Attributes:
        path: Target path in the vendor's image repository.
        length: Bytes.
        sha256: Hexadecimal.
        vendor: Which vendor's repository.
        authorisation: SHA-256 of the document that both approvers signed.
        windows: When it may be installed; none for always.
    """

    path: _Path
    length: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
    sha256: _Hash
    vendor: _Word
    authorisation: _Hash
    windows: Windows = ()


class DirectorSet(Message, frozen=True, tag="director-set"):
    """Everything that one device is to have.

    Attributes:
        device: Its name, known to the signer.
        hardware: Its hardware id.
        targets: Artefacts; none for nothing to do.
    """

    device: _Device
    hardware: _Word
    targets: Annotated[tuple[Assigned, ...], msgspec.Meta(max_length=TARGETS_MAX)] = ()


@dataclass(frozen=True, slots=True)
class Payloads:
    """The bytes that are signed.

    Attributes:
        targets: Canonical `signed` of the targets role.
        snapshot: The same of the snapshot.
        timestamp: The same of the timestamp.
    """

    targets: bytes
    snapshot: bytes
    timestamp: bytes


def payloads(wanted: DirectorSet, *, version: int, now_ns: int) -> Payloads:
    """Return what is signed for one device.

    Args:
        wanted: For whom, and what.
        version: Version of all three roles, at least 1.
        now_ns: Present time, nanoseconds since 1970.
    """
    named = {
        one.path: {
            "length": one.length,
            "hashes": {"sha256": one.sha256},
            "custom": {
                "asepsis": {
                    "device": wanted.device,
                    "hardware": wanted.hardware,
                    "vendor": one.vendor,
                    "authorisation": one.authorisation,
                    **({"windows": one.windows} if one.windows else {}),
                }
            },
        }
        for one in wanted.targets
    }
    of_version = {"version": version}
    bodies: dict[str, dict[str, Any]] = {
        "targets": {"targets": named},
        "snapshot": {"meta": {"targets.json": of_version}},
        "timestamp": {"meta": {"snapshot.json": of_version}},
    }
    return Payloads(*(_role(r, bodies[r], version=version, now_ns=now_ns) for r in ROLES))


def _role(role: str, body: dict[str, Any], *, version: int, now_ns: int) -> bytes:
    now = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    said = {
        "_type": role,
        "spec_version": SPECIFICATION,
        "version": version,
        "expires": (now + timedelta(days=DAYS[role])).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **body,
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode("ascii")
