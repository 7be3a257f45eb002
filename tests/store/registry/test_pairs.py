"""The lease of a pair of gateways at the hub: one holder, numbers that only grow, durable."""

import asyncio
from typing import Any

import pytest

from asepsis.core.errors import Conflict, InputError, NotPermitted
from asepsis.core.journal.ports import AccountState
from asepsis.core.model.lanes import Account
from asepsis.core.trust.identity import Profile
from asepsis.hub.audit import log
from asepsis.hub.registry.delegations.pair_service import (
    LeaseBody,
    PairService,
    Promotion,
    ReceivedBody,
)
from asepsis.hub.registry.delegations.pairs import LATE, LEASE_MS, PairBook
from asepsis.hub.registry.delegations.rows import Terms

NAME = "urn:dev:mac:0000000000000001"
ONE = "urn:uuid:00000000-0000-4000-8000-000000000001"
TWO = "urn:uuid:00000000-0000-4000-8000-000000000002"
THREE = "urn:uuid:00000000-0000-4000-8000-000000000003"


def acts(hospital: Any, action: str) -> list[tuple[str, str]]:
    with hospital.store.reading() as connection:
        return [
            (e.subject, e.outcome) for e in log.page(connection, after=-1) if e.action == action
        ]


class Accounts:
    """The journal's accounts, as the service asks for them."""

    async def account(self, account: Account, producer: str, epoch: int) -> AccountState:
        assert (account, producer) == (Account.MESSAGE, TWO)
        return AccountState(epoch, ((2, 3),))


class Bench:
    """A hub whose monotonic clock the test moves."""

    def __init__(self, hospital: Any) -> None:
        self.hospital = hospital
        self.now_ns = 10**12
        self.start()

    def start(self) -> None:
        self.book = PairBook(lambda: self.now_ns, paired=self.hospital.book.delegations.paired)
        self.service = PairService(
            self.hospital.store,
            audit=self.hospital.audit,
            registry=self.hospital.service,
            journal=Accounts(),
            book=self.book,
            heard=lambda _: None,
        )

    def wait(self, ms: int) -> None:
        self.now_ns += ms * 10**6

    async def ask(self, member: str, token: int = 0) -> tuple[int, bool]:
        partner = TWO if member == ONE else ONE
        grant = await self.service.ask(member, LeaseBody(partner, token))
        return grant.token, grant.granted


async def bench(hospital: Any, new_machine: Any) -> Bench:
    for name in (ONE, TWO, THREE):
        await hospital.enrol(new_machine(name), Profile.GATEWAY)
    await hospital.service.declare(ONE, [NAME], person="ana", days=60, terms=Terms(partner=TWO))
    return Bench(hospital)


def test_one_member_holds_the_lease_until_it_is_over(hospital: Any, new_machine: Any) -> None:
    async def scenario() -> None:
        hub = await bench(hospital, new_machine)
        assert await hub.ask(ONE) == (1, True)
        assert await hub.ask(TWO) == (1, False)
        hub.wait(LEASE_MS - 1)
        assert await hub.ask(ONE, 1) == (1, True), "renewed under its number"
        hub.wait(LEASE_MS - 1)
        assert await hub.ask(TWO) == (1, False)
        hub.wait(1)
        assert await hub.ask(TWO) == (2, True)
        assert await hub.ask(ONE, 1) == (2, False), "the old number is worth nothing"
        assert acts(hospital, "take-over-pair") == [(ONE, "done"), (TWO, "done")]

    asyncio.run(scenario())


def test_a_holder_that_lost_its_number_waits_like_everybody(
    hospital: Any, new_machine: Any
) -> None:
    async def scenario() -> None:
        hub = await bench(hospital, new_machine)
        assert await hub.ask(ONE) == (1, True)
        assert await hub.ask(ONE, 0) == (1, False)
        hub.wait(LEASE_MS)
        assert await hub.ask(ONE, 1) == (1, True), "nobody else has taken it"

    asyncio.run(scenario())


def test_after_a_restart_of_the_hub_nobody_gets_it_too_early(
    hospital: Any, new_machine: Any
) -> None:
    async def scenario() -> None:
        hub = await bench(hospital, new_machine)
        assert await hub.ask(ONE) == (1, True)
        hub.start()
        await hub.service.restore()
        assert await hub.ask(TWO) == (1, False)
        assert await hub.ask(ONE, 1) == (1, True)
        hub.start()
        await hub.service.restore()
        hub.wait(LEASE_MS)
        assert await hub.ask(TWO) == (2, True)
        with pytest.raises(Conflict):
            hub.book.check(ONE, "1")

    asyncio.run(scenario())


def test_data_under_an_old_number_is_refused(hospital: Any, new_machine: Any) -> None:
    async def scenario() -> None:
        hub = await bench(hospital, new_machine)
        assert not hub.book.check(ONE, ""), "no lease was ever given"
        await hub.ask(ONE)
        hub.wait(LEASE_MS)
        await hub.ask(TWO)
        assert not hub.book.check(TWO, "2")
        assert hub.book.check(ONE, LATE)
        assert not hub.book.check(THREE, "")
        for gateway, fence in ((ONE, "1"), (ONE, "2"), (TWO, "1"), (TWO, ""), (TWO, "3")):
            with pytest.raises(Conflict):
                hub.book.check(gateway, fence)
        for fence in ("-1", "x", "9" * 16):
            with pytest.raises(InputError):
                hub.book.check(TWO, fence)
        await hospital.service.withdraw(ONE, [NAME], person="ana")
        assert not hub.book.check(ONE, ""), "they are no pair any more"

    asyncio.run(scenario())


def test_who_is_no_pair_gets_nothing(hospital: Any, new_machine: Any) -> None:
    async def scenario() -> None:
        hub = await bench(hospital, new_machine)
        with pytest.raises(NotPermitted):
            await hub.service.ask(THREE, LeaseBody(ONE))
        with pytest.raises(NotPermitted):
            await hub.service.received(THREE, ReceivedBody(TWO, (7,)))
        found = await hub.service.received(ONE, ReceivedBody(TWO, (7,)))
        assert found == {7: (7, ((2, 3),))}

    asyncio.run(scenario())


def test_a_promotion_by_people_stands_in_the_log(hospital: Any, new_machine: Any) -> None:
    async def scenario() -> None:
        hub = await bench(hospital, new_machine)
        body = LeaseBody(TWO, 0, Promotion("ana", "ben", "fire in room 3", 1))
        assert (await hub.service.ask(ONE, body)).granted
        assert acts(hospital, "take-over-pair") == [(ONE, "done")]

    asyncio.run(scenario())
