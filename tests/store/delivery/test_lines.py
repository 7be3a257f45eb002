"""Lines, letters and their durable state, on both databases and a real journal."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from asepsis.core.compliance.gate import HeldBack
from asepsis.core.errors import Conflict, NotFound
from asepsis.core.journal.aio import AsyncJournal
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Record
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.mapping.route import Route, routes_of
from asepsis.core.mapping.route_document import read_routes
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.trust.sealing import throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.wire.message_record import (
    KIND_GROUP,
    MessageFindings,
    MessagePeer,
    encode_group,
)
from asepsis.core.wire.mllp_client import Answered, Verdict
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.delivery import letters
from asepsis.hub.delivery.letters import Search
from asepsis.hub.delivery.line import Line
from asepsis.hub.delivery.line_values import LineParts
from asepsis.hub.delivery.model import Destination, Kind, LetterState, Options
from asepsis.hub.delivery.people import DeadLetters
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.store.store import Store

ROUTE: Final = '[[routes]]\nname = "r"\nto = ["chart", "other"]\non_refused = "{}"\n'
PEER: Final = MessagePeer("monitor", "UTC")


def oru(number: int, patient: str = "1") -> bytes:
    return (
        f"MSH|^~\\&|M|I|||20261122100000||ORU^R01|{number}|P|2.6\rPID|||{patient}^^^H\rOBX|1\r"
    ).encode()


def routes(on_refused: str) -> tuple[Route, ...]:
    return routes_of(read_routes(ROUTE.format(on_refused).encode(), read_table=lambda _: b""))


class EveryThird:
    """A gate that holds back every third message of a group."""

    async def verdict(self, record: Record, *, index: int = 0) -> HeldBack | None:
        del record
        return HeldBack("patient: another one", "patient") if index % 3 == 2 else None


@dataclass
class Desk:
    """A journal, a store and the deliveries between them."""

    journal: AsyncJournal
    store: Store
    folder: Path
    on_refused: str = "step-over"
    sequence: int = 0

    def service(self) -> DeliveryService:
        parts = LineParts(
            journal=self.journal,
            store=self.store,
            gate=EveryThird(),
            routes=lambda: routes(self.on_refused),
        )
        return DeliveryService(
            parts, audit=AuditLog(self.store.clock), senders={}, rng=random.Random(1)
        )

    async def bring(self, *bodies: bytes) -> None:
        self.sequence += 1
        findings = MessageFindings(PEER, 0, 1)
        await self.journal.append(
            Append(
                lane=Lane.MESSAGE,
                account=Account.MESSAGE,
                producer="urn:uuid:00000000-0000-4000-8000-000000000001",
                epoch=1,
                sequence=self.sequence,
                kind=KIND_GROUP,
                body=encode_group([(findings, body) for body in bodies]),
                received_at_ns=1,
            )
        )


def destination(name: str = "other", **options: Any) -> Destination:
    return Destination(
        name=name,
        kind=Kind.MLLP,
        address="ehr.example:2575",
        options=Options(**options),
        created_by="person:ana",
        created_ns=1,
    )


@pytest.fixture
def play(store: Store, tmp_path: Path) -> Callable[..., None]:
    """Return a function that plays a story at a desk."""

    def run(story: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            async with opened(tmp_path) as journal:
                await story(Desk(journal, store, tmp_path))

        asyncio.run(whole())

    return run


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[AsyncJournal]:
    kek = throw_away_kek()
    budget = LaneBudget(bytes_max=1 << 22, age_s=3_600, record_bytes_max=1 << 20)
    journal = SqliteJournal(
        folder / "journal",
        cipher=DayKeys(folder / "keys", kek=kek, aead=CryptographyAead()),
        lanes=dict.fromkeys(Lane, budget),
        clock=time.time_ns,
        limits=JournalLimits(linger_s=0.0, reserve_bytes=0),
    )
    made = AsyncJournal(journal, asyncio.get_running_loop())
    yield made
    await made.close()


@asynccontextmanager
async def running(service: DeliveryService) -> AsyncGenerator[DeliveryService]:
    task = asyncio.create_task(service.run())
    yield service
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await service.close()


async def until(ready: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not ready():  # noqa: ASYNC110 - a test waits for another task
            await asyncio.sleep(0.01)


def ids(line: Line) -> list[bytes]:
    return [body.split(b"|", 10)[9] for _, body in line.take(0, items_max=100)]


def accept(line: Line, count: int) -> None:
    for number, _ in line.take(0, items_max=count):
        assert line.settled(Verdict(number, Answered.ACCEPTED, "AA"))


def test_what_was_accepted_before_a_restart_does_not_come_again(play: Callable[..., None]) -> None:
    async def story(desk: Desk) -> None:
        async with running(desk.service()) as service:
            await service.add(destination(), actor="person:ana")
            await desk.bring(*(oru(n) for n in range(1, 6)))
            line = service.line("other")
            await until(lambda: line.waiting == 5)
            accept(line, 2)
        again = desk.service()
        await again.open()
        async with running(again):
            line = again.line("other")
            await until(lambda: line.waiting == 3)
            assert ids(line) == [b"3", b"4", b"5"]
            accept(line, 3)
            await until(lambda: line.behind == 0)

    play(story)


def test_what_a_chart_may_not_have_is_held_and_a_person_releases_it(
    play: Callable[..., None],
) -> None:
    async def story(desk: Desk) -> None:
        desk.on_refused = "stop"  # What is held stops no line.
        async with running(desk.service()) as service:
            await service.add(destination("chart", chart=True), actor="person:ana")
            await service.add(destination(), actor="person:ana")
            people = DeadLetters(desk.store, service, AuditLog(desk.store.clock))
            await desk.bring(*(oru(n) for n in range(1, 4)))
            chart, other = service.line("chart"), service.line("other")
            await until(lambda: other.waiting == 3)
            await until(lambda: chart.figures.refused == 1)
            assert ids(chart) == [b"1"]
            accept(chart, 1)
            assert ids(chart) == [b"2"]
            accept(chart, 1)
            (letter,) = await people.search(Search(destination="chart"), actor="person:eva")
            assert letter.state is LetterState.HELD
            opened = await people.read(letter.id, actor="person:eva")
            assert opened.reason == "patient: another one"
            await people.replay(letter.id, actor="person:eva", reason="it is the same patient")
            await until(lambda: ids(chart) == [b"3"])
            accept(chart, 1)

            async def delivered() -> list[int]:
                found = await people.search(Search(state=LetterState.DELIVERED), actor="person:eva")
                return [one.id for one in found]

            async with asyncio.timeout(10):
                while await delivered() != [letter.id]:  # noqa: ASYNC110 - another task
                    await asyncio.sleep(0.02)

    play(story)


def test_letters_are_found_by_hash_and_decided_once(play: Callable[..., None]) -> None:
    async def story(desk: Desk) -> None:
        async with running(desk.service()) as service:
            await service.add(destination(), actor="person:ana")
            people = DeadLetters(desk.store, service, AuditLog(desk.store.clock))
            await desk.bring(oru(1, "4711"), oru(2, "4712"))
            line = service.line("other")
            await until(lambda: line.waiting == 2)
            for number, _ in line.take(0, items_max=2):
                assert line.settled(Verdict(number, Answered.REJECTED, "AR", "no such patient"))
            await until(lambda: line.figures.refused == 2)
            await until(lambda: line.behind == 0)
            find = people.search
            (found,) = await find(Search(patient="4711"), actor="person:eva")
            assert (found.message_type, found.code) == ("ORU^R01", "AR")
            (second,) = await find(Search(control_id="2"), actor="person:eva")
            assert not await find(Search(patient="4711", control_id="2"), actor="person:eva")
            await people.discard(found.id, actor="person:eva", reason="a test patient")
            with pytest.raises(Conflict):
                await people.replay(found.id, actor="person:eva", reason="again")
            with pytest.raises(NotFound):
                await people.redirect(second.id, "nowhere", actor="person:eva", reason="x")
            await service.remove("other", actor="person:ana")
            with pytest.raises(NotFound):
                await people.replay(second.id, actor="person:eva", reason="it is gone")
            assert await service.accepted("1.2.3") is False

    play(story)


def test_an_error_is_tried_again_as_often_as_the_destination_says(
    play: Callable[..., None],
) -> None:
    async def story(desk: Desk) -> None:
        async with running(desk.service()) as service:
            await service.add(destination(tries=3), actor="person:ana")
            await desk.bring(oru(1))
            line = service.line("other")
            await until(lambda: line.waiting == 1)
            ((number, _),) = line.take(0, items_max=9)
            answer = Verdict(number, Answered.ERROR, "AE", "table locked")
            assert [line.settled(answer) for _ in range(3)] == [False, False, True]
            await until(lambda: line.figures.refused == 1)

    play(story)


def test_a_receiver_that_refuses_everything_fills_no_state(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "LETTERS_MAX", 1)

    async def story(desk: Desk) -> None:
        async with running(desk.service()) as service:
            await service.add(destination(), actor="person:ana")
            await desk.bring(oru(1), oru(2))
            line = service.line("other")
            await until(lambda: line.waiting == 2)
            for number, _ in line.take(0, items_max=2):
                line.settled(Verdict(number, Answered.REJECTED, "AR"))
            await until(lambda: "ASP-401" in line.figures.trouble)
            assert (line.waiting, line.figures.refused) == (1, 1)
            people = DeadLetters(desk.store, service, AuditLog(desk.store.clock))
            (letter,) = await people.search(Search(), actor="person:eva")
            await people.discard(letter.id, actor="person:eva", reason="a test")
            await until(lambda: line.figures.refused == 2)

    play(story)
