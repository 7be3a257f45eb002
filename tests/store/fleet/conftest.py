"""Campaigns on a real state, with releases and a director that stand in for the signer's."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from asepsis.core.errors import NotFound, NotPermitted, Unavailable
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.model.update import Outcome, TestResult, UpdateReport
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.fleet.campaigns import rows
from asepsis.hub.fleet.campaigns.engine import Engine
from asepsis.hub.fleet.campaigns.fleet import FleetService
from asepsis.hub.fleet.campaigns.intake import ReportIntake
from asepsis.hub.fleet.campaigns.model import Member, Order, Standing
from asepsis.hub.fleet.campaigns.planning import Planning
from asepsis.hub.fleet.campaigns.service import CampaignService
from asepsis.hub.fleet.campaigns.work import DeviceWork
from asepsis.hub.fleet.ports import Fit, Refused, ReleaseFacts
from asepsis.hub.store.store import Store

NEW, OLD = "ab" * 32, "0d" * 32
DOCUMENT = f"""
name = "net-41"
release = "{NEW}"
change = "CHG-2026-114"
calendars = ["always"]
[[waves]]
kind = "bench"
devices = ["urn:dev:mac:0000000000000000"]
[[waves]]
kind = "site"
gate = {{ failed_max = 0 }}
[[budgets]]
at_once_max = 2
"""
WAY = (Outcome.OFFERED, Outcome.DOWNLOADED, Outcome.STAGED, Outcome.INSTALLING, Outcome.BOOTED,
       Outcome.SELF_TESTED, Outcome.VERIFIED)  # fmt: skip


def name_of(number: int) -> str:
    return DeviceId.from_eui64(number).uri


def facts(sha256: str = NEW, *, counter: int = 41, floor: int = 40) -> ReleaseFacts:
    return ReleaseFacts(
        sha256=sha256, vendor="acme", path="v/n", length=1, model="V8", models=("V8",),
        component="network", version=str(counter), counter=counter, floor=floor,
        reboot="component", authorisation=NEW, not_before_ns=0, expires_ns=1 << 62, document=NEW,
        out_of_cycle=False, clinical_states=(), acceptance=False, run_s=600, rollback_s=300,
    )  # fmt: skip


@dataclass
class Shelf:
    """Releases by hash; what is missing was withdrawn."""

    known: dict[str, ReleaseFacts] = field(
        default_factory=lambda: {NEW: facts(), OLD: facts(OLD, counter=40)}
    )
    unlisted: set[str] = field(default_factory=set)

    async def eligible(self, *, model: str | None = None) -> Sequence[ReleaseFacts]:
        return [one for one in self.known.values() if model in (None, *one.models)]

    async def release(self, sha256: str) -> ReleaseFacts:
        if sha256 not in self.known:
            raise (NotPermitted if sha256 in (NEW, OLD) else NotFound)("withdrawn")
        return self.known[sha256]

    async def fit(self, devices: Sequence[str]) -> Mapping[str, Fit]:
        return {
            d: Fit(device=d, model="V8", hardware="v8-1") for d in devices if d not in self.unlisted
        }


@dataclass
class Desk:
    """The director: keeps what is assigned, and every call, to find an act that was done twice."""

    has: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    down: bool = False

    async def assign(self, sha256: str, devices: Sequence[str]) -> Mapping[str, Refused]:
        self._up()
        for device in devices:
            if device not in self.refuses:
                self.calls.append(("assign", device))
                self.has[device] = sha256
        return {d: Refused(code="ASP-207", why="revoked") for d in devices if d in self.refuses}

    async def clear(self, devices: Sequence[str], *, component: str | None = None) -> None:
        self._up()
        assert component == "network"
        for device in devices:
            self.calls.append(("clear", device))
            self.has.pop(device, None)

    async def assigned(self, device: str) -> Sequence[str]:
        return [self.has[device]] if device in self.has else []

    def _up(self) -> None:
        if self.down:
            raise Unavailable("the signer does not answer")


class House:
    """One hub's part of the fleet."""

    document = DOCUMENT
    new, old = NEW, OLD
    way = WAY
    name_of = staticmethod(name_of)

    def __init__(self, store: Store, shelf: Shelf, desk: Desk, holder: str = "hub-a") -> None:
        audit = AuditLog(store.clock)
        self.store, self.shelf, self.desk = store, shelf, desk
        self.engine = Engine(store, releases=shelf, director=desk, audit=audit, holder=holder)
        more: Any = {"audit": audit, "releases": shelf}
        self.fleet = FleetService(store, **more)
        self.service = CampaignService(store, **more)
        self.work = DeviceWork(store, **more)
        self.planning = Planning(store, **more)
        self.intake = ReportIntake(store, audit=audit)
        self.sequence = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def members(self, count: int, **more: Any) -> list[Member]:
        now_ns = self.store.clock()
        values = {"ward": "ICU-2", "device_class": "ventilator", "idle": True, "seen_ns": now_ns}
        found = [Member(device=name_of(n), **(values | more)) for n in range(count)]
        self.run(self.fleet.list_members(found, person="olga"))
        return found

    def began(self, count: int = 4, document: str = DOCUMENT) -> None:
        """List devices, create the campaign and start it."""
        self.members(count)
        self.run(self.service.create(document, person="olga"))
        self.order("start")

    def order(self, order: str, reason: str = "because") -> Any:
        return self.run(self.service.order("net-41", Order(order), person="olga", reason=reason))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.run(self.engine.task.step())

    def says(self, number: int, *outcomes: Outcome, good: bool = True, release: str = NEW) -> None:
        """Let a device report, with self-tests where it says that it is verified."""
        for outcome in outcomes:
            self.sequence += 1
            value = 1.0 if good else 2.0
            test = TestResult(name="signal", measured=value, low=0.9, high=1.1, unit="mV")
            self.run(self.intake.take(UpdateReport(
                device=DeviceId(name_of(number)), epoch=1, sequence=self.sequence,
                at=Instant(bytes(16), 0, 0, 0), release=release, component="network", counter=41,
                outcome=outcome, tests=(test,) if outcome is Outcome.VERIFIED else (),
            )))  # fmt: skip

    def stands(self, campaign: str = "net-41") -> dict[int, Standing]:
        """Return how the campaign stands with each device, by number."""
        lines = self.run(self.planning.plan(campaign))
        return {int(line.target.device[-4:], 16): line.target.standing for line in lines}

    def slots(self) -> set[int]:
        return {n for n, one in self.stands().items() if one is Standing.ASSIGNED}

    @property
    def state(self) -> str:
        with self.store.reading() as connection:
            return rows.campaign(connection, "net-41").state.value

    def wave(self) -> int:
        with self.store.reading() as connection:
            return rows.campaign(connection, "net-41").wave


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def house(store: Store, shelf: Shelf, desk: Desk) -> House:
    return House(store, shelf, desk)


@pytest.fixture
def second(open_store: Callable[[], Store], shelf: Shelf, desk: Desk, house: House) -> House:
    """Return another hub on the same database, with the same signer."""
    assert house.store.engine.url  # It made the schema first.
    return House(open_store(), shelf, desk, holder="hub-b")
