"""What a person wrote into one delegation, and whether what comes agrees with it. Pure.

A *delegation* lets a gateway, or the pair of gateways that it belongs to, speak for one device that
has no certificate of its own. A *source* lets a gateway bring what concerns no single device and
every patient: movements (ADT), merges of patients, worklists, whose device is whose (PCIM).

Source: REQ-MSG-003, REQ-ORG-012; HL7 v2.9 chapter 3 (events that change who a patient is).
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from asepsis.core.errors import InputError, NotPermitted
from asepsis.core.mapping.pcim import ASSOCIATION_TYPE
from asepsis.hub.registry.rules import Evidence

INTERFACE_CHARS_MAX: Final = 60
TYPES_MAX: Final = 64
ANY_EVENT: Final = "*"
LANES: Final = frozenset({"fhir", "alert", "waveform", "dicom"})
"""Words for what is no HL7 v2 message."""
LATE: Final = "late"
"""What waited at the gateway, of whatever lane."""
PERIOD_S_MAX: Final = 300
"""Longest time between two reports of a device that is supervised."""
WARN_NS: Final = 30 * 86_400_000_000_000
"""People are told of an expiry this long before it: 30 days."""
_MERGES: Final = frozenset(
    {"A18", "A24", "A30", "A37", *(f"A{n}" for n in (*range(34, 37), *range(39, 52)))}
)
"""Events that merge, move, link or rename patients."""
_ORDERS: Final = frozenset({"ORM", "OMG", "OMI"})
"""Messages that a worklist is made of."""


class SourceKind(StrEnum):
    """What only a named source may bring."""

    ADT = "adt"
    MERGE = "merge"
    WORKLIST = "worklist"
    ASSOCIATION = "pcim"


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the network shows of a device: declared by a person, or seen by a gateway.

    Attributes:
        address: Declared: an address or a network; seen: an address. Empty says nothing.
        port: Port of the gateway that the device comes to, or its own where the gateway dials; 0
            says nothing.
        vlan: VLAN of the device's segment, 1 to 4 094; 0 says nothing.
        tls_key_sha256: SHA-256 of the device's public key (SPKI), hexadecimal; empty says nothing.
    """

    address: Annotated[str, msgspec.Meta(max_length=64)] = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    vlan: Annotated[int, msgspec.Meta(ge=0, le=4_094)] = 0
    tls_key_sha256: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")] = ""

    @property
    def says_something(self) -> bool:
        """Whether anything is declared at all."""
        return bool(self.address or self.port or self.vlan or self.tls_key_sha256)


NOTHING: Final = Network()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One delegation.

    Attributes:
        holder: Gateway or vendor's server.
        device: Whom it may speak for.
        expires_at_ns: End of the permission, nanoseconds since 1970.
        evidence: What the person who declared it says of the gateway's knowledge.
        person: Who declared it.
        partner: The other gateway of a pair, which may do the same; empty for none.
        interface: By which family or listener of the gateway the device comes, for people.
        message_types: What may come: `ORU^R01`, `ORU^*`, or a word of `LANES`; empty for all.
        network: What the gateway must see of the device.
        period_s: How often the device reports at least, 1 to `PERIOD_S_MAX` seconds; its silence is
            judged by that. 0 for the default.
        seen: What it last said that it sees; None before it said anything.
        changed_at_ns: When that first differed; 0 if it never did. A person declares anew.
    """

    holder: str
    device: str
    expires_at_ns: int
    evidence: Evidence = Evidence.CLAIMED
    person: str = ""
    partner: str = ""
    interface: str = ""
    message_types: tuple[str, ...] = ()
    network: Network = NOTHING
    period_s: int = 0
    seen: Network | None = None
    changed_at_ns: int = 0

    @property
    def observed(self) -> bool:
        """Whether the gateway's word counts as an observation of the device's own connection."""
        if self.evidence is not Evidence.OBSERVED or self.changed_at_ns:
            return False
        return self.seen is not None if self.network.says_something else True

    def check_type(self, message_type: str) -> None:
        """Let a message type or lane pass.

        Raises:
            NotPermitted: It is not among those of the delegation.
        """
        code = message_type.partition("^")[0]
        # What comes late of a lane is what the lane would have taken.
        wanted = LANES if message_type == LATE else {message_type, f"{code}^{ANY_EVENT}"}
        if self.message_types and not wanted & set(self.message_types):
            raise NotPermitted(f"the delegation of {self.device} does not name {message_type}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A gateway that is named as a source.

    Attributes:
        holder: The gateway.
        kind: Of what.
        expires_at_ns: Until when, nanoseconds since 1970.
        person: Who named it.
        partner: The other gateway of a pair; empty for none.
    """

    holder: str
    kind: SourceKind
    expires_at_ns: int
    person: str = ""
    partner: str = ""


def source_kind(message_type: str) -> SourceKind | None:
    """Return as what a gateway must be named to bring a message; None for any gateway.

    Args:
        message_type: MSH-9.1 and MSH-9.2 as `ADT^A40`; `ASSOCIATION_TYPE` for a message that says
            whose device it is.
    """
    code, _, event = message_type.partition("^")
    if code == "ADT":
        return SourceKind.MERGE if event in _MERGES else SourceKind.ADT
    if message_type == ASSOCIATION_TYPE:
        return SourceKind.ASSOCIATION
    return SourceKind.WORKLIST if code in _ORDERS else None


def differences(declared: Network, seen: Network) -> tuple[str, ...]:
    """Return the names of the fields in which what is seen is not what was declared."""
    found: list[str] = []
    if declared.address and not _inside(seen.address, declared.address):
        found.append("address")
    if declared.port and declared.port != seen.port:
        found.append("port")
    if declared.vlan and declared.vlan != seen.vlan:
        found.append("vlan")
    if declared.tls_key_sha256 and declared.tls_key_sha256 != seen.tls_key_sha256:
        found.append("tls_key_sha256")
    return tuple(found)


def check_network(network: Network) -> Network:
    """Return declared evidence.

    Raises:
        InputError: The address is neither an address nor a network.
    """
    try:
        if network.address:
            ipaddress.ip_network(network.address)
    except ValueError as error:
        raise InputError(f"not an address or network: {network.address}") from error
    return network


def check_types(message_types: tuple[str, ...]) -> tuple[str, ...]:
    """Return the message types of a delegation.

    Raises:
        InputError: Too many, or one that is neither `ORU^R01`, `ORU^*` nor a lane.
    """
    if len(message_types) > TYPES_MAX:
        raise InputError(f"a delegation names at most {TYPES_MAX} message types")
    for text in message_types:
        code, caret, event = text.partition("^")
        typed = code.isalnum() and code.isupper() and caret and len(text) <= 16
        if text not in LANES and not (typed and (event == ANY_EVENT or event.isalnum())):
            raise InputError(
                f"no message type: {text[:20]!r}",
                hint=f"ORU^R01, ORU^*, or one of {', '.join(sorted(LANES))}",
            )
    return message_types


def pair_name(one: str, other: str) -> str:
    """Return the one name of a pair of gateways, whichever is named first."""
    return hashlib.sha256("\n".join(sorted((one, other))).encode()).hexdigest()[:32]


def _inside(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network)
    except ValueError:
        return False
