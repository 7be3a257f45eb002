"""Enrol, renew, revoke: what is stored, what is announced, who may enter afterwards."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, text

from asepsis.core.errors import (
    Conflict,
    IdentityExpired,
    IdentityInvalid,
    IdentityRevoked,
    InputError,
    IssuanceRefused,
    NotAuthenticated,
    NotFound,
    Unavailable,
)
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.identity import PeerCertificate, Profile, peer_from_der
from asepsis.core.trust.requests import ReleaseRequest, RenewalProof, RevokeRequest, TokenProof
from asepsis.hub.audit import log
from asepsis.hub.registry.book import CLINICAL, ENROLMENT
from asepsis.hub.registry.delegations.rows import Terms
from asepsis.hub.registry.rules import DAY_NS, Evidence
from asepsis.hub.registry.tables import certificates
from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.outbox import EventReader, pending

_BYTES = (bytes, memoryview)

NAME = "urn:dev:mac:0000000000000001"
OTHER = "urn:dev:mac:0000000000000002"
GATEWAY = "urn:uuid:00000000-0000-4000-8000-000000000001"


def admitted(hospital: Any, peer: PeerCertificate, listener: str = CLINICAL) -> Any:
    return hospital.book.admit(peer, listener, hospital.store.clock())


def events(hospital: Any) -> list[tuple[str, str]]:
    with hospital.store.reading() as connection:
        found = [EventReader().read(b) for _, b in pending(connection, events_max=99)]
    return [(event.topic, event.subject) for event in found]


def acts(hospital: Any) -> list[tuple[str, str, str]]:
    with hospital.store.reading() as connection:
        assert log.check(connection) == log.size(connection)
        return [(e.action, e.subject, e.outcome) for e in log.page(connection, after=-1)]


async def renewed(hospital: Any, machine: Any, der: bytes) -> bytes:
    return await hospital.issue_der(machine, RenewalProof(current_cert_der=der))


def test_enrolment_opens_the_clinical_listener(hospital: Any, new_machine: Any) -> None:
    peer = asyncio.run(hospital.enrol(new_machine()))
    principal = admitted(hospital, peer)
    assert (principal.kind, principal.name) == (PrincipalKind.DEVICE, NAME)
    assert events(hospital) == [("device.enrolled", NAME)]
    assert acts(hospital) == [("enrol", NAME, "done")]
    entry = hospital.book.device(NAME)
    assert (entry.model, entry.lease_ms, entry.renewal_window_days) == ("M1", 2_000, 730)


def test_a_hub_that_starts_again_knows_everybody(
    hospital: Any, new_machine: Any, second_hub: Callable[[], Any]
) -> None:
    async def scenario() -> None:
        peer = await hospital.enrol(new_machine(), declared=())
        gone = await hospital.enrol(new_machine(OTHER))
        await hospital.service.revoke(OTHER, person="ana", reason="stolen")
        again = second_hub()
        await again.service.load()
        assert admitted(again, peer).name == NAME
        for listener in (CLINICAL, ENROLMENT):
            with pytest.raises(IdentityRevoked):
                admitted(again, gone, listener)

    asyncio.run(scenario())


def test_a_lost_answer_is_given_again(hospital: Any, new_machine: Any) -> None:
    """Goal: the hub dies between the signer's answer and its own commit; nobody is stranded."""
    machine = new_machine()

    async def scenario() -> None:
        proof = hospital.expect()
        write = hospital.store.write

        async def die(_work: object) -> None:
            raise Unavailable("the database went away")

        hospital.store.write = die
        with pytest.raises(Unavailable):
            await hospital.issue_der(machine, proof)
        hospital.store.write = write
        first = await hospital.issue_der(machine, proof)
        assert await hospital.issue_der(machine, proof) == first
        assert acts(hospital) == [("enrol", NAME, "done")]

    asyncio.run(scenario())


def test_a_renewal_keeps_the_key_and_both_certificates_work(
    hospital: Any, new_machine: Any, clock: Any
) -> None:
    machine = new_machine()

    async def scenario() -> None:
        der = await hospital.issue_der(machine, hospital.expect())
        clock.advance_s(61 * 86_400)
        newer = await renewed(hospital, machine, der)
        assert newer != der
        for each in (der, newer):
            hospital.book.admit(_peer(each), CLINICAL, clock())
        stranger = new_machine()
        with pytest.raises(IssuanceRefused):
            await renewed(hospital, stranger, newer)
        assert events(hospital) == [("device.enrolled", NAME), ("device.renewed", NAME)]

    asyncio.run(scenario())


def test_two_certificates_in_use_after_the_overlap_raise_one_alarm(
    hospital: Any, new_machine: Any, clock: Any
) -> None:
    """Goal: a stolen key that was renewed shows, because the original goes on too."""
    machine = new_machine()

    async def scenario() -> None:
        der = await hospital.issue_der(machine, hospital.expect())
        thief = await renewed_later(hospital, machine, der, clock)
        for seconds in (0, 3_600 * 23):
            clock.advance_s(seconds)
            admitted(hospital, _peer(der))
            admitted(hospital, _peer(thief))
        await hospital.service.step()
        assert ("alarm.technical", NAME) not in events(hospital)
        clock.advance_s(3_601)
        for _ in range(3):
            admitted(hospital, _peer(der))
            admitted(hospital, _peer(thief))
            await hospital.service.step()
        assert events(hospital).count(("alarm.technical", NAME)) == 1
        assert ("raise-alarm", NAME, "done") in acts(hospital)

    asyncio.run(scenario())


def test_a_stolen_key_dies_with_the_identity(hospital: Any, new_machine: Any, clock: Any) -> None:
    """Goal: steal the key, renew, revoke the original: the thief's certificate is refused."""
    machine = new_machine()

    async def scenario() -> None:
        der = await hospital.issue_der(machine, hospital.expect())
        thief = await renewed_later(hospital, machine, der, clock)
        assert await hospital.service.revoke(NAME, person="ana", reason="stolen") == 2
        assert hospital.closed == [NAME]
        for each in (der, thief):
            for listener in (CLINICAL, ENROLMENT):
                with pytest.raises(IdentityRevoked):
                    admitted(hospital, _peer(each), listener)
        with pytest.raises(IdentityRevoked):
            await renewed(hospital, machine, thief)
        await hospital.service.step()
        with pytest.raises(IdentityRevoked):
            await renewed(hospital, machine, thief)
        with pytest.raises(IdentityRevoked):
            hospital.book.device(NAME)

    asyncio.run(scenario())


def test_a_revoked_identity_returns_only_by_a_person_and_old_serials_never(
    hospital: Any, new_machine: Any
) -> None:
    machine = new_machine()

    async def scenario() -> None:
        old = await hospital.enrol(machine)
        await hospital.service.revoke(NAME, person="ana", reason="lost")
        await hospital.service.step()
        with pytest.raises(IdentityRevoked):
            hospital.expect()
        hospital.signer.admin(ReleaseRequest(name=NAME))
        new = await hospital.enrol(new_machine())
        assert admitted(hospital, new).name == NAME
        for listener in (CLINICAL, ENROLMENT):
            with pytest.raises(IdentityRevoked):
                admitted(hospital, old, listener)

    asyncio.run(scenario())


def test_a_signer_that_is_away_is_told_later_and_issues_nothing_meanwhile(
    hospital: Any, new_machine: Any
) -> None:
    """Goal: the revocation holds at once; a token listed before does not undo it."""
    machine = new_machine()

    async def scenario() -> None:
        await hospital.enrol(machine)
        again = hospital.expect()
        hospital.signer.down = True
        assert await hospital.service.revoke(NAME, person="ana", reason="lost") == 2
        with pytest.raises(Unavailable):
            await hospital.service.step()
        hospital.signer.down = False
        with pytest.raises(IdentityRevoked):
            await hospital.issue_der(new_machine(), again)
        await hospital.service.step()
        with pytest.raises(IdentityRevoked):
            await hospital.issue_der(new_machine(), again)

    asyncio.run(scenario())


def test_a_signer_that_does_not_know_a_revoked_name_is_told_when_it_does(
    hospital: Any, new_machine: Any, signer_made_anew: Any
) -> None:
    """Goal: keys were lost and made anew; a revoked device does not slip in by a new token."""
    anew = signer_made_anew

    async def scenario() -> None:
        await hospital.enrol(new_machine())
        await anew.service.load()
        await anew.service.revoke(NAME, person="ana", reason="lost")
        await anew.service.step()
        with pytest.raises(IdentityRevoked):
            await anew.enrol(new_machine())
        await anew.service.step()
        with pytest.raises(IdentityRevoked):
            anew.expect()
        anew.signer.admin(ReleaseRequest(name=NAME))
        assert admitted(anew, await anew.enrol(new_machine())).name == NAME

    asyncio.run(scenario())


def test_what_was_read_before_a_revocation_does_not_undo_it(
    hospital: Any, new_machine: Any, clock: Any
) -> None:
    """Goal: a renewal that is finishing while its device is revoked lets nobody in again."""
    machine = new_machine()

    async def scenario() -> None:
        der = await hospital.issue_der(machine, hospital.expect())
        clock.advance_s(61 * 86_400)
        read, begun = hospital.store.read, asyncio.Event()

        async def slow(work: Any) -> Any:
            hospital.store.read = read
            found = await read(work)
            begun.set()
            await asyncio.sleep(0.3)
            return found

        hospital.store.read = slow
        renewal = asyncio.create_task(renewed(hospital, machine, der))
        await begun.wait()
        await hospital.service.revoke(NAME, person="ana", reason="lost")
        newer = await renewal
        for each in (der, newer):
            with pytest.raises(IdentityRevoked):
                admitted(hospital, _peer(each))

    asyncio.run(scenario())


def test_a_registry_that_fails_goes_on_and_says_so(
    hospital: Any, new_machine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: neither a busy nor a broken database ends admission of who is known."""

    async def scenario() -> None:
        peer = await hospital.enrol(new_machine())
        failures: list[Exception] = [Unavailable("busy"), Conflict("broken")]
        read = hospital.store.read

        async def fail(work: Any) -> Any:
            if failures:
                raise failures.pop()
            return await read(work)

        hospital.store.read = fail
        running = asyncio.create_task(hospital.service.run())
        async with asyncio.timeout(5):
            while failures:  # noqa: ASYNC110 - counts what happened inside
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        assert not running.done()
        assert admitted(hospital, peer).name == NAME
        running.cancel()

    asyncio.run(scenario())
    assert "cannot go on: ASP-106 broken" in caplog.text


def test_other_hubs_follow_a_revocation(
    hospital: Any, new_machine: Any, second_hub: Callable[[], Any]
) -> None:
    async def scenario() -> None:
        other = second_hub()
        await other.service.load()
        running = asyncio.create_task(other.service.run())
        peer = await hospital.enrol(new_machine())
        await asyncio.sleep(0.6)
        assert admitted(other, peer).name == NAME
        await hospital.service.revoke(NAME, person="ana", reason="lost")
        async with asyncio.timeout(1):
            while not other.closed:  # noqa: ASYNC110 - the second within which it must happen
                await asyncio.sleep(0.01)
        with pytest.raises(IdentityRevoked):
            admitted(other, peer)
        running.cancel()

    asyncio.run(scenario())


def test_listing_again_with_a_new_key_ends_the_old_one(hospital: Any, new_machine: Any) -> None:
    async def scenario() -> None:
        old = await hospital.enrol(new_machine())
        new = await hospital.enrol(new_machine())
        assert admitted(hospital, new).name == NAME
        for listener in (CLINICAL, ENROLMENT):
            with pytest.raises(IdentityRevoked):
                admitted(hospital, old, listener)

    asyncio.run(scenario())


def test_expired_is_not_revoked(hospital: Any, new_machine: Any, clock: Any) -> None:
    machine = new_machine()

    async def scenario() -> None:
        der = await hospital.issue_der(machine, hospital.expect())
        clock.advance_s(14 * 30 * 86_400)
        with pytest.raises(IdentityExpired):
            admitted(hospital, _peer(der))
        assert admitted(hospital, _peer(der), ENROLMENT).renewal_only
        fresh = await renewed(hospital, machine, der)
        assert admitted(hospital, _peer(fresh)).name == NAME

    asyncio.run(scenario())


def test_an_unrecorded_certificate_renews_and_no_more(hospital: Any, new_machine: Any) -> None:
    """Goal: after a restore of an older database a ward heals itself, and a thief gains nothing."""
    machine = new_machine()

    async def scenario() -> None:
        der = await hospital.issue_der(machine, hospital.expect())
        with hospital.store.unit_of_work() as connection:
            connection.execute(text("DELETE FROM certificates"))
            connection.execute(text("DELETE FROM devices"))
        await hospital.service.load()
        with pytest.raises(IdentityInvalid):
            admitted(hospital, _peer(der))
        assert admitted(hospital, _peer(der), ENROLMENT).renewal_only
        fresh = await renewed(hospital, machine, der)
        assert admitted(hospital, _peer(fresh)).name == NAME

    asyncio.run(scenario())


def test_the_origin_key_comes_with_the_token_and_stays(hospital: Any, new_machine: Any) -> None:
    machine = new_machine()

    async def scenario() -> None:
        proof = hospital.expect()
        with pytest.raises(Conflict):
            await hospital.issue_der(machine, proof, Profile.ORIGIN)
        der = await hospital.issue_der(machine, proof)
        await hospital.issue_der(machine, proof, Profile.ORIGIN)
        entry = hospital.book.device(NAME)
        assert entry.origin_spki
        assert entry.origin_key_id
        assert hospital.book.origin_key(NAME, entry.origin_key_id) == entry.origin_spki
        with pytest.raises(NotFound):
            hospital.book.origin_key(NAME, bytes(8))
        machine.origin = new_machine().origin
        with pytest.raises(IssuanceRefused):
            await hospital.issue_der(machine, RenewalProof(current_cert_der=der), Profile.ORIGIN)
        assert hospital.book.device(NAME) == entry

    asyncio.run(scenario())


def test_refusals_are_logged_and_a_flood_is_counted(hospital: Any, new_machine: Any) -> None:
    async def scenario() -> None:
        bad = TokenProof(id="00" * 8, secret="x")
        for _ in range(70):
            with pytest.raises(NotAuthenticated):
                await hospital.issue_der(new_machine(), bad)
        assert acts(hospital) == [("enrol", "", "ASP-208")] * 60
        hospital.store.clock.advance_s(60)
        with pytest.raises(NotAuthenticated):
            await hospital.issue_der(new_machine(), bad)
        with hospital.store.reading() as connection:
            last = log.page(connection, after=-1)[-1]
        assert msgspec.json.decode(last.detail)["unwritten"] == 10

    asyncio.run(scenario())


def test_revoking_asks_first(hospital: Any, new_machine: Any) -> None:
    async def scenario() -> None:
        await hospital.enrol(new_machine())
        preview = await hospital.service.preview_revocation(NAME)
        assert (preview.device.name, preview.connections) == (NAME, 0)
        assert preview.device.revoked_at_ns is None
        with pytest.raises(InputError):
            await hospital.service.revoke(NAME, person="ana", reason="")
        with pytest.raises(NotFound):
            await hospital.service.revoke(OTHER, person="ana", reason="lost")
        await hospital.service.revoke(NAME, person="ana", reason="lost")
        with pytest.raises(Conflict):
            await hospital.service.revoke(NAME, person="ana", reason="lost")
        assert (await hospital.service.device(NAME)).revoked_at_ns
        assert (await hospital.service.device(NAME)).expires_at_ns == 0

    asyncio.run(scenario())


def test_a_gateway_speaks_for_its_declared_list_until_it_ends(
    hospital: Any, new_machine: Any, clock: Any
) -> None:
    machine = new_machine(GATEWAY)

    async def scenario() -> None:
        peer = await hospital.enrol(machine, Profile.GATEWAY, declared=(NAME,))
        assert admitted(hospital, peer).declared == {NAME}
        await hospital.service.declare(GATEWAY, [OTHER], person="ana", days=1)
        assert not hospital.book.delegations.observed(GATEWAY, OTHER)
        observed = Terms(evidence=Evidence.OBSERVED)
        await hospital.service.declare(GATEWAY, [OTHER], person="ana", days=1, terms=observed)
        assert hospital.book.delegations.observed(GATEWAY, OTHER)
        assert admitted(hospital, peer).declared == {NAME, OTHER}
        clock.advance_s(86_401)
        assert admitted(hospital, peer).declared == {NAME}
        await hospital.service.withdraw(GATEWAY, [NAME], person="ana")
        assert admitted(hospital, peer).declared == frozenset()
        with pytest.raises(NotFound):
            await hospital.service.withdraw(GATEWAY, [NAME], person="ana")
        assert [a for a, _, _ in acts(hospital)] == [
            "enrol",
            "declare-source",
            "declare-source",
            "withdraw-source",
        ]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("holder", "named", "days", "error"),
    [
        (OTHER, [NAME], 1, NotFound),
        (NAME, [OTHER], 1, InputError),
        (NAME, ["x"], 1, InputError),
        (NAME, [OTHER], 0, InputError),
        (NAME, [OTHER] * 1_001, 1, InputError),
    ],
)
def test_declarations_that_are_refused(
    hospital: Any, new_machine: Any, holder: str, named: list[str], days: int, error: Any
) -> None:
    async def scenario() -> None:
        await hospital.enrol(new_machine())
        with pytest.raises(error):
            await hospital.service.declare(holder, named, person="ana", days=days)

    asyncio.run(scenario())


def test_what_a_person_writes_is_sealed_everywhere(hospital: Any, new_machine: Any) -> None:
    """Goal: a reason may name a patient; no table shows it."""

    async def scenario() -> None:
        await hospital.enrol(new_machine())
        await hospital.service.revoke(NAME, person="ana", reason="CANARY^JANE was on it")
        await hospital.service.step()
        asked = [each for each in hospital.signer.asked if isinstance(each, RevokeRequest)]
        assert [each.name for each in asked] == [NAME]
        with hospital.store.reading() as connection:
            for table in METADATA.tables:
                rows = connection.execute(select(text("*")).select_from(text(table))).all()
                stored = b"".join(bytes(v) for r in rows for v in r if isinstance(v, _BYTES))
                assert b"CANARY" not in stored + repr(rows).encode(), table

    asyncio.run(scenario())


def test_the_list_of_devices_goes_by_pages(hospital: Any, new_machine: Any) -> None:
    async def scenario() -> None:
        for name in (OTHER, NAME):
            await hospital.enrol(new_machine(name))
        first = await hospital.service.devices(limit=1)
        rest = await hospital.service.devices(after=first[0].name)
        assert [d.name for d in first + rest] == [NAME, OTHER]
        assert rest[0].expires_at_ns > hospital.store.clock() + 80 * DAY_NS
        with hospital.store.reading() as connection:
            assert len(connection.execute(select(certificates)).all()) == 2

    asyncio.run(scenario())


async def renewed_later(hospital: Any, machine: Any, der: bytes, clock: Any) -> bytes:
    clock.advance_s(61 * 86_400)
    return await renewed(hospital, machine, der)


def _peer(der: bytes) -> PeerCertificate:
    return peer_from_der(der)
