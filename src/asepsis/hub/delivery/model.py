"""What leaves the hub for somebody else's system, and where to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from asepsis.core.model.lanes import Lane
from asepsis.core.wire.message_record import MessageEntry

NAME_CHARS_MAX: Final = 32
ADDRESS_CHARS_MAX: Final = 300
PEM_CHARS_MAX: Final = 65_536
SEQUENCE_START_BITS: Final = 22
"""Numbers of a line begin at the second of its start times 2**22: a later start has higher ones."""


class Kind(StrEnum):
    """How a destination is reached."""

    MLLP = "mllp"
    GATEWAY = "gateway"
    FHIR = "fhir"
    REST_HOOK = "rest-hook"
    STOW = "stow"


Carries = Literal["messages", "images", "observations", "alerts", "associations"]
LANES: Final[Mapping[str, tuple[Lane, ...]]] = {
    "messages": (Lane.MESSAGE,),
    "images": (Lane.IMAGE_INDEX,),
    "observations": (Lane.ALERT, Lane.VITALS, Lane.LATE),
    "alerts": (Lane.ALERT,),
    "associations": (Lane.EVENT,),
}
"""What a destination carries -> the lanes that it is fed from, the most urgent first.

A batch that carries an alarm event is in the alert lane as a whole, so its numbers are, too.
"""
WRITTEN: Final = frozenset({"observations", "alerts", "associations"})
"""What the hub writes messages about. Nothing waits for such a destination: a lane that live data
comes by expires by its age, so a receiver that is away for days can never fill it."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an administrator says about a destination besides its address.

    Attributes:
        carries: `messages` or `images` that others sent, or `observations`, `alerts` or
            `associations`, of which the hub writes messages.
        chart: Whether it is a chart: what is held back from charts does not go there.
        gateway: `urn:uuid:` name of the gateway that fetches; only for kind `gateway`.
        partner: Second gateway of a pair that may fetch instead.
        server_name: Name that the receiver's certificate must carry; by default the host.
        ca_pem: CA of that certificate, PEM; empty for the hospital's own root.
        client_certificate: Whether the hub shows its own certificate.
        consumer: `urn:uuid:` name of who may subscribe; only for kind `rest-hook`.
        subscription: The R4 Subscription that the consumer made; empty for none. The hub sets it.
        bearer: Token of an HTTP destination; never shown.
        in_flight: Messages that may wait for their acknowledgement; for kind `stow`, the instances
            of one request.
        commit: Whether an instance counts as accepted only once the archive has committed it: for
            kind `stow`, once a search finds it and what is fetched back is what was sent. None is
            yes for kind `stow` and no for every other.
        title: AE title by which modalities are told where committed images are; by default the
            destination's name in capitals.
        answer_s: Longest wait for one, seconds.
        tries: How often a message is sent that is answered AE or CE, or an instance A7xx or
            0110, before it counts as refused.
        local: Loopback, link-local and the hub's own networks are permitted; demonstration only.
        from_start: Whether the first delivery begins with what the journal still holds.
    """

    carries: Carries = "messages"
    chart: bool = False
    gateway: Annotated[str, msgspec.Meta(max_length=120)] = ""
    partner: Annotated[str, msgspec.Meta(max_length=120)] = ""
    server_name: Annotated[str, msgspec.Meta(max_length=253)] = ""
    ca_pem: Annotated[str, msgspec.Meta(max_length=PEM_CHARS_MAX)] = ""
    client_certificate: bool = True
    consumer: Annotated[str, msgspec.Meta(max_length=120)] = ""
    subscription: Annotated[str, msgspec.Meta(max_length=8_192)] = ""
    bearer: Annotated[str, msgspec.Meta(max_length=8_192)] = ""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    commit: bool | None = None
    title: Annotated[str, msgspec.Meta(max_length=16, pattern=r"^[ -\[\]-~]*$")] = ""
    answer_s: Annotated[float, msgspec.Meta(ge=0.1, le=600)] = 30.0
    tries: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    local: bool = False
    from_start: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One destination.

    Attributes:
        name: As routes name it.
        kind: How it is reached.
        address: `host:port`; for kind `gateway` the name of an entry of its settings.
        options: The rest.
        created_by: Who entered it.
        created_ns: When, nanoseconds since 1970.
    """

    name: str
    kind: Kind
    address: str
    options: Options
    created_by: str
    created_ns: int

    @property
    def consumer(self) -> str:
        """Name of its cursor in the journal."""
        return f"hub:to:{self.name}"

    @property
    def commits(self) -> bool:
        """Whether an instance counts as accepted only once its archive has committed it."""
        asked = self.options.commit
        return self.kind is Kind.STOW if asked is None else asked

    @property
    def title(self) -> str:
        """AE title by which its archive is named to modalities."""
        return self.options.title or self.name.upper()[:16]

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that it is fed from."""
        return LANES[self.options.carries]

    @property
    def mandatory(self) -> bool:
        """Whether nothing of its lanes expires before it was delivered."""
        return self.options.carries not in WRITTEN


class ItemKind(StrEnum):
    """What an item is."""

    HL7 = "hl7"
    INSTANCE = "instance"
    FHIR = "fhir"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One message or instance for one destination.

    Attributes:
        key: The same for the same thing whenever it is made again: position, index and part.
        kind: What it is.
        body: ER7 bytes, the JSON of an instance's record, or a FHIR transaction.
        route: Which route made it.
        stop: Whether its refusal stops the line.
        members: Keys of everything that it stands for; empty for a dead letter on its way again.
        fault: Why it cannot be sent as it is; the destination never sees it.
        held: Why charts may not have it.
        rule: Which rule says so, such as `patient`; empty unless it is held back.
        letter: Id of the dead letter that it is, 0 for none.
        entry: The message that it came from, until it is in its last form.
        overtaken: Says that it must not be sent any more: an alert that is late and over.
    """

    key: str
    kind: ItemKind
    body: bytes
    route: str
    stop: bool = False
    members: tuple[str, ...] = ()
    fault: str = ""
    held: str = ""
    rule: str = ""
    letter: int = 0
    entry: MessageEntry | None = None
    overtaken: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a destination does not take an item.

    Attributes:
        code: MSA-1, HTTP status or our own word, at most 20 characters.
        text: The receiver's words, at most 500 characters; may name a patient.
    """

    code: str
    text: str


class LetterState(StrEnum):
    """Where a dead letter stands."""

    OPEN = "open"
    """A person has to decide."""
    BLOCKING = "blocking"
    """A person has to decide, and the line waits for it."""
    HELD = "held"
    """Held back from a chart; a person may release it."""
    QUEUED = "queued"
    """Replayed or redirected, and on its way."""
    DELIVERED = "delivered"
    DISCARDED = "discarded"


UNDECIDED: Final = frozenset({LetterState.OPEN, LetterState.BLOCKING, LetterState.HELD})
