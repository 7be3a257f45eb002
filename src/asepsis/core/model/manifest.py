"""The compartment manifest of a device model: who may do what. All that enforces it is generated.

Frozen values only. `manifest_toml` reads them, `manifest_rules` finds contradictions,
`manifest_claims` says which safety claims hold, `manifest_rights` what is granted.

Source: standard/schemas/manifest.json; docs/reference/manifest.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.syscall_class import SyscallClass

FORMAT: Final = 1
NAME_PATTERN: Final = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
NAME_CHARS_MAX: Final = 24
TEXT_CHARS_MAX: Final = 200
COMPARTMENTS_MAX: Final = 32
THINGS_MAX: Final = 64
"""Rings, lines, documents, endpoints, requests: of each at most this many."""
REALTIME_MAX: Final = 50
"""Highest SCHED_FIFO priority that a manifest may name; the kernel's interrupt threads have it."""
LIST_MAX: Final = 16
"""Names in one list of a compartment."""
RESERVED: Final = frozenset({"supervisor", "broker", "kernel", "hub", "bedside"})
"""Names of what is no compartment and still stands in every device."""


class Criticality(StrEnum):
    """What its loss or takeover costs."""

    CRITICAL = "critical"
    """The patient: it measures or treats, and decides the clinical state."""
    ESSENTIAL = "essential"
    """Belief: what leaves the device, or is shown, is true because it is."""
    EXPENDABLE = "expendable"
    """Convenience: it is expected to be broken into one day."""


class Zone(StrEnum):
    """What a compartment reaches outside the device."""

    NONE = "none"
    BROKER = "broker"
    """Connected sockets to its named endpoints, from the connect broker; it makes none itself."""
    SERVICE = "service"
    """Its ports, and only while a person at the device has opened them in maintenance."""


class Confirmation(StrEnum):
    """What a request needs before it counts."""

    BEDSIDE = "bedside"
    """A person at the device."""
    OPERATOR_SIGNATURE = "operator-signature"
    """A signature of the operator that the compartment asked verifies itself."""
    NOTHING = "nothing"


class Rung(StrEnum):
    """How an update reaches a compartment, least disruptive first."""

    SWAP = "swap"
    """The new version starts beside the old one, proves itself and takes over."""
    RESTART = "restart"
    """The old one ends, the new one starts."""
    IMAGE = "image"
    """With the image of the whole device only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """A one-way ring in memory: one writer, readers who cannot change it.

    Attributes:
        name: Unique among rings.
        text: What stands in it.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A one-way line for small messages.

    Attributes:
        name: Unique among lines.
        text: What goes over it.
        bytes_max: Longest message, 1 to 4,096.
        on_demand: Whether the compartment at one end is started for one matter and may stand in
            another file; without it the line leads nowhere.
    """

    name: str
    text: str
    bytes_max: int
    on_demand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file that the supervisor opens for reading and hands over; the compartment names no path.

    Attributes:
        name: Unique among documents.
        text: What stands in it.
        path: In the device's folder; "" where a person chooses it at the start.
        secret: Whether whoever reads it can pretend to be somebody.
        optional: Whether the compartment runs without it.
        device_file: Whether it is a device of the kernel that is read and written, such as a TPM.
    """

    name: str
    text: str
    path: str = ""
    secret: bool = False
    optional: bool = False
    device_file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A place outside the device that the connect broker is pinned to.

    Attributes:
        name: Unique among endpoints; the addresses come with enrolment.
        text: What listens there.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Something that one compartment may ask of another, through the supervisor's gate.

    Attributes:
        name: Unique among requests.
        text: What is asked.
        to: Compartment that decides.
        per_minute_max: How often, 1 to 60.
        confirmed_by: What it needs before it counts.
    """

    name: str
    text: str
    to: str
    per_minute_max: int
    confirmed_by: Confirmation


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a compartment may use up, and its place among the others.

    Attributes:
        memory_mib: Address space, MiB, 16 to 65,536.
        files: Open descriptors, 8 to 65,536.
        file_mib: Largest file written, MiB, 0 to 1,048,576.
        tasks: Processes and threads, 1 to 4,096.
        cpu_percent: Share of one processor, 1 to 6,400.
        nice: -20 to 19.
        oom_score: -1,000 (ended last) to 1,000 (ended first) when memory runs out.
        realtime: SCHED_FIFO priority, 1 to `REALTIME_MAX`; 0 for none.
        lock_memory: Whether its memory is kept from being swapped.
        silence_s: Silent for longer it hangs and is started anew, seconds, 0.5 to 3,600.
        restart_s_max: Longest wait before it is started anew, seconds, 0.1 to 60.
    """

    memory_mib: int
    files: int
    file_mib: int
    tasks: int
    cpu_percent: int
    nice: int
    oom_score: int
    realtime: int = 0
    lock_memory: bool = False
    silence_s: float
    restart_s_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """When and how a compartment is replaced.

    Attributes:
        rung: How.
        when: Clinical states in which it may be.
    """

    rung: Rung
    when: tuple[ClinicalState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compartment:
    """One compartment. What it does not name it does not get.

    Attributes:
        name: Unique.
        text: What it does, in a sentence.
        criticality: What its loss or takeover costs.
        code: Module whose `main` it runs; its code image.
        user: Number of the user it becomes where the device starts as root.
        syscalls: System call class.
        zone: What it reaches outside the device.
        reads: Rings.
        writes: Rings.
        says: Lines it writes to.
        hears: Lines it reads from.
        handed: Documents.
        folder: Whether it has a folder of its own, the only place it can write to.
        keeps: Secrets that lie in that folder.
        ports: TCP ports on which the supervisor listens for it.
        endpoints: Where the broker connects it to; the order is that of the broker's numbers.
        channels: Connections that it can ask for at once, 0 to 64.
        requests: What it may ask of others.
        self_tests: Events that a new version must report before it takes over.
        update: When and how it is replaced.
        resources: What it may use up.
    """

    name: str
    text: str
    criticality: Criticality
    code: str
    user: int
    syscalls: SyscallClass
    zone: Zone = Zone.NONE
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    handed: tuple[str, ...] = ()
    folder: bool = False
    keeps: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    endpoints: tuple[str, ...] = ()
    channels: int = 0
    requests: tuple[str, ...] = ()
    self_tests: tuple[str, ...]
    update: Update
    resources: Resources

    @property
    def outward(self) -> bool:
        """Whether bytes of strangers reach it directly."""
        return self.zone is not Zone.NONE or bool(self.ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All compartments of one device model.

    Attributes:
        device: Name of the model.
        version: From 1; every change is a new one.
        text: What the device is.
        compartments: By name, in the order in which they are stopped: sources first.
        rings: By name.
        lines: By name.
        documents: By name.
        endpoints: By name.
        requests: By name.
    """

    device: str
    version: int
    text: str
    compartments: Mapping[str, Compartment]
    rings: Mapping[str, Ring]
    lines: Mapping[str, Line]
    documents: Mapping[str, Document]
    endpoints: Mapping[str, Endpoint]
    requests: Mapping[str, Request]

    @property
    def critical(self) -> tuple[Compartment, ...]:
        """The compartments that the patient depends on."""
        return tuple(c for c in self.compartments.values() if c.criticality is Criticality.CRITICAL)
