"""The story of `asepsis demo`: a hub, ten beds, a subscriber, a revocation, a crash.

Everything but the patients is real: processes, TLS, certificates, journal. What was lost or came
twice is a difference between the ledgers of separate processes, never a counter of the hub.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust.requests import Expectation, Limits
from asepsis.hub.keys import AdminClient
from asepsis.tools.people import PeopleClient
from asepsis.tools.simulator import hospital, ledger
from asepsis.tools.simulator.orders import Order
from asepsis.tools.simulator.processes import Actor, HubProcess

BEDS: Final = 10
START_S: Final = 60.0
EVENT_S: Final = 20.0
OUTAGE_S: Final = 3.0
DRAIN_S: Final = 60.0
EUI64_FIRST: Final = 0x0012_2100_0000_0001
LEASE_MS: Final = 2_000

Tell = Callable[[str, str], None]
"""Told the headline and one sentence of each step."""


@dataclass(slots=True)
class Summary:
    """What happened, for people and for scripts.

    Attributes:
        beds: Scripted devices.
        made: Records that devices produced.
        acknowledged: Different records that the hub acknowledged.
        received: Different records that the subscriber pulled.
        late: Of the acknowledged ones, those that came on the late lane.
        lost: Acknowledged and never received.
        duplicated: Received more than once.
        foreign: Received and never made.
        alarm_ms: Alarm condition to durable acknowledgement, milliseconds.
        revoked_ms: Revocation to refusal seen at the device, milliseconds; None if not seen.
        outage_s: Seconds from the hub's crash to its readiness.
        keys_separated: Whether the signer runs as a user of its own.
        simulated: What in this story is not real.
    """

    beds: int = BEDS
    made: int = 0
    acknowledged: int = 0
    received: int = 0
    late: int = 0
    lost: int = 0
    duplicated: int = 0
    foreign: int = 0
    alarm_ms: float | None = None
    revoked_ms: float | None = None
    outage_s: float | None = None
    keys_separated: bool = False
    simulated: str = "the patients' values; vitals, origin and network of a bed share one process"
    failures: list[str] = field(default_factory=list[str])


class Story:
    """Plays once.

    Args:
        folder: Empty folder for everything; the caller removes it.
        seconds: How long the ward runs once everybody is enrolled.
        tell: Told each step.
        drop: Records that the subscriber leaves out of its ledger on purpose.
    """

    def __init__(self, folder: Path, *, seconds: int, tell: Tell, drop: int = 0) -> None:
        self._folder = folder
        self._seconds = seconds
        self._tell = tell
        self._drop = drop
        self._beds: list[Actor] = []
        self._summary = Summary()

    def play(self) -> Summary:
        """Play the story and compare the ledgers.

        Raises:
            AsepsisError: A part did not start; its log is in the folder.
        """
        with ExitStack() as stack:
            subscriber_name = f"urn:uuid:{uuid.uuid4()}"
            made = hospital.prepare(self._folder / "hub", subscriber=subscriber_name)
            hub = HubProcess(made.data, ready=made.ready, log=self._folder / "hub.log")
            stack.callback(hub.stop)
            ready = hub.start(timeout_s=START_S)
            ports = {name: where["port"] for name, where in ready["listeners"].items()}
            hospital.keep_ports(made, ports)
            people = PeopleClient(
                f"https://{made.host}:{ports['people']}",
                root_path=made.root,
                token_path=made.token_file,
            )
            stack.callback(people.close)
            self._introduce(made)
            orders = asyncio.run(self._list_everybody(made, ports, subscriber_name))
            subscriber = self._start_subscriber(orders.pop(), stack)
            self._start_beds(orders, stack)
            self._run(hub, people, orders)
            self._finish(subscriber, orders)
        return self._summary

    def _introduce(self, made: hospital.Prepared) -> None:
        self._summary.keys_separated = made.separation.separated
        self._tell("The hub runs", made.separation.describe())

    async def _list_everybody(
        self, made: hospital.Prepared, ports: dict[str, int], subscriber: str
    ) -> list[Order]:
        admin = AdminClient(made.admin_socket)
        orders: list[Order] = []
        names = [DeviceId.from_eui64(EUI64_FIRST + n).uri for n in range(BEDS)]
        try:
            await admin.set_limits(Limits(new_per_minute=100))
            for number, name in enumerate([*names, subscriber]):
                device = name != subscriber
                token = await admin.expect(
                    Expectation(
                        id="",
                        name=name,
                        profile="device" if device else "consumer",
                        model="scripted monitor" if device else "ledger keeper",
                        origin_required=device,
                        lease_ms=LEASE_MS,
                    )
                )
                orders.append(
                    Order(
                        name=name,
                        token=token.token,
                        host=made.host,
                        clinical_port=ports["clinical"],
                        enrolment_port=ports["enrolment"],
                        folder=str(self._folder / f"actor-{number}"),
                        ledger=str(self._folder / f"ledger-{number}.txt"),
                        passphrase_file=str(made.passphrase_file),
                        seed=number,
                        drop=0 if device else self._drop,
                    )
                )
        finally:
            await admin.close()
        self._tell(
            "A person lists them",
            f"{BEDS} devices and one subscriber may enrol within 24 hours, each with its own token",
        )
        return orders

    def _actor(self, kind: str, order: Order, stack: ExitStack) -> Actor:
        path = Path(f"{order.folder}.json")
        order.save(path)
        module = f"asepsis.tools.simulator.{kind}_process"
        actor = Actor(order.name, module, [str(path)], log=Path(f"{order.folder}.log"))
        stack.callback(actor.close)
        return actor

    def _start_subscriber(self, order: Order, stack: ExitStack) -> Actor:
        actor = self._actor("subscriber", order, stack)
        actor.wait_for("enrolled", timeout_s=START_S)
        return actor

    def _start_beds(self, orders: list[Order], stack: ExitStack) -> None:
        started_s = time.monotonic()
        self._beds = [self._actor("bed", order, stack) for order in orders]
        for bed in self._beds:
            bed.wait_for("enrolled", timeout_s=START_S)
        self._tell(
            "Ten devices enrol",
            f"each made its keys itself and has a certificate for 90 days "
            f"({time.monotonic() - started_s:.1f} s)",
        )

    def _run(self, hub: HubProcess, people: PeopleClient, orders: list[Order]) -> None:
        quarter_s = self._seconds / 4
        time.sleep(quarter_s)
        self._alarm(self._beds[0])
        time.sleep(quarter_s / 2)
        self._revoke(people, orders[-1].name, self._beds[-1])
        time.sleep(quarter_s / 2)
        self._crash(hub)
        time.sleep(quarter_s)
        self._beds[0].command("end")
        time.sleep(quarter_s)

    def _alarm(self, bed: Actor) -> None:
        bed.command("onset")
        try:
            found = bed.wait_for("alarm-acknowledged", timeout_s=EVENT_S)
        except AsepsisError as error:
            self._summary.failures.append(f"alarm: {error}")
            return
        self._summary.alarm_ms = round(float(found["ms"]), 1)
        self._tell(
            "An alarm condition",
            f"signed, sent on its own connection, durable at the hub after "
            f"{self._summary.alarm_ms} ms; the device's own alarm signal waited for none of it",
        )

    def _revoke(self, people: PeopleClient, name: str, bed: Actor) -> None:
        started_s = time.monotonic()
        try:
            people.revoke(name, reason="demonstration", confirm=True)
            bed.wait_for("refused", timeout_s=EVENT_S)
        except AsepsisError as error:
            self._summary.failures.append(f"revocation: {error}")
            return
        self._summary.revoked_ms = round((time.monotonic() - started_s) * 1e3, 1)
        self._tell(
            "A device is revoked",
            f"{name} is refused after {self._summary.revoked_ms:.0f} ms; it goes on monitoring",
        )

    def _crash(self, hub: HubProcess) -> None:
        started_s = time.monotonic()
        hub.kill()
        self._tell("The hub is killed", "without warning (SIGKILL); the devices spool")
        time.sleep(OUTAGE_S)
        try:
            hub.start(timeout_s=START_S)
        except AsepsisError as error:
            self._summary.failures.append(f"restart: {error}")
            return
        self._summary.outage_s = round(time.monotonic() - started_s, 1)
        self._tell(
            "The hub is back",
            f"after {self._summary.outage_s} s; live data comes first, what was missed comes late",
        )

    def _finish(self, subscriber: Actor, orders: list[Order]) -> None:
        for bed in self._beds:
            bed.command("stop")
        for bed in self._beds:
            if bed.stop(timeout_s=DRAIN_S) != 0:
                self._summary.failures.append(f"{bed.name} ended badly; see its log")
        if subscriber.stop(timeout_s=DRAIN_S) != 0:
            self._summary.failures.append("the subscriber ended badly; see its log")
        senders = [Path(order.ledger) for order in orders]
        receiver = self._folder / f"ledger-{BEDS}.txt"
        found = ledger.compare(senders, [receiver])
        summary = self._summary
        summary.made = found.made
        summary.acknowledged = found.acknowledged
        summary.received = found.received
        summary.late = len(ledger.read(senders, ledger.ACKED_LATE))
        summary.lost = len(found.lost)
        summary.duplicated = found.duplicated
        summary.foreign = found.foreign
        self._tell(
            "The ledgers are compared",
            f"{found.acknowledged} acknowledged, {found.received} received, "
            f"{summary.lost} lost, {summary.duplicated} twice, {summary.late} of them late",
        )
