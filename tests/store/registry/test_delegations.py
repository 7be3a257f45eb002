"""Delegations in the store: terms, evidence that changes, sources, and warnings before the end."""

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from asepsis.core.errors import InputError, NotFound
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.identity import Profile
from asepsis.hub.access.principal import Principal
from asepsis.hub.adapters import BookDirectory
from asepsis.hub.audit import log
from asepsis.hub.registry.book import CLINICAL
from asepsis.hub.registry.delegations.lines import Network, SourceKind
from asepsis.hub.registry.delegations.rows import Terms
from asepsis.hub.registry.delegations.service import DelegationService, Seen
from asepsis.hub.registry.rules import Evidence
from asepsis.hub.store.tables import outbox

NAME = "urn:dev:mac:0000000000000001"
OTHER = "urn:dev:mac:0000000000000002"
ONE = "urn:uuid:00000000-0000-4000-8000-000000000001"
TWO = "urn:uuid:00000000-0000-4000-8000-000000000002"
THERE = Network(address="10.0.0.0/24", port=2575)
TERMS = Terms(
    evidence=Evidence.OBSERVED,
    partner=TWO,
    interface="mllp ward",
    message_types=("ORU^R01",),
    network=THERE,
)


def admitted(hospital: Any, peer: Any) -> Principal:
    return hospital.book.admit(peer, CLINICAL, hospital.store.clock())


def alarms(hospital: Any) -> list[dict[str, Any]]:
    with hospital.store.reading() as connection:
        rows = connection.execute(select(outbox.c.body).order_by(outbox.c.id)).scalars().all()
    events = [msgspec.json.decode(row) for row in rows]
    return [e["data"] | {"subject": e["subject"]} for e in events if e["topic"].startswith("alarm")]


def acts(hospital: Any, action: str) -> list[tuple[str, str]]:
    with hospital.store.reading() as connection:
        return [
            (e.subject, e.outcome) for e in log.page(connection, after=-1) if e.action == action
        ]


async def pair(hospital: Any, new_machine: Any) -> tuple[Any, Any, DelegationService]:
    one = await hospital.enrol(new_machine(ONE), Profile.GATEWAY)
    two = await hospital.enrol(new_machine(TWO), Profile.GATEWAY)
    service = DelegationService(hospital.store, audit=hospital.audit, registry=hospital.service)
    await hospital.service.declare(ONE, [NAME], person="ana", days=60, terms=TERMS)
    return one, two, service


def test_evidence_that_changes_drops_assurance_until_a_person_looks(
    hospital: Any, new_machine: Any
) -> None:
    async def scenario() -> None:
        one, two, service = await pair(hospital, new_machine)
        book = hospital.book.delegations
        assert admitted(hospital, one).declared == admitted(hospital, two).declared == {NAME}
        assert not book.observed(ONE, NAME)
        good = Seen(NAME, Network(address="10.0.0.7", port=2575))
        assert await service.take_evidence(ONE, [good]) == []
        assert book.observed(ONE, NAME)
        assert book.observed(TWO, NAME)
        moved = Seen(NAME, Network(address="10.9.0.7", port=2575))
        assert await service.take_evidence(TWO, [moved]) == [NAME]
        assert await service.take_evidence(TWO, [moved]) == [NAME]
        assert not book.observed(ONE, NAME)
        assert admitted(hospital, one).declared == {NAME}, "its data goes on, as a claim"
        assert await service.take_evidence(ONE, [good]) == []
        assert not book.observed(ONE, NAME), "only a person mends it"
        (line,), _ = await service.listing()
        assert line.changed_at_ns > 0
        (told,) = alarms(hospital)
        assert told["code"] == "device-evidence-changed"
        assert (told["subject"], told["gateway"], told["differs"]) == (NAME, TWO, ["address"])
        await hospital.service.declare(ONE, [NAME], person="ana", days=60, terms=TERMS)
        await service.take_evidence(ONE, [good])
        assert book.observed(ONE, NAME)
        assert await service.take_evidence(ONE, [Seen(OTHER, THERE)]) == []
        assert acts(hospital, "report-evidence")[-1] == (OTHER, "ASP-206")

    asyncio.run(scenario())


def test_the_shortest_declared_period_is_the_devices(hospital: Any, new_machine: Any) -> None:
    """Goal: until a person declares one it is unknown, and a declaration can change it."""

    async def scenario() -> None:
        await pair(hospital, new_machine)
        directory = BookDirectory(hospital.book)
        assert directory.device(NAME).period_s == 0
        for gateway, period_s in ((ONE, 60), (TWO, 120), (TWO, 30)):
            terms = Terms(period_s=period_s)
            await hospital.service.declare(gateway, [NAME], person="ana", days=60, terms=terms)
            wanted = min(60, period_s)
            assert directory.device(NAME).period_s == wanted

    asyncio.run(scenario())


def test_a_device_with_its_own_certificate_is_spoken_for_by_nobody(
    hospital: Any, new_machine: Any, clock: Any
) -> None:
    async def scenario() -> None:
        one, _, _ = await pair(hospital, new_machine)
        assert admitted(hospital, one).declared == {NAME}
        device = await hospital.enrol(new_machine(NAME))
        assert admitted(hospital, one).declared == frozenset()
        assert admitted(hospital, device).kind is PrincipalKind.DEVICE
        assert hospital.book.speaks_itself(NAME, clock())
        clock.advance_s((device.not_after_ns - clock()) // 10**9 + 1)
        assert not hospital.book.speaks_itself(NAME, clock())
        await hospital.service.declare(ONE, [NAME], person="ana", days=60, terms=TERMS)
        assert hospital.book.delegations.current(ONE, clock())[0] == {NAME}
        await hospital.service.load()
        assert hospital.book.delegations.line(TWO, NAME).interface == "mllp ward"

    asyncio.run(scenario())


def test_sources_are_named_warned_of_and_end(hospital: Any, new_machine: Any, clock: Any) -> None:
    async def scenario() -> None:
        _, _, service = await pair(hospital, new_machine)
        await service.name_source(ONE, SourceKind.ADT, person="ana", days=40, partner=TWO)
        await service.name_source(ONE, SourceKind.MERGE, person="ana", days=400)
        hospital.book.delegations.check_message(TWO, "ADT^A01", now_ns=clock())
        assert await service.warn() == 0
        clock.advance_s(31 * 86_400)
        assert await service.warn() == 2, "the delegation of 60 days and the source of 40"
        assert await service.warn() == 0
        told = alarms(hospital)
        assert [(t["code"], t["subject"], t["days"]) for t in told] == [
            ("delegation-expires", ONE, 29),
            ("delegation-expires", ONE, 9),
        ]
        await service.withdraw_source(ONE, SourceKind.ADT, person="ana")
        with pytest.raises(NotFound):
            await service.withdraw_source(ONE, SourceKind.ADT, person="ana")
        for holder, days, error in ((NAME, 1, NotFound), (ONE, 0, InputError)):
            with pytest.raises(error):
                await service.name_source(holder, SourceKind.ADT, person="ana", days=days)
        await hospital.enrol(new_machine(NAME))
        with pytest.raises(InputError):
            await service.name_source(NAME, SourceKind.ADT, person="ana")
        assert len(acts(hospital, "name-source")) == 2

    asyncio.run(scenario())


def test_what_was_listed_with_a_gateway_counts_from_its_enrolment(
    hospital: Any, new_machine: Any, clock: Any
) -> None:
    async def scenario() -> None:
        await hospital.enrol(new_machine(ONE), Profile.GATEWAY, sources=("adt",))
        hospital.book.delegations.check_message(ONE, "ADT^A08", now_ns=clock())

    asyncio.run(scenario())
