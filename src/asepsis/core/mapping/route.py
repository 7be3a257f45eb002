"""Routes: which messages go where, and how they are changed on the way. Pure.

A route takes a message or not (`match`), makes one or more messages of it (`transform`), and says
what happens when its destination refuses one. The same functions run in the hub and offline in
`asepsis route test`.

Source: own; docs/reference/routes.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.mapping.route_document import (
    Condition,
    Filter,
    RouteDocument,
    RouteFile,
    Sampling,
)
from asepsis.core.mapping.route_draft import Draft, target_of
from asepsis.core.mapping.route_steps import apply
from asepsis.core.wire.hl7 import Message

STOPS_BY_DEFAULT: Final = frozenset({"ADT"})
"""Message codes whose line stops at a refusal: a skipped move or merge falsifies what follows."""


class OnRefused(StrEnum):
    """What becomes of the line when its destination refuses a message for good."""

    STOP = "stop"
    STEP_OVER = "step-over"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message came from.

    Attributes:
        source: Name of the gateway that brought it.
        peer: Name of the gateway's peer that sent it; empty for one without findings.
    """

    source: str = ""
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One element that a step changed.

    Attributes:
        path: Such as ``OBX[2]-5``.
        before: Text of the whole field as it stood, escaped.
        after: As it stands now.
    """

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Trace:
    """What one step did.

    Attributes:
        step: Its name, as `do` says it.
        changes: Fields that are different now.
        messages: How many messages there are after it.
    """

    step: str
    changes: tuple[Change, ...]
    messages: int


class Route:
    """One route, ready to be asked.

    Args:
        document: Checked by `read_routes`.
        file: The file it stands in, for its tables.
    """

    __slots__ = ("_tables", "document", "name", "to")

    def __init__(self, document: RouteDocument, file: RouteFile) -> None:
        self.document = document
        self.name = document.name
        self.to = document.to
        self._tables = file.tables

    @property
    def reads_header_only(self) -> bool:
        """Whether the route looks at MSH alone and passes every byte as it came."""
        return not self.document.map and not self.document.filter.where

    def takes(self, message: Message, origin: Origin) -> bool:
        """Say whether the route's filter lets a message through.

        Raises:
            InputError: A field of a condition cannot be read.
        """
        return self.refusal(message, origin) == ""

    def refusal(self, message: Message, origin: Origin) -> str:
        """Return why the filter does not let a message through; "" if it does.

        Raises:
            InputError: A field of a condition cannot be read.
        """
        wanted = self.document.filter
        if wanted.types and not _type_fits(message, wanted):
            return "its type is not listed"
        if wanted.sources and origin.source not in wanted.sources:
            return "its source is not listed"
        if wanted.peers and origin.peer not in wanted.peers:
            return "its peer is not listed"
        if not wanted.where:
            return ""
        draft = Draft(message)
        for condition in wanted.where:
            if not _holds(condition, draft):
                return f"{condition.field} does not fit"
        return ""

    def transform(self, message: Message) -> list[bytes]:
        """Return what becomes of a message; the message itself where the route changes nothing.

        Raises:
            InputError: A step cannot be done, or makes something that is no message.
            LimitExceeded: It splits into too many.
        """
        if not self.document.map:
            return [message.body]
        drafts = [Draft(message)]
        for step in self.document.map:
            drafts = apply(step, drafts, tables=self._tables)
        return [Message.parse(bytes(draft)).body for draft in drafts]

    def trace(self, message: Message) -> tuple[list[Trace], list[bytes]]:
        """Do as `transform`, and say what each step did; errors as there."""
        drafts, traces = [Draft(message)], list[Trace]()
        for step in self.document.map:
            before = [draft.copy(draft.segments) for draft in drafts]
            drafts = apply(step, drafts, tables=self._tables)
            name = str(step.__struct_config__.tag)
            same = len(drafts) == len(before)
            pairs = zip(before, drafts, strict=True) if same else ()
            changes = [change for old, new in pairs for change in compare(old, new)]
            traces.append(Trace(name, tuple(changes), len(drafts)))
        return traces, [Message.parse(bytes(draft)).body for draft in drafts]

    def on_refused(self, message_code: str) -> OnRefused:
        """Return what a refusal does; MSH-9.1 decides where the route does not say."""
        if self.document.on_refused is not None:
            return OnRefused(self.document.on_refused)
        return OnRefused.STOP if message_code in STOPS_BY_DEFAULT else OnRefused.STEP_OVER

    def sampling(self, destination: str) -> Sampling | None:
        """Return how a destination's messages are thinned; None sends every one."""
        found = [one for one in self.document.sampling if one.to == destination]
        return found[0] if found else None


def routes_of(file: RouteFile) -> tuple[Route, ...]:
    """Return the routes of a file, in its order."""
    return tuple(Route(document, file) for document in file.routes)


def compare(before: Draft, after: Draft) -> list[Change]:
    """Return the fields in which two drafts differ, by segment name and number."""
    changes: list[Change] = []
    old, new = _numbered(before), _numbered(after)
    for key in dict.fromkeys([*old, *new]):
        fields = zip_longest(old.get(key, []), new.get(key, []), fillvalue=b"")
        for number, (was, now) in enumerate(fields, 1):
            if was != now:
                shown = [part.decode(after.codec, "replace") for part in (was, now)]
                changes.append(Change(f"{key}-{number}", *shown))
    return changes


def _numbered(draft: Draft) -> dict[str, list[bytes]]:
    """Return the fields of each segment by name and occurrence; MSH begins with its separator."""
    counts: dict[str, int] = {}
    found: dict[str, list[bytes]] = {}
    for segment in draft.segments:
        name = segment[0].decode("ascii", "replace")
        counts[name] = counts.get(name, 0) + 1
        key = name if counts[name] == 1 else f"{name}[{counts[name]}]"
        head: Sequence[bytes] = [draft.delimiters.field] if name == "MSH" else []
        found[key] = [*head, *segment[1:]]
    return found


def _type_fits(message: Message, wanted: Filter) -> bool:
    header = message.header
    code, event = header.message_code, header.trigger_event
    return f"{code}^{event}" in wanted.types or f"{code}^*" in wanted.types


def _holds(condition: Condition, draft: Draft) -> bool:
    value = draft.read(target_of(condition.field))
    if condition.present is not None and bool(value) is not condition.present:
        return False
    if condition.any_of and value not in condition.any_of:
        return False
    return value not in condition.none_of


def patient_key(message: Message) -> bytes:
    """Return what messages of one patient share: the first identifier; empty without one."""
    (identifiers,) = message.first("PID", 3)
    return identifiers.split(message.delimiters.repetition, 1)[0]


def describe_error(error: InputError) -> str:
    """Return one line about why a route could not transform a message."""
    return f"{error.code}: {error}"
