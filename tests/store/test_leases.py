"""Two hubs never act twice."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asepsis.core.errors import Conflict, SignatureInvalid, Unavailable
from asepsis.hub.store.leases import LEASE_NS, Lease, LeasedTask, acquire, check_held, release
from asepsis.hub.store.store import Store


def take(store: Store, holder: str) -> Lease | None:
    with store.unit_of_work() as connection:
        return acquire(connection, "job", holder=holder, now_ns=store.clock())


def held(store: Store, lease: Lease) -> None:
    with store.unit_of_work() as connection:
        check_held(connection, lease)


def test_one_of_many_hubs_gets_the_lease(store: Store, open_store: Callable[[], Store]) -> None:
    stores = [store, *(open_store() for _ in range(3))]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda i: take(stores[i], f"hub-{i}"), range(4)))
    assert sum(lease is not None for lease in found) == 1


def test_the_holder_keeps_its_token_and_others_wait(store: Store, clock: Any) -> None:
    first = take(store, "a")
    clock.advance_s(LEASE_NS / 1e9 - 1)
    kept = take(store, "a")
    assert first
    assert kept
    assert kept.token == first.token
    assert kept.expires_at_ns > first.expires_at_ns
    assert take(store, "b") is None


def test_a_hub_that_slept_through_its_lease_cannot_act(store: Store, clock: Any) -> None:
    first = take(store, "a")
    assert first
    clock.advance_s(LEASE_NS / 1e9)
    held(store, first)  # Nobody took it: acting is still safe.
    second = take(store, "b")
    assert second
    assert second.token == first.token + 1
    held(store, second)
    with pytest.raises(Conflict):
        held(store, first)


def test_a_returning_holder_gets_a_new_token(store: Store, clock: Any) -> None:
    first = take(store, "a")
    clock.advance_s(LEASE_NS / 1e9)
    again = take(store, "a")
    assert first
    assert again
    assert again.token == first.token + 1


def test_a_released_lease_is_free_at_once(store: Store) -> None:
    first = take(store, "a")
    assert first
    with store.unit_of_work() as connection:
        release(connection, first)
    second = take(store, "b")
    assert second
    with store.unit_of_work() as connection:
        release(connection, first)  # Too late: it is b's now.
    assert take(store, "c") is None


def test_two_hubs_do_each_step_once(
    store: Store, open_store: Callable[[], Store], clock: Any
) -> None:
    """Goal: the second hub takes over when the first dies, and only then."""
    done: list[str] = []

    def task(store: Store, holder: str) -> LeasedTask:
        async def work(lease: Lease) -> None:
            done.append(lease.holder)

        return LeasedTask(store, "job", holder=holder, work=work, every_s=1)

    async def scenario() -> None:
        first, second = task(store, "a"), task(open_store(), "b")
        for _ in range(3):
            await asyncio.gather(first.step(), second.step())
        assert set(done) in ({"a"}, {"b"})
        assert len(done) == 3
        clock.advance_s(LEASE_NS / 1e9)
        await (second if done[0] == "a" else first).step()

    asyncio.run(scenario())
    assert len(set(done)) == 2


def test_a_task_goes_on_after_errors_and_wakes_at_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[int] = []

    async def scenario() -> None:
        begun, reached = asyncio.Event(), asyncio.Event()

        async def work(lease: Lease) -> None:
            steps.append(lease.token)
            begun.set()
            if len(steps) == 1:
                raise Unavailable("the journal is busy")
            if len(steps) == 2:
                task.wake()
                raise SignatureInvalid("a row was changed")
            reached.set()

        task = LeasedTask(store, "job", holder="a", work=work, every_s=60)
        running = asyncio.create_task(task.run())
        await asyncio.wait_for(begun.wait(), 5)
        task.wake()
        await asyncio.wait_for(reached.wait(), 5)
        running.cancel()

    asyncio.run(scenario())
    assert len(steps) == 3
    assert "cannot go on: ASP-204" in caplog.text
