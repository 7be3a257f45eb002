"""Questions that are kept: durable, in order, offered anew, answered once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from asepsis.core.errors import Conflict, NotFound
from asepsis.core.wire import relay
from asepsis.core.wire.relay import Asked, Kind, Page
from asepsis.hub.imaging.relay_durable import AGAIN_NS, GIVE_UP_NS, KEEP_NS, LEASE_NS, DurableRelay
from asepsis.hub.store.store import Store

NS = 1_000_000_000
RESULT = TypeVar("RESULT")


class Clock:
    """Wall time that moves when the test says so."""

    def __init__(self) -> None:
        self.now_ns = 1_800_000_000 * NS

    def __call__(self) -> int:
        """Return nanoseconds since 1970."""
        return self.now_ns


def step(number: int, instance: str = "1.2.3", kind: Kind = Kind.MPPS_CREATE) -> Asked:
    return Asked(
        id=f"{number:032x}", kind=kind, archive="ris", device="urn:dev:mac:00", calling="CT1",
        instance=instance, dataset={"00100020": {"vr": "LO", "Value": [f"P{number}"]}},
    )  # fmt: skip


def kept(store: Store, wall: Clock, work: Callable[[DurableRelay], Awaitable[RESULT]]) -> RESULT:
    """Run work as a hub that starts on what an earlier one kept."""

    async def whole() -> RESULT:
        channel = DurableRelay(store, wall)
        await channel.restore()
        return await work(channel)

    return asyncio.run(whole())


def test_a_question_survives_the_hub_and_its_answer_too(store: Store) -> None:
    wall = Clock()

    async def ask(channel: DurableRelay) -> None:
        await channel.ask("near", step(1))
        await channel.ask("near", step(1))
        with pytest.raises(Conflict):
            await channel.ask("other", step(1))

    async def answer(channel: DurableRelay) -> None:
        assert channel.waiting() == {"ris": 1}
        assert await channel.take("ris") == step(1)
        with pytest.raises(NotFound):
            await channel.answer("pacs", step(1).id, Page(last=True, status=0))
        await channel.answer("ris", step(1).id, Page(last=True, status=0x0110))
        await channel.answer("ris", step(1).id, Page(last=True, status=0))

    async def fetch(channel: DurableRelay) -> bytes | None:
        assert channel.waiting() == {}
        assert await channel.take("ris") is None
        with pytest.raises(NotFound):
            await channel.fetch("other", step(1).id, wait_s=0)
        return await channel.fetch("near", step(1).id, wait_s=0)

    kept(store, wall, ask)
    kept(store, wall, answer)
    body = kept(store, wall, fetch)
    assert body is not None
    assert relay.decode_page(body).status == 0x0110


def test_steps_of_one_procedure_never_overtake_each_other(store: Store) -> None:
    """Goal: N-SET waits for its N-CREATE; another procedure does not."""
    wall = Clock()

    async def work(channel: DurableRelay) -> None:
        for asked in (step(1), step(2, kind=Kind.MPPS_SET), step(3, "9.9")):
            await channel.ask("near", asked)
        assert await channel.take("ris") == step(1)
        assert await channel.take("ris") == step(3, "9.9")
        assert await channel.take("ris") is None
        await channel.answer("ris", step(1).id, Page(last=True, retry=True))
        wall.now_ns += AGAIN_NS
        assert await channel.take("ris") == step(1)
        await channel.answer("ris", step(1).id, Page(last=True, status=0))
        assert await channel.take("ris") == step(2, kind=Kind.MPPS_SET)
        wall.now_ns += LEASE_NS
        assert await channel.take("ris") == step(2, kind=Kind.MPPS_SET)

    kept(store, wall, work)


def test_what_nobody_answers_is_given_up_and_what_was_answered_is_forgotten(store: Store) -> None:
    wall = Clock()

    async def work(channel: DurableRelay) -> None:
        await channel.ask("near", step(1))
        wall.now_ns += GIVE_UP_NS + 1
        assert await channel.clear() == ["ris"]
        body = await channel.fetch("near", step(1).id, wait_s=0)
        assert body is not None
        assert relay.decode_page(body).status == relay.NOT_ANSWERED
        wall.now_ns += KEEP_NS + 1
        assert await channel.clear() == []
        assert not channel.knows(step(1).id)

    kept(store, wall, work)


def test_what_is_kept_names_nobody_in_the_dump(store: Store) -> None:
    kept(store, Clock(), lambda channel: channel.ask("near", step(1)))
    with store.reading() as connection:
        raw = connection.exec_driver_sql("SELECT asked FROM relay_questions").scalar_one()
    assert b"P1" not in bytes(raw)
