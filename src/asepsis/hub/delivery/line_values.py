"""What a line stands on, holds and counts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from asepsis.core.compliance.gate import ChartGate
from asepsis.core.mapping.route import Route
from asepsis.hub.delivery.model import (
    Item,
)
from asepsis.hub.delivery.ports import LineJournal
from asepsis.hub.delivery.scribe import Scribe
from asepsis.hub.store.store import Store


@dataclass(slots=True)
class Pending:
    """One item of the window.

    Attributes:
        item: What it is.
        tries: How often it was answered with an error.
        parked: Taken out of the queue while its dead letter is written.
    """

    item: Item
    tries: int = 0
    parked: bool = False


@dataclass(slots=True)
class Figures:
    """What a line did since the hub started; for people.

    Attributes:
        accepted: Items that the destination took.
        refused: Items that became dead letters.
        overtaken: Alerts that were late and over, so that nobody was told of them.
        trouble: Why nothing goes now; empty while it does.
        since_ns: Wall time since which that is so.
    """

    accepted: int = 0
    refused: int = 0
    overtaken: int = 0
    trouble: str = ""
    since_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineParts:
    """What a line stands on.

    Attributes:
        journal: The durable log.
        store: Letters, and what is ahead of the cursor.
        gate: What charts may have.
        routes: Returns the routes of now.
        scribe: Writes messages about what came by other lanes; None where only messages leave.
        monotonic: Monotonic clock, nanoseconds.
    """

    journal: LineJournal
    store: Store
    gate: ChartGate | None
    routes: Callable[[], Sequence[Route]]
    scribe: Scribe | None = None
    monotonic: Callable[[], int] = field(default=time.monotonic_ns)
