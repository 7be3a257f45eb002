"""A hub's associations on a real database, with a clock that the test moves."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from asepsis.core.model.association import Association
from asepsis.core.model.patient import PatientId, Place
from asepsis.core.wire.hl7 import Message
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.registry.associations.adt import AdtFollower
from asepsis.hub.registry.associations.book import AssociationBook
from asepsis.hub.registry.associations.service import AssociationService
from asepsis.hub.store.store import Store

T = TypeVar("T")
SECOND_NS = 1_000_000_000
MONITOR = "urn:dev:mac:0000000000000001"
PUMP = "urn:dev:mac:0000000000000002"
ADA, BEN = PatientId("1", "MRN"), PatientId("2", "MRN")
BED_A, BED_B = Place("ICU", "1", "A"), Place("ICU", "1", "B")


def written(ns: int) -> str:
    """Return an HL7 time."""
    part = ns % SECOND_NS // 100_000
    return f"{datetime.fromtimestamp(ns // SECOND_NS, UTC):%Y%m%d%H%M%S}.{part:04d}+0000"


def adt(
    trigger: str,
    patient: PatientId,
    place: Place | None,
    *,
    entered_ns: int,
    happened_ns: int | None = None,
    merged: PatientId | None = None,
) -> bytes:
    """Return one ADT message."""
    where = "" if place is None else f"{place.point_of_care}^{place.room}^{place.bed}"
    happened = "" if happened_ns is None else written(happened_ns)
    segments = [
        rf"MSH|^~\&|HIS|H|HUB|H|{written(entered_ns)}||ADT^{trigger}|7|P|2.5.1",
        f"EVN|{trigger}|{written(entered_ns)}||||{happened}",
        f"PID|1||{patient.value}^^^{patient.authority}||NAME^{patient.value}||19700101",
        f"PV1|1|I|{where}",
    ]
    if merged is not None:
        segments.append(f"MRG|{merged.value}^^^{merged.authority}")
    return "\r".join(segments).encode() + b"\r"


@dataclass(slots=True)
class Ward:
    """One hub's associations."""

    store: Store
    clock: Any
    changed: list[str] = field(default_factory=list[str])
    book: AssociationBook = field(default_factory=AssociationBook)

    def __post_init__(self) -> None:
        self.restart()

    service: AssociationService = field(init=False)
    follower: AdtFollower = field(init=False)

    def restart(self) -> None:
        """Forget everything that is not in the database."""
        self.book = AssociationBook()
        self.service = AssociationService(
            self.store, audit=AuditLog(self.store.clock), book=self.book
        )
        self.service.on_changed(self.changed.append)
        # The lane is not read here: messages are handed over one by one.
        self.follower = AdtFollower(None, self.service)  # type: ignore[arg-type]
        self.run(self.service.load())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one use case; the book follows, as after each step of a follower."""

        async def whole() -> T:
            result = await work
            await self.service.refresh()
            return result

        return asyncio.run(whole())

    def say(self, body: bytes) -> None:
        """Take an ADT message now."""
        message = Message.parse(body)

        self.run(self.follower.apply(message, actor="adt:test", zone=UTC, arrived_ns=self.clock()))

    def admit(self, patient: PatientId, place: Place) -> None:
        """Take an A01 that says: now."""
        self.say(adt("A01", patient, place, entered_ns=self.clock()))

    def place(self, device: str, place: Place | None, *, fixed: bool) -> None:
        """Place a device."""
        self.run(self.service.place_device(device, place, fixed=fixed, actor="person:eng"))

    def held(self, device: str) -> list[Association]:
        """Return the confirmed intervals of a device."""
        return list(self.run(self.service.history(device=device)))


@pytest.fixture
def ward(store: Store, clock: Any) -> Ward:
    """Return a ward whose rule is that fixed monitors follow ADT, with a monitor and a pump."""
    ward = Ward(store, clock)
    ward.run(ward.service.set_ward_rule("ICU", follow_adt=True, actor="person:eng"))
    ward.place(MONITOR, BED_A, fixed=True)
    ward.place(PUMP, BED_A, fixed=False)
    clock.advance_s(10)
    return ward


@pytest.fixture
def other_hub(open_store: Callable[[], Store], clock: Any) -> Callable[[], Ward]:
    """Return a function that opens a second hub on the same database."""
    return lambda: Ward(open_store(), clock)
