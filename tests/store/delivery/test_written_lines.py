"""Lines of what the hub writes: several lanes with a cursor each, and alerts that are of now."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from asepsis.core.errors import ConfigError
from asepsis.core.journal.aio import AsyncJournal
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Record
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.mapping.route import routes_of
from asepsis.core.mapping.route_document import read_routes
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmNotice,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.association import Association
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.trust.sealing import throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.mllp_client import Answered, Verdict
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.delivery.line import Line
from asepsis.hub.delivery.line_values import LineParts
from asepsis.hub.delivery.model import Destination, Kind, Options
from asepsis.hub.delivery.scribe import LATE_NS, Numbers, Scribe
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.store.store import Store

DEVICE: Final = "urn:dev:mac:0000000000000001"
ROUTES: Final = """
[[routes]]
name = "values"
from = "observations"
to = ["chart"]
[[routes]]
name = "alarms"
from = "alerts"
to = ["manager"]
"""
BUDGET: Final = LaneBudget(bytes_max=1 << 22, age_s=3_600, record_bytes_max=1 << 20)


class Nobody:
    """No device is used for anybody."""

    def now(self, _device: str) -> Association | None:
        return None

    async def history(self, **_wanted: object) -> Sequence[Association]:
        return ()


def numbers(record: Record) -> Sequence[Numbers]:
    """Return one value that names its record."""
    value = int(record.append.body)
    one = Numeric(
        handle=1,
        mdc_code=147842,
        unit_code=264864,
        value=value,
        status=MeasurementStatus.VALID,
        offset_ms=0,
    )
    at_ns = record.append.received_at_ns
    return (Numbers(device=DEVICE, start_ns=at_ns, numerics=(one,)),)


def notices(record: Record) -> Sequence[AlarmNotice]:
    """Return one event of condition 1; its phase is the body of the record."""
    event = AlarmEvent(
        condition_id=bytes(15) + b"\1",
        phase=AlarmPhase(int(record.append.body)),
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=AlarmPriority.HIGH,
        latching=False,
        inactivation=Inactivation.NONE,
        mdc_code=196648,
        source_handle=0,
        offset_ms=0,
        text="",
    )
    at_ns = record.append.received_at_ns
    notice = AlarmNotice(
        device=DEVICE, assurance=None, device_time_ns=at_ns, received_at_ns=at_ns, event=event
    )
    return (notice,)


@dataclass
class Desk:
    """A journal, a store, and what writes."""

    journal: AsyncJournal
    store: Store
    now_ns: int = field(default_factory=time.time_ns)
    sequence: int = 0

    def service(self) -> DeliveryService:
        async def settled(_record: Record, _wait_s: float) -> bool:
            return True

        scribe = Scribe(
            settled=settled,
            present=Nobody(),
            histories=Nobody(),
            bundles=numbers,
            alarms=notices,
            active=lambda _device, _condition: False,
            clock=lambda: self.now_ns,
        )
        routes = routes_of(read_routes(ROUTES.encode(), read_table=lambda _: b""))
        parts = LineParts(
            journal=self.journal,
            store=self.store,
            gate=None,
            routes=lambda: routes,
            scribe=scribe,
        )
        return DeliveryService(
            parts, audit=AuditLog(self.store.clock), senders={}, rng=random.Random(1)
        )

    async def bring(self, lane: Lane, body: int) -> None:
        self.sequence += 1
        await self.journal.append(
            Append(
                lane=lane,
                account=Account.FHIR,
                producer=f"{DEVICE}{lane.value}",
                epoch=1,
                sequence=self.sequence,
                kind="fhir-bundle",
                body=str(body).encode(),
                received_at_ns=self.now_ns,
            )
        )


def destination(name: str, **options: Any) -> Destination:
    return Destination(
        name=name,
        kind=Kind.MLLP,
        address="ehr.example:2575",
        options=Options(**options),
        created_by="person:ana",
        created_ns=1,
    )


@asynccontextmanager
async def opened(folder: Path, store: Store) -> AsyncGenerator[Desk]:
    journal = SqliteJournal(
        folder / "journal",
        cipher=DayKeys(folder / "keys", kek=throw_away_kek(), aead=CryptographyAead()),
        lanes=dict.fromkeys(Lane, BUDGET),
        clock=time.time_ns,
        limits=JournalLimits(linger_s=0.0, reserve_bytes=0),
    )
    made = AsyncJournal(journal, asyncio.get_running_loop())
    yield Desk(made, store)
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


def values(line: Line) -> list[str]:
    found = line.take(0, items_max=100)
    return [Message.parse(body).get("OBX[2]-5") for _, body in found]


def accept(line: Line, count: int) -> None:
    for number, _ in line.take(0, items_max=count):
        assert line.settled(Verdict(number, Answered.ACCEPTED, "AA"))


def test_each_lane_has_a_cursor_and_what_was_accepted_does_not_come_again(
    store: Store, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(tmp_path, store) as desk:
            async with running(desk.service()) as service:
                await desk.bring(Lane.VITALS, 1)  # Before the entry.
                chart = destination("chart", carries="observations")
                await service.add(chart, actor="person:ana")
                line = service.line("chart")
                for lane, value in ((Lane.VITALS, 2), (Lane.LATE, 3), (Lane.ALERT, 4)):
                    await desk.bring(lane, value)
                    await until(lambda: line.waiting == desk.sequence - 1)
                assert values(line) == ["2", "3", "4"]
                accept(line, 2)
            again = desk.service()
            await again.open()
            async with running(again):
                line = again.line("chart")
                await until(lambda: line.waiting)
                await desk.bring(Lane.VITALS, 5)
                await until(lambda: line.waiting == 2)
                assert values(line) == ["4", "5"]
                accept(line, 2)
                await until(lambda: line.behind == 0)

    asyncio.run(story())


def test_an_alert_that_waited_and_is_over_is_left_out_and_its_end_is_told(
    store: Store, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(tmp_path, store) as desk, running(desk.service()) as service:
            await service.add(destination("manager", carries="alerts"), actor="person:ana")
            line = service.line("manager")
            for phase in (AlarmPhase.ONSET, AlarmPhase.END):
                await desk.bring(Lane.ALERT, phase.value)
            await until(lambda: line.waiting == 2)
            assert len(line.take(0, items_max=9)) == 2
            desk.now_ns += LATE_NS + 1  # Its receiver was away.
            ((_, body),) = line.take(0, items_max=9)
            assert Message.parse(body).get("OBX[3]-5") == "end"
            assert line.figures.overtaken == 1
            accept(line, 1)
            await until(lambda: line.behind == 0)

    asyncio.run(story())


def test_a_lane_of_live_data_waits_for_no_destination(store: Store, tmp_path: Path) -> None:
    """Goal: a receiver that is away for days cannot fill the lane that alerts come by."""

    async def story() -> None:
        async with opened(tmp_path, store) as desk, running(desk.service()) as service:
            await service.add(destination("manager", carries="alerts"), actor="person:ana")
            await desk.bring(Lane.ALERT, AlarmPhase.ONSET.value)
            await until(lambda: service.line("manager").waiting)
            assert (await desk.journal.status())[Lane.ALERT].undelivered == 0
            expired = await desk.journal.expire(time.time_ns() + 2 * 3_600 * 10**9)
            assert expired[Lane.ALERT] == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("kind", "carries"),
    [(Kind.GATEWAY, "alerts"), (Kind.FHIR, "associations"), (Kind.STOW, "observations")],
)
def test_what_a_kind_cannot_carry_is_refused(
    store: Store, tmp_path: Path, kind: Kind, carries: str
) -> None:
    gateway = "urn:uuid:00000000-0000-4000-8000-000000000001" if kind is Kind.GATEWAY else ""
    made = Destination(
        name="x",
        kind=kind,
        address="https://h/x",
        options=Options(carries=carries, gateway=gateway),  # type: ignore[arg-type]
        created_by="person:ana",
        created_ns=1,
    )

    async def story() -> None:
        async with opened(tmp_path, store) as desk:
            with pytest.raises(ConfigError, match="carries no"):
                await desk.service().add(made, actor="person:ana")

    asyncio.run(story())
