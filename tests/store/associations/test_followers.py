"""The followers on a real journal: messages in, clinical states in, restart in the middle."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from asepsis.core.journal.aio import AsyncJournal
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Link
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.association import Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.time import Instant
from asepsis.core.trust.sealing import KeyEncryptionKey, throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import (
    KIND_GROUP,
    MessageFindings,
    MessagePeer,
    encode_group,
)
from asepsis.core.wire.origin import BatchHeader, attach_signature, decode_batch, encode_batch
from asepsis.hub.registry.associations.adt import AdtFollower
from asepsis.hub.registry.associations.states import StateFollower

from .conftest import ADA, BED_A, BEN, MONITOR, SECOND_NS, Ward, adt

GATEWAY = "urn:uuid:00000000-0000-4000-8000-000000000001"
IN_USE, IDLE = ClinicalState.IN_USE, ClinicalState.IDLE


@dataclass
class Lanes:
    """A journal that a device and a gateway write to."""

    journal: AsyncJournal
    ward: Ward
    digest: bytes = bytes(32)

    async def message(self, sequence: int, body: bytes, kind: str = "hl7-v2") -> None:
        """Store a record of the message lane."""
        await self.journal.append(
            Append(
                lane=Lane.MESSAGE,
                account=Account.MESSAGE,
                producer=GATEWAY,
                epoch=1,
                sequence=sequence,
                kind=kind,
                body=body,
                received_at_ns=self.ward.clock(),
                link=Link.of(body),
            )
        )

    def signed(self, sequence: int, state: ClinicalState, *, epoch: int = 1) -> Append:
        """Sign the next batch of the monitor now; it is stored when it is sent."""
        now_ns = self.ward.clock()
        header = BatchHeader(
            device=DeviceId.parse(MONITOR),
            key_id=bytes(8),
            epoch=epoch,
            sequence=sequence,
            ring_first=1,
            ring_last=0,
            previous=bytes(32) if sequence == 1 else self.digest,
            clinical_state=state,
            instant=Instant(bytes(16), now_ns, now_ns, 1),
            interval_ms=1_000,
        )
        body = attach_signature(encode_batch(header), bytes(64))
        batch = decode_batch(body)
        self.digest = batch.digest
        return Append(
            lane=Lane.VITALS,
            account=Account.ORIGIN,
            producer=MONITOR,
            epoch=epoch,
            sequence=sequence,
            kind="origin-batch",
            body=body,
            received_at_ns=now_ns,
            link=Link(batch.digest, header.previous),
        )


class Folder:
    """Where the journal stands; open it, end the hub, open it again."""

    def __init__(self, folder: Path, ward: Ward) -> None:
        self.folder = folder
        self.ward = ward
        self.kek: KeyEncryptionKey = throw_away_kek()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Lanes]:
        budget = LaneBudget(bytes_max=1 << 24, age_s=3600, record_bytes_max=1 << 17)
        journal = AsyncJournal(
            SqliteJournal(
                self.folder / "journal",
                cipher=DayKeys(self.folder / "keys", kek=self.kek, aead=CryptographyAead()),
                lanes=dict.fromkeys(Lane, budget),
                clock=self.ward.clock,
                limits=JournalLimits(linger_s=0.0, reserve_bytes=0),
            ),
            asyncio.get_running_loop(),
        )
        try:
            yield Lanes(journal, self.ward)
        finally:
            await journal.close()


@pytest.fixture
def folder(tmp_path: Path, ward: Ward) -> Folder:
    return Folder(tmp_path, ward)


async def catch_up(follower: AdtFollower | StateFollower) -> None:
    while await follower.step():
        continue


def test_messages_are_applied_once_in_order_and_their_lag_is_seen(folder: Folder) -> None:
    ward = folder.ward

    async def work() -> None:
        async with folder.opened() as lanes:
            follower = AdtFollower(lanes.journal, ward.service, authorities=("MRN",))
            await follower.register()
            await lanes.message(1, adt("A01", ADA, BED_A, entered_ns=ward.clock()))
            await lanes.message(2, b"MSH|^~\\&|M||||20270115||ORU^R01|1|P|2.6\rPID|1||1^^^MRN\r")
            await lanes.message(3, adt("A60", ADA, BED_A, entered_ns=ward.clock()))
            await lanes.message(4, adt("A01", BEN, BED_A, entered_ns=ward.clock())[:60] + b"\r")
            other = adt("A01", BEN, BED_A, entered_ns=ward.clock()).replace(b"^^^MRN", b"^^^SSN")
            await lanes.message(5, other)
            await lanes.message(6, b"nothing that can be read, but ADT", kind="hl7-v3")
            await catch_up(follower)
            found = await follower.status()
            assert found == {
                "behind": 0, "arrive": 1, "not handled": 1, "refused": 2, "unreadable": 1,
            }  # fmt: skip
            # A hub that died before its cursor moved applies everything again.
            again = AdtFollower(lanes.journal, ward.service, authorities=("MRN",))
            for record in await lanes.journal.read(Lane.MESSAGE, after=0, records_max=10):
                await again.take(record)

    ward.run(work())
    (held,) = ward.held(MONITOR)
    assert held.patient == ADA
    assert held.end_ns is None


def test_times_without_offset_are_read_in_the_senders_zone(folder: Folder) -> None:
    ward = folder.ward
    body = adt("A01", ADA, BED_A, entered_ns=ward.clock() + 3_600 * SECOND_NS)

    async def work() -> None:
        async with folder.opened() as lanes:
            follower = AdtFollower(lanes.journal, ward.service)
            await follower.register()
            peer = MessagePeer("his", "Europe/Berlin")
            plain = body.replace(b".0000+0000", b"")
            group = encode_group([(MessageFindings(peer, 60, ward.clock()), plain)])
            await lanes.message(1, group, KIND_GROUP)
            await catch_up(follower)

    ward.run(work())
    (held,) = ward.held(MONITOR)
    assert held.start_ns == ward.clock() + SECOND_NS  # 15 January: one hour east of UTC.


def test_a_device_that_signs_idle_is_nobodys(folder: Folder) -> None:
    ward = folder.ward

    async def work() -> None:
        async with folder.opened() as lanes:
            follower = StateFollower(lanes.journal, ward.service)
            await follower.restore()
            for sequence, state in enumerate((IN_USE, IN_USE, IDLE), 1):
                await lanes.journal.append(lanes.signed(sequence, state))
                await catch_up(follower)
                if sequence == 1:
                    await ward.service.set_ward_rule("ICU", follow_adt=True, actor="person:eng")
                    message = adt("A01", ADA, BED_A, entered_ns=ward.clock())
                    await _say(ward, message)
                    assert ward.book.now(MONITOR) is not None
                ward.clock.advance_s(2)

    ward.run(work())
    assert ward.book.now(MONITOR) is None
    assert ward.held(MONITOR)[0].end_reason == "patient taken off the device"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("changed", [False, True])
def test_a_cut_link_goes_on_only_when_nothing_is_missing(
    folder: Folder, *, restart: bool, changed: bool
) -> None:
    """The link is cut; afterwards the present comes first and the backlog on the late lane."""
    ward = folder.ward

    async def before() -> list[Append]:
        async with folder.opened() as lanes:
            follower = StateFollower(lanes.journal, ward.service)
            await follower.restore()
            await lanes.journal.append(lanes.signed(1, IN_USE))
            await catch_up(follower)
            await _say(ward, adt("A01", ADA, BED_A, entered_ns=ward.clock()))
            backlog: list[Append] = []
            for sequence in range(2, 6):
                ward.clock.advance_s(60)
                state = IDLE if changed and sequence in (3, 4) else IN_USE
                backlog.append(lanes.signed(sequence, state))
            ward.clock.advance_s(60)
            backlog.append(lanes.signed(6, IN_USE))
            if not restart:
                await return_of_the_link(lanes, follower, backlog)
            return backlog

    async def after(backlog: list[Append]) -> None:
        async with folder.opened() as lanes:
            follower = StateFollower(lanes.journal, ward.service)
            await follower.restore()
            await return_of_the_link(lanes, follower, backlog)

    backlog = ward.run(before())
    if restart:
        ward.restart()
        ward.run(after(backlog))
    (held,) = ward.held(MONITOR)
    assert held.patient == ADA
    if changed:
        assert ward.book.now(MONITOR) is None
        assert held.end_ns == backlog[1].received_at_ns
    else:
        assert held.end_ns is None


@pytest.mark.parametrize("told_after", [4, 6], ids=["in the cut", "after it"])
def test_who_was_put_on_out_of_sight_is_confirmed_once_nothing_is_missing(
    folder: Folder, told_after: int
) -> None:
    """Goal: by the ward's rule, as if the monitor had been in sight; and it ends with its use."""
    ward = folder.ward
    ward.run(ward.service.set_ward_rule("ICU", follow_adt=True, actor="person:test"))

    async def work() -> None:
        async with folder.opened() as lanes:
            follower = StateFollower(lanes.journal, ward.service)
            await follower.restore()
            await lanes.journal.append(lanes.signed(1, IN_USE))
            await catch_up(follower)
            ward.clock.advance_s(1)
            await _say(ward, adt("A01", ADA, BED_A, entered_ns=ward.clock()))
            backlog: list[Append] = []
            for sequence, state in enumerate((IN_USE, IDLE, IDLE, IN_USE, IN_USE), 2):
                ward.clock.advance_s(60)
                backlog.append(lanes.signed(sequence, state))
                if sequence == 3:
                    await _say(ward, adt("A03", ADA, BED_A, entered_ns=ward.clock()))
                if sequence == 6:
                    await lanes.journal.append(_now(backlog.pop(), ward, Lane.VITALS))
                    await catch_up(follower)
                if sequence == told_after:
                    ward.clock.advance_s(1)
                    await _say(ward, adt("A01", BEN, BED_A, entered_ns=ward.clock()))
            assert ward.book.now(MONITOR) is None
            for record in backlog:
                await lanes.journal.append(_now(record, ward, Lane.LATE))
            await catch_up(follower)
            now = ward.book.now(MONITOR)
            assert now is not None
            assert (now.patient, now.basis) == (BEN, Basis.WARD_RULE)
            ward.clock.advance_s(60)
            await lanes.journal.append(lanes.signed(7, IDLE))
            await catch_up(follower)

    ward.run(work())
    assert ward.book.now(MONITOR) is None, "who is taken off has no device, whatever came late"


def test_what_a_restart_finds_given_up_is_for_a_person(folder: Folder) -> None:
    ward = folder.ward

    async def before() -> None:
        async with folder.opened() as lanes:
            follower = StateFollower(lanes.journal, ward.service)
            await follower.restore()
            await lanes.journal.append(lanes.signed(1, IN_USE))
            await catch_up(follower)
            await _say(ward, adt("A01", ADA, BED_A, entered_ns=ward.clock()))
            ward.clock.advance_s(60)
            assert lanes.signed(2, IN_USE).sequence == 2  # Signed, and never sent.
            await lanes.journal.append(lanes.signed(3, IN_USE))
            await catch_up(follower)
            await lanes.journal.abandon(Account.ORIGIN, MONITOR, 1, through=2)

    async def after() -> None:
        async with folder.opened() as lanes:
            follower = StateFollower(lanes.journal, ward.service)
            await follower.restore()
            found = await follower.status()
            assert found == {"behind": {"alert": 0, "vitals": 0, "late": 0}, "out_of_sight": 0}

    ward.run(before())
    ward.restart()
    ward.run(after())
    assert ward.book.now(MONITOR) is None


async def return_of_the_link(lanes: Lanes, follower: StateFollower, backlog: list[Append]) -> None:
    """Send the present first, then what waited."""
    ward = lanes.ward
    *late, present = backlog
    await lanes.journal.append(_now(present, ward, Lane.VITALS))
    await catch_up(follower)
    assert ward.book.now(MONITOR) is None
    for record in late:
        await lanes.journal.append(_now(record, ward, Lane.LATE))
    await catch_up(follower)


def _now(record: Append, ward: Ward, lane: Lane) -> Append:
    """Return a record as it is sent now, on a lane."""
    return replace(record, lane=lane, received_at_ns=ward.clock())


async def _say(ward: Ward, body: bytes) -> None:
    await ward.follower.apply(
        Message.parse(body), actor="adt:test", zone=None, arrived_ns=ward.clock()
    )
    await ward.service.refresh()
