"""The stage of the demonstration: starts everybody and holds them together until the end.

Everything but the patients is real: processes, TLS, certificates, sandbox, journal, gateway.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.core.trust import tls
from asepsis.core.trust.requests import Expectation, Limits
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.hub.keys import AdminClient
from asepsis.tools.people import PeopleClient
from asepsis.tools.simulator import (
    admissions,
    cast,
    gateway,
    hospital,
    live_view,
    mllp_process,
)
from asepsis.tools.simulator.admissions import Admissions
from asepsis.tools.simulator.joining import join
from asepsis.tools.simulator.live_view import LiveView
from asepsis.tools.simulator.orders import Order
from asepsis.tools.simulator.processes import Actor, GatewayProcess, HubProcess
from asepsis.tools.simulator.summary import Summary

START_S: Final = 60.0
LEASE_MS: Final = 2_000
LISTED_PER_MINUTE: Final = 100

Tell = Callable[[str, str], None]
"""Told the headline and one sentence of each step."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the hub listens.

    Attributes:
        clinical: For machines.
        enrolment: For machines without a certificate.
        people: For people.
    """

    clinical: int
    enrolment: int
    people: int


class Stage:
    """Everybody who plays.

    Args:
        folder: Empty folder for everything; the caller removes it.
        tell: Told each step.
        drop: Records that the subscriber leaves out of its ledger on purpose.

    Resource handling: `open` starts processes; `close` ends them all.
    """

    def __init__(self, folder: Path, *, tell: Tell, drop: int = 0) -> None:
        self.folder = folder
        self.tell = tell
        self.summary = Summary()
        self.devices: dict[str, Actor] = {}
        self.books: list[Path] = []
        self.watched = [player.name for player in cast.NEW]
        self._drop = drop
        self._stack = ExitStack()
        self._rng = Random()  # noqa: S311 - jitter

    def open(self) -> None:
        """Start the hub, the ward's network and the gateway; enrol everybody.

        Raises:
            AsepsisError: A part did not start; its log is in the folder.
        """
        self._open_hub()
        self._open_network()
        orders = asyncio.run(self._list_everybody())
        self.tell(
            "A person lists them",
            f"{len(cast.NEW)} devices, a gateway that may speak for {len(cast.LEGACY)} old ones, "
            "a subscriber and a live view may enrol within 24 hours, each with its own token",
        )
        self.subscriber = self._actor("subscriber_process", "subscriber", orders["subscriber"])
        for player in cast.NEW:
            order = orders[player.key]
            self.devices[player.key] = self._actor("device_process", player.key, order)
            self.books.append(Path(order.ledger))
        self._open_view(orders["view"])
        self._open_gateway(orders["gateway"])
        for actor in (self.subscriber, *(self.devices[player.key] for player in cast.NEW)):
            actor.wait_for("enrolled", timeout_s=START_S)

    def close(self) -> None:
        """End everybody; may be called again."""
        self._stack.close()

    def fail(self, act: str, error: AsepsisError) -> None:
        """Note that an act went otherwise than told."""
        self.summary.failures.append(f"{act}: {error} {error.hint}".strip())

    def _open_hub(self) -> None:
        self.made = hospital.prepare(self.folder / "hub", subscriber=f"urn:uuid:{uuid.uuid4()}")
        self.hub = HubProcess(self.made.data, ready=self.made.ready, log=self.folder / "hub.log")
        self._stack.callback(self.hub.stop)
        ready = self.hub.start(timeout_s=START_S)
        ports = {name: int(where["port"]) for name, where in ready["listeners"].items()}
        hospital.keep_ports(self.made, ports)
        self.ports = Ports(**ports)
        self.people = PeopleClient(
            f"https://{self.made.host}:{self.ports.people}",
            root_path=self.made.root,
            token_path=self.made.token_file,
        )
        self._stack.callback(self.people.close)
        self.summary.keys_separated = self.made.separation.separated

    def _open_network(self) -> None:
        inside = [str(self.ports.clinical), str(self.ports.enrolment)]
        self.network = self._start("switch_process", "network", inside)
        ready = self.network.wait_for("ready", timeout_s=START_S)
        self.ward_ports = Ports(*ready["ports"], people=self.ports.people)

    async def _list_everybody(self) -> dict[str, Order]:
        admin = AdminClient(self.made.admin_socket)
        try:
            await admin.set_limits(Limits(new_per_minute=LISTED_PER_MINUTE))
            found = {
                player.key: await self._listed(admin, player.key, player.name, player=player)
                for player in cast.NEW
            }
            declared = tuple(player.name for player in cast.LEGACY)
            for key, kind, spoken_for in (
                ("gateway", "gateway", declared),
                ("view", "consumer", ()),
            ):
                name = f"urn:uuid:{uuid.uuid4()}"
                found[key] = await self._listed(admin, key, name, kind=kind, declared=spoken_for)
            found["subscriber"] = await self._listed(
                admin, "subscriber", self.made.subscriber, kind="consumer"
            )
        finally:
            await admin.close()
        return found

    async def _listed(
        self,
        admin: AdminClient,
        key: str,
        name: str,
        *,
        kind: str = "device",
        declared: Sequence[str] = (),
        player: cast.Player | None = None,
    ) -> Order:
        """List one name at the signer and return what its actor needs."""
        answer = await admin.expect(
            Expectation(
                id="",
                name=name,
                profile=kind,
                model=player.model if player else key,
                origin_required=kind == "device",
                lease_ms=LEASE_MS,
                declared=tuple(declared),
            )
        )
        # Devices and gateway stand in the ward, whose network will be cut.
        ports = self.ports if kind == "consumer" else self.ward_ports
        return Order(
            name=name,
            token=answer.token,
            host=self.made.host,
            clinical_port=ports.clinical,
            enrolment_port=ports.enrolment,
            folder=str(self.folder / key),
            ledger=str(self.folder / f"{key}.ledger"),
            passphrase_file=str(self.made.passphrase_file),
            kind=kind,
            profile=player.kind.value if player else "",
            seed=player.seed if player else 0,
            drop=self._drop if key == "subscriber" else 0,
        )

    def _open_view(self, order: Order) -> None:
        folder = IdentityFolder(Path(order.folder))
        join(folder, order, rng=self._rng)
        _, _, root_der = folder.load()
        self.view = LiveView(
            live_view.address(
                f"https://{self.made.host}:{self.ports.clinical}",
                [player.name for player in cast.PLAYERS],
            ),
            context=tls.client_context(root_der=root_der, identity=folder.identity),
        )
        self._stack.callback(self.view.close)
        self.view.start()

    def _open_gateway(self, order: Order) -> None:
        settings = gateway.prepare(order, _peers(), rng=self._rng)
        self.gateway = GatewayProcess(settings, log=self.folder / "gateway.log")
        self._stack.callback(self.gateway.stop)
        ready = self.gateway.start(timeout_s=START_S)
        port = int(ready["listeners"][gateway.LISTENER]["port"])
        book = self.folder / "admissions.ledger"
        self.admissions = Admissions(port, book=book, wall=time.time_ns)
        self._stack.callback(self.admissions.close)
        self.books.append(book)
        for player in cast.LEGACY:
            self._start_legacy(player, port)

    def _start_legacy(self, player: cast.Player, port: int) -> None:
        order = Order(
            name=player.name,
            token="",
            host=player.address,
            clinical_port=port,
            enrolment_port=0,
            folder="",
            ledger=str(self.folder / f"{player.key}.ledger"),
            passphrase_file="",
            profile=player.kind.value,
            seed=player.seed,
        )
        self.devices[player.key] = self._actor("mllp_process", player.key, order)
        self.books.append(Path(order.ledger))

    def _actor(self, module: str, key: str, order: Order) -> Actor:
        path = self.folder / f"{key}.json"
        order.save(path)
        return self._start(module, key, [str(path)])

    def _start(self, module: str, key: str, arguments: Sequence[str]) -> Actor:
        actor = Actor(
            key,
            f"asepsis.tools.simulator.{module}",
            arguments,
            log=self.folder / f"{key}.log",
        )
        self._stack.callback(actor.close)
        return actor


def _peers() -> list[gateway.Peer]:
    application, facility = admissions.SENDER
    administration = gateway.Peer(
        name="administration",
        address=admissions.ADDRESS,
        application=application,
        facility=facility,
        types=("ADT^*",),
    )
    application, facility = mllp_process.SENDER
    return [
        administration,
        *(
            gateway.Peer(
                name=player.key,
                address=player.address,
                application=application,
                facility=facility,
                types=("ORU^R01",),
                devices=((player.name, player.eui64),),
            )
            for player in cast.LEGACY
        ),
    ]
