"""Questions in memory: order, window, deadline; and what a question may be."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from asepsis.core.errors import Conflict, InputError, NotFound, RateLimited
from asepsis.core.wire import relay
from asepsis.core.wire.relay import Asked, Kind
from asepsis.hub.imaging import relay_memory
from asepsis.hub.imaging.relay_memory import MemoryRelay, Sheet

NS = 1_000_000_000


class Clock:
    """Monotonic time that moves when the test says so."""

    def __init__(self) -> None:
        self.now_ns = 5 * NS

    def __call__(self) -> int:
        """Return nanoseconds."""
        return self.now_ns


def question(number: int, *, archive: str = "pacs", deadline_s: float = 60) -> Asked:
    return Asked(
        id=f"{number:032x}", kind=Kind.FIND_STUDY, archive=archive, device="urn:dev:mac:00",
        calling="CT1", dataset={}, deadline_s=deadline_s,
    )  # fmt: skip


def asked_of(channel: MemoryRelay, number: int, **more: Any) -> str:
    asked = question(number, **more)
    channel.ask("near", asked)
    assert channel.take(asked.archive) is asked
    return asked.id


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_pages_come_in_order_and_a_repeated_one_is_nothing_new() -> None:
    async def work() -> None:
        channel = MemoryRelay(Clock())
        key = asked_of(channel, 1)
        first, second = Sheet(relay.JSON, b"1"), Sheet(relay.BYTES, b"2", last=True)
        await channel.add("pacs", key, 1, first)
        await channel.add("pacs", key, 1, first)
        with pytest.raises(InputError):
            await channel.add("pacs", key, 3, second)
        await channel.add("pacs", key, 2, second)
        with pytest.raises(InputError):
            await channel.add("pacs", key, 3, second)
        assert await channel.fetch("near", key, after=0, wait_s=0) is first
        assert await channel.fetch("near", key, after=0, wait_s=0) is first
        assert await channel.fetch("near", key, after=1, wait_s=0) is second
        with pytest.raises(InputError):
            await channel.fetch("near", key, after=0, wait_s=0)

    run(work())


def test_an_answer_waits_for_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: what nobody fetches costs bounded memory, and goes on once it is fetched."""
    monkeypatch.setattr(relay_memory, "WINDOW_PAGES", 2)

    async def work() -> None:
        channel = MemoryRelay(Clock())
        key = asked_of(channel, 1)
        for number in (1, 2):
            await channel.add("pacs", key, number, Sheet(relay.BYTES, b"x"))
        third = asyncio.create_task(channel.add("pacs", key, 3, Sheet(relay.BYTES, b"y")))
        await asyncio.sleep(0.01)
        assert not third.done()
        await channel.fetch("near", key, after=1, wait_s=0)
        await asyncio.wait_for(third, 1)

    run(work())


def test_a_deadline_ends_a_question_on_both_sides() -> None:
    async def work() -> None:
        clock = Clock()
        channel = MemoryRelay(clock)
        key = asked_of(channel, 1, deadline_s=2)
        clock.now_ns += 3 * NS
        with pytest.raises(NotFound):
            await channel.add("pacs", key, 1, Sheet(relay.JSON, b""))
        with pytest.raises(NotFound):
            await channel.fetch("near", key, after=0, wait_s=0)

    run(work())


def test_nobody_reads_or_answers_another_gateways_question() -> None:
    async def work() -> None:
        channel = MemoryRelay(Clock())
        key = asked_of(channel, 1)
        for call in (
            lambda: channel.fetch("other", key, after=0, wait_s=0),
            lambda: channel.add("elsewhere", key, 1, Sheet(relay.JSON, b"")),
        ):
            with pytest.raises(NotFound):
                await call()
        with pytest.raises(NotFound):
            channel.end("other", key)
        with pytest.raises(Conflict):
            channel.ask("other", question(1))
        assert channel.take("pacs") is None

    run(work())


def test_one_gateway_cannot_take_every_place() -> None:
    channel = MemoryRelay(Clock())
    for number in range(relay_memory.OPEN_OF_ONE_MAX):
        channel.ask("near", question(number))
    with pytest.raises(RateLimited):
        channel.ask("near", question(99))
    channel.ask("other", question(99))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        relay.encode(question(1)).replace(b"find-study", b"find-all"),
        relay.encode(question(1)).replace(b"find-study", b"mpps-set"),
        relay.encode(question(1)).replace(b'"charset"', b'"path"'),
    ],
)
def test_what_is_no_question_is_refused(body: bytes) -> None:
    with pytest.raises(InputError):
        relay.decode_asked(body)


def test_the_first_value_of_an_element_is_found_whatever_it_is() -> None:
    found: dict[str, Any] = {
        "00100020": {"vr": "LO", "Value": ["4711"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "DOE^JANE"}]},
        "00200013": {"vr": "IS", "Value": [3]},
        "00080018": {"Value": []},
        "0020000D": "1.2",
        "0020000E": {"Value": [None]},
    }
    assert [relay.first_text(found, tag) for tag in (*found, "0")] == [
        "4711", "DOE^JANE", "3", "", "", "", "",
    ]  # fmt: skip
