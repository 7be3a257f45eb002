"""The stage of the demonstration: starts everybody and holds them together until the end.

Everything but the patients is real: processes, TLS, certificates, sandbox, journal, gateway.
"""

import asyncio
import ssl
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.core.trust import tls
from asepsis.core.trust.signer_values import Expectation, Limits
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
from asepsis.tools.simulator.network import Network, Ports, Switch
from asepsis.tools.simulator.orders import Order
from asepsis.tools.simulator.processes import Actor, GatewayProcess, HubProcess
from asepsis.tools.simulator.summary import Summary
from asepsis.tools.simulator.visitor import Visitor

START_S: Final = 60.0
LEASE_MS: Final = 2_000
LISTED_PER_MINUTE: Final = 100
ROUTES_FILE: Final = "routes.toml"
ROUTES: Final = """\
[[routes]]
name = "messages-to-ehr"
to = ["ehr"]
on_refused = "step-over"

[[routes]]
name = "images-to-pacs"
from = "images"
to = ["pacs"]
"""
"""Nothing leaves before somebody enters these destinations."""
_OUTWARD: Final = """\
[delivery]
routes = "routes.toml"

[images]
reserve_bytes = 16777216
readers = ["{gateway}"]

"""

Tell = Callable[[str, str], None]
"""Told the headline and one sentence of each step."""
Show = Callable[[str, Sequence[str], Sequence[Sequence[object]]], None]
"""Shown a table: title, columns, rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How the stage is set; the demonstration takes it as it is.

    Attributes:
        players: Devices of the ward.
        host: Address of the hub.
        network: Between ward and hub; a switch on loopback if None.
        hub_folder: Where the hub's data goes; a folder of the stage if None.
        gateway_folder: The same for the gateway's data.
        hub_settings: Further TOML for the hub.
        environments: Environment of the hub and the gateway, by these names.
        drop: Records that the subscriber leaves out of its ledger on purpose.
    """

    players: Sequence[cast.Player] = cast.PLAYERS
    host: str = hospital.HOST
    network: Network | None = None
    hub_folder: Path | None = None
    gateway_folder: Path | None = None
    hub_settings: str = ""
    environments: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict[str, Mapping[str, str]]
    )
    drop: int = 0


class Stage:
    """Everybody who plays.

    Args:
        folder: Empty folder for everything; the caller removes it.
        tell: Told each step.
        setting: How it is set.
        show: Shown tables; None where nobody looks.

    Resource handling: `open` starts processes; `close` ends them all.
    """

    def __init__(
        self, folder: Path, *, tell: Tell, setting: Setting | None = None, show: Show | None = None
    ) -> None:
        self.folder = folder
        self.tell = tell
        self.show = show
        self.summary = Summary()
        self.devices: dict[str, Actor] = {}
        self.books: list[Path] = []
        self.guest: Visitor
        self._orders: dict[str, Order] = {}
        self.setting = setting or Setting()
        self.new = [player for player in self.setting.players if not player.legacy]
        self.legacy = [player for player in self.setting.players if player.legacy]
        self.watched = [player.name for player in self.setting.players]
        self.second_gateway = f"urn:uuid:{uuid.uuid4()}"
        self.network = self.setting.network or Switch()
        self._stack = ExitStack()
        self._rng = Random()  # noqa: S311 - jitter

    def open_hub(self) -> None:
        """Start the hub; from here on people may sign in.

        Raises:
            AsepsisError: It did not start; its log is in the folder.
        """
        setting = self.setting
        self.made = hospital.prepare(
            setting.hub_folder or self.folder / "hub",
            subscriber=f"urn:uuid:{uuid.uuid4()}",
            host=setting.host,
            more=_OUTWARD.format(gateway=self.second_gateway) + setting.hub_settings,
        )
        (self.made.data / ROUTES_FILE).write_text(ROUTES, encoding="utf-8")
        self.hub = HubProcess(
            self.made.data,
            ready=self.made.ready,
            log=self.folder / "hub.log",
            environment=setting.environments.get("hub"),
        )
        self._stack.callback(self.hub.stop)
        ready = self.hub.start(timeout_s=START_S)
        ports = {name: int(where["port"]) for name, where in ready["listeners"].items()}
        hospital.keep_ports(self.made, ports)
        self.ports = Ports(**ports)
        self.console = f"https://{self.made.host}:{self.ports.people}"
        self.people = PeopleClient(
            self.console,
            root_path=self.made.root,
            token_path=self.made.token_file,
        )
        self._stack.callback(self.people.close)
        self.summary.keys_separated = self.made.separation.separated

    def open_ward(self) -> None:
        """Start the ward's network and the gateway; enrol everybody.

        Raises:
            AsepsisError: A part did not start; its log is in the folder.
        """
        self._stack.callback(self.network.close)
        self.ward_ports = self.network.open(self.ports, self.folder)
        orders = self._orders = asyncio.run(self._list_everybody())
        self.tell(
            "A person lists them",
            f"{len(self.new)} devices, a gateway that may speak for {len(self.legacy)} old ones, "
            "a subscriber and a live view may enrol within 24 hours, each with its own token",
        )
        self.subscriber = self._actor("subscriber_process", "subscriber", orders["subscriber"])
        for player in self.new:
            order = orders[player.key]
            self.devices[player.key] = self._actor("device_process", player.key, order)
            self.books.append(Path(order.ledger))
        self._open_view(orders["view"])
        self._open_gateway(orders["gateway"])
        for actor in (self.subscriber, *(self.devices[player.key] for player in self.new)):
            actor.wait_for("enrolled", timeout_s=START_S)

    def close(self) -> None:
        """End everybody; may be called again."""
        self._stack.close()

    def open_second_gateway(self, sections: str, *, family: str) -> GatewayProcess:
        """Start the gateway that stands between old devices and old archives.

        Args:
            sections: What its settings have beyond the usual, TOML.
            family: Protocol family whose word counts that it is ready.

        Raises:
            AsepsisError: It did not enrol or start; its log is in the folder.
        """
        order = self._orders["second-gateway"]
        settings = gateway.prepare(order, (), rng=self._rng, more=sections)
        made = GatewayProcess(settings, log=self.folder / "second-gateway.log", family=family)
        self._stack.callback(made.stop)
        made.start(timeout_s=START_S)
        return made

    def actor(self, module: str, key: str, arguments: Sequence[str]) -> Actor:
        """Start a process of the simulator that needs no order."""
        made = Actor(
            key, f"asepsis.tools.simulator.{module}", arguments, log=self.folder / f"{key}.log"
        )
        self._stack.callback(made.close)
        return made

    def second_view(self, names: Sequence[str]) -> LiveView:
        """Return a second live view, of other devices; the caller closes it."""
        found = self._view_of(self._orders["view"], names)
        found.start()
        return found

    def visitor(self, password: str) -> Visitor:
        """Sign in at the console; errors as `Visitor`."""
        found = Visitor(self.console, root_der=self.root_der(), password=password)
        self._stack.callback(found.close)
        return found

    def root_der(self) -> bytes:
        """Return the hospital's root certificate."""
        return ssl.PEM_cert_to_DER_cert(self.made.root.read_text("ascii"))

    def fail(self, act: str, error: AsepsisError) -> None:
        """Note that an act went otherwise than told."""
        self.summary.failures.append(f"{act}: {error} {error.hint}".strip())

    async def _list_everybody(self) -> dict[str, Order]:
        admin = AdminClient(self.made.admin_socket)
        try:
            await admin.set_limits(Limits(new_per_minute=LISTED_PER_MINUTE))
            found = {
                player.key: await self._listed(admin, player.key, player.name, player=player)
                for player in self.new
            }
            declared = tuple(player.name for player in self.legacy)
            for key, kind, spoken_for in (
                ("gateway", "gateway", declared),
                ("view", "consumer", ()),
            ):
                name = f"urn:uuid:{uuid.uuid4()}"
                found[key] = await self._listed(admin, key, name, kind=kind, declared=spoken_for)
            found["subscriber"] = await self._listed(
                admin, "subscriber", self.made.subscriber, kind="consumer"
            )
            found["second-gateway"] = await self._listed(
                admin,
                "second-gateway",
                self.second_gateway,
                kind="gateway",
                declared=(cast.VISITING.name, cast.BREATHING.name, cast.SCANNER),
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
                sources=("adt", "merge") if kind == "gateway" else (),
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
            folder=str(self._folder_of(key)),
            ledger=str(self.folder / f"{key}.ledger"),
            passphrase_file=str(self.made.passphrase_file),
            kind=kind,
            profile=player.kind.value if player else "",
            seed=player.seed if player else 0,
            drop=self.setting.drop if key == "subscriber" else 0,
            others=(self.second_gateway, cast.VISITING.name, cast.BREATHING.name),
        )

    def _folder_of(self, key: str) -> Path:
        elsewhere = self.setting.gateway_folder if key == "gateway" else None
        return elsewhere or self.folder / key

    def _open_view(self, order: Order) -> None:
        join(IdentityFolder(Path(order.folder)), order, rng=self._rng)
        self.view = self._view_of(order, self.watched)
        self._stack.callback(self.view.close)
        self.view.start()

    def _view_of(self, order: Order, names: Sequence[str]) -> LiveView:
        folder = IdentityFolder(Path(order.folder))
        _, _, root_der = folder.load()
        base_url = f"https://{self.made.host}:{self.ports.clinical}"
        return LiveView(
            live_view.address(base_url, names),
            context=tls.client_context(root_der=root_der, identity=folder.identity),
        )

    def _open_gateway(self, order: Order) -> None:
        settings = gateway.prepare(order, _peers(self.legacy), rng=self._rng)
        self.gateway = GatewayProcess(
            settings,
            log=self.folder / "gateway.log",
            environment=self.setting.environments.get("gateway"),
            wrap=self.network.wrap,
        )
        self._stack.callback(self.gateway.stop)
        ready = self.gateway.start(timeout_s=START_S)
        port = int(ready["listeners"][gateway.LISTENER]["port"])
        book = self.folder / "admissions.ledger"
        self.admissions = Admissions(port, book=book, wall=time.time_ns)
        self._stack.callback(self.admissions.close)
        self.books.append(book)
        for player in self.legacy:
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
        in_ward = any(key == player.key for player in self.setting.players)
        actor = Actor(
            key,
            f"asepsis.tools.simulator.{module}",
            [str(path)],
            log=self.folder / f"{key}.log",
            wrap=self.network.wrap if in_ward else (),
        )
        self._stack.callback(actor.close)
        return actor


def _peers(legacy: Sequence[cast.Player]) -> list[gateway.Peer]:
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
            for player in legacy
        ),
    ]
