"""The asyncio face: one wake-up per group, tails, nothing leaks when callers go away."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from asepsis.core.errors import InputError, NotFound, Unavailable
from asepsis.core.journal.aio import AsyncJournal
from asepsis.core.journal.ports import Outcome
from asepsis.core.model.lanes import Account, Lane

Make = Callable[..., Any]
RUNNERS = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.fixture(params=sorted(RUNNERS))
def run(request: pytest.FixtureRequest, make_journal: Make) -> Callable[..., None]:
    """Run a coroutine function with an open journal, on both loops."""

    def go(body: Callable[[AsyncJournal], Coroutine[Any, Any, None]], **limits: Any) -> None:
        async def main() -> None:
            journal = AsyncJournal(make_journal(**limits), asyncio.get_running_loop())
            await body(journal)
            await journal.close()

        RUNNERS[request.param](main())

    return go


def test_append_pull_commit(run: Any, make_record: Make) -> None:
    async def body(journal: AsyncJournal) -> None:
        await journal.register("charts", {Lane.VITALS: True})
        receipts = await asyncio.gather(*(journal.append(make_record(n)) for n in range(1, 50)))
        assert [receipt.position for receipt in receipts] == list(range(1, 50))
        assert (await journal.append(make_record(1))).outcome is Outcome.DUPLICATE
        held = await journal.pull("charts", Lane.VITALS, records_max=10)
        await journal.commit("charts", Lane.VITALS, held[-1].position)
        (next_one,) = await journal.pull("charts", Lane.VITALS, records_max=1)
        assert next_one.append.sequence == 11
        assert (await journal.status())[Lane.VITALS].undelivered == 39
        assert (await journal.account(Account.ORIGIN, "bed", 1)).highest == 49
        assert len(await journal.read(Lane.VITALS, after=40, records_max=100)) == 9
        assert (await journal.expire(2**62))[Lane.VITALS] == 10
        await journal.append(make_record(60))
        assert await journal.abandon(Account.ORIGIN, "bed", 1, through=60) == ((50, 59),)

    run(body)


def test_errors_reach_the_caller(run: Any, make_record: Make) -> None:
    async def body(journal: AsyncJournal) -> None:
        with pytest.raises(InputError):
            await journal.append(make_record(0))
        with pytest.raises(NotFound):
            await journal.commit("nobody", Lane.VITALS, 0)
        with pytest.raises(InputError):
            await journal.append(make_record(1, epoch=2)) and await journal.append(make_record(1))
        await journal.close()
        with pytest.raises(Unavailable):
            await journal.append(make_record(1))

    run(body)


def test_the_loop_wakes_once_per_group(run: Any, make_record: Make) -> None:
    """Goal: a thousand receipts of one group cost one wake-up of the loop."""

    async def body(journal: AsyncJournal) -> None:
        deliveries = 0
        deliver = journal._deliver  # noqa: SLF001

        def counted() -> None:
            nonlocal deliveries
            deliveries += 1
            deliver()

        journal._deliver = counted  # type: ignore[method-assign]  # noqa: SLF001
        await asyncio.gather(*(journal.append(make_record(n)) for n in range(1, 1001)))
        assert deliveries <= 2

    run(body, linger_s=0.5, group_records_max=1000)


def test_a_tail_sees_every_growth(run: Any, make_record: Make) -> None:
    async def body(journal: AsyncJournal) -> None:
        tail = journal.subscribe(Lane.VITALS)
        assert tail.position == 0
        seen: list[int] = []

        async def follow() -> None:
            position = 0
            while position < 30:
                await tail.beyond(position)
                page = await journal.read(Lane.VITALS, after=position, records_max=7)
                seen.extend(record.append.sequence for record in page)
                position = page[-1].position

        follower = asyncio.create_task(follow())
        gone = asyncio.create_task(tail.beyond(1000))
        await asyncio.sleep(0)
        gone.cancel()
        for n in range(1, 31):
            await journal.append(make_record(n))
        await asyncio.wait_for(follower, 20)
        assert seen == list(range(1, 31))

    run(body)


def test_a_sender_that_goes_away_leaves_its_record(run: Any, make_record: Make) -> None:
    async def body(journal: AsyncJournal) -> None:
        sender = asyncio.create_task(journal.append(make_record(1)))
        await asyncio.sleep(0)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        assert (await journal.append(make_record(1))).outcome is Outcome.DUPLICATE

    run(body, linger_s=0.05)


def test_a_closed_loop_does_not_hurt_the_writer(make_journal: Make, make_record: Make) -> None:
    """Goal: what was queued when the loop died is durable all the same."""
    journal = make_journal(linger_s=0.3)

    async def leave() -> None:
        face = AsyncJournal(journal, asyncio.get_running_loop())
        task = asyncio.create_task(face.append(make_record(1)))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    assert journal.submit(make_record(1)).result(20).outcome is Outcome.DUPLICATE
    journal.close()
