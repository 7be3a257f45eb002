"""How a supervisor starts each compartment of a device: with which values and descriptors.

What a compartment may do stands in the manifest. What stands here is what it is handed.
"""

import base64
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, Final

from asepsis.core.errors import AsepsisError, ConfigError, TransientError
from asepsis.edge.device.denials import Denials
from asepsis.edge.device.denials_log import open_log
from asepsis.edge.device.gate import Gate
from asepsis.edge.device.manifest import ATTESTER, NETWORK, ORIGIN, TIMEKEEPER, VITALS, shipped
from asepsis.edge.device.ports import Ports
from asepsis.edge.device.records import SIGNED_RING, VITALS_RING
from asepsis.edge.device.rings import Feed, RingOwner
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.state import COMPARTMENTS, code_link, prepare
from asepsis.edge.device.supervisor_attester import AttesterLines
from asepsis.edge.device.supervisor_declared import facts_of, require_startable
from asepsis.edge.device.supervisor_versions import Versions
from asepsis.edge.sandbox import bubblewrap, domains, launcher
from asepsis.edge.sandbox.broker import Address, Broker
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.launcher import Blueprint
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.ring import wake_pair
from asepsis.edge.sandbox.supervision_parts import Runner, Tell
from asepsis.edge.sandbox.supervision_place import Places
from asepsis.edge.uplink.folder import IdentityFolder

_SIZES: Final = {"vitals": VITALS_RING, "signed": SIGNED_RING}
"""Sizes of the manifest's rings; they belong to the form of the records in them."""


@dataclass(slots=True, kw_only=True)
class _First:
    """What a process is handed with its first order."""

    body: dict[str, Any]
    descriptors: dict[str, int]
    broker: Broker | None = None
    files: ExitStack = field(default_factory=ExitStack)


class Starts:
    """What the compartments of one device are started with.

    Args:
        folder: The enrolled device's folder.
        holding: Layers to apply.
        setting: What to measure with.
        versions: Where the code of each version is.
        tell: Told what this machine does not allow.

    Raises:
        NotFound: The device is not enrolled.
        ConfigError: The folder cannot be used.

    Resource handling: holds rings and lines until `close`.
    """

    def __init__(
        self,
        folder: IdentityFolder,
        *,
        holding: frozenset[Layer],
        setting: Setting,
        versions: Versions,
        tell: Tell,
    ) -> None:
        self._folder = folder
        self._layers = holding
        self._setting = setting
        self._versions = versions
        self._device, hospital, self._root_der = folder.load()
        self.manifest = setting.manifest or shipped()
        self._endpoints = {
            "clinical": Address(hospital.clinical.host, hospital.clinical.port),
            "enrolment": Address(hospital.enrolment.host, hospital.enrolment.port),
        }
        user = self.manifest.compartments[NETWORK].user if Layer.USERS in holding else None
        self._state = folder.path / COMPARTMENTS / NETWORK
        try:
            prepare(folder, user=user)
        except (ConfigError, TransientError) as error:
            # A full disk or a spoilt folder may cost the network compartment, never vitals.
            tell(NETWORK, "failed", {"code": error.code, "text": str(error)})
        self._code = code_link(folder.path, bubblewrap.code().package)
        self._boot_id = secrets.token_bytes(16).hex()
        self._log: IO[bytes] = (folder.path / "device.log").open("ab", buffering=0)
        self.rings = {name: RingOwner(name, geometry=_SIZES[name]) for name in self.manifest.rings}
        with domains.sockets_as("line", "time"):
            self._time_in, self._time_out = wake_pair()
        self._attester = AttesterLines(setting)
        self.denials = Denials(self.manifest, tell=tell, log=open_log())
        self.gate = Gate(
            self.manifest,
            critical=VITALS,
            on=setting.requests,
            folder=folder.path,
            device=self._device,
            tell=tell,
            note=self.denials.note_request,
        )
        self.ports = Ports(self.manifest, host=setting.listen_host, tell=tell)
        self._places = Places(self.manifest, realtime=Layer.REALTIME in holding, tell=tell)
        self._first: dict[str, Callable[[bool], _First]] = {
            VITALS: self._vitals,
            ORIGIN: self._origin,
            NETWORK: self._network,
            TIMEKEEPER: self._timekeeper,
            ATTESTER: self._attest,
        }
        for name, declared in self.manifest.compartments.items():
            if name not in self._first:
                require_startable(declared)
                self._first[name] = partial(self._declared, name)

    def start(self, name: str, version: str, *, warm: bool) -> Runner:
        """Start a process of a compartment; a warm one waits to be called.

        Raises:
            AsepsisError: It cannot be started.
            OSError: The system refuses.
        """
        blueprint = self.blueprint(name, version)
        self._setting.measure(name, version, blueprint.package)
        first = self._first[name](warm)
        first.descriptors |= self.ports.handed(name)
        # Lines for requests are the serving one's: what stands by gets them with its call.
        asked, lines = ({}, {}) if warm else self.gate.handed(name)
        lines = {**lines, **self.denials.handed(name)}
        folder = blueprint.package.parent if blueprint.package else self._code
        place = self._places.begin(name)

        def put(pids: Sequence[int]) -> None:
            self._places.put(place, pids)

        try:
            with first.files:
                process = launcher.launch(
                    blueprint,
                    body={**first.body, **asked, "warm": warm},
                    descriptors={**first.descriptors, **lines},
                    code_folder=folder,
                    log=self._log,
                    place=put,
                )
        except (AsepsisError, OSError):
            if first.broker:
                first.broker.close()
            self._places.end(place)
            raise
        if first.broker:
            first.broker.start()

        def let_go() -> None:
            if first.broker:
                first.broker.close()
            self._places.end(place)

        runner = Runner(process=process, version=version, likeness=blueprint, let_go=let_go)
        if not warm:
            self._go_on(runner, name)
        return runner

    def serve(self, name: str, runner: Runner) -> None:
        """Call a process that stood by: it gets what it reads.

        Raises:
            AsepsisError: It takes no orders, or there is nothing to read yet.
        """
        body, descriptors = self.gate.handed(name)
        descriptors = {**descriptors, **self._attester.handed(name)}
        if self.manifest.compartments[name].reads:
            feed = self.read_by(name).oldest()
            body = {**body, "ring_epoch": feed.epoch}
            descriptors = {**descriptors, **feed.handed()}
        runner.process.order("serve", body, descriptors=descriptors)
        self._go_on(runner, name)

    def blueprint(self, name: str, version: str) -> Blueprint:
        """Return what a version of a compartment is started by now.

        Raises:
            NotFound: There is no such version.
        """
        return host.blueprint(
            self.manifest.compartments[name],
            layers=self._layers,
            state=self._state,
            package=self._versions.package(name, version),
            prelude=self._setting.preludes.get(name, ""),
        )

    def wanted(self, name: str) -> bool:
        """Return whether this device runs a compartment at all: nobody attests without a TPM."""
        return name != ATTESTER or self._setting.tpm is not None

    def may_start(self, name: str) -> bool:
        """Return whether the rings that a compartment reads are there, and its ports open."""
        reads = self.manifest.compartments[name].reads
        return all(self.rings[ring].feed is not None for ring in reads) and self.ports.ready(name)

    def written_by(self, name: str) -> RingOwner:
        """Return the ring that a compartment writes."""
        (ring,) = self.manifest.compartments[name].writes
        return self.rings[ring]

    def read_by(self, name: str) -> RingOwner:
        """Return the ring that a compartment reads."""
        (ring,) = self.manifest.compartments[name].reads
        return self.rings[ring]

    def close(self) -> None:
        """Let go of everything; no compartment runs any more."""
        self.gate.close()
        self.denials.close()
        self.ports.close()
        self._places.close()
        self._time_in.close()
        self._time_out.close()
        self._attester.close()
        for ring in self.rings.values():
            ring.close()
        self._log.close()

    def _go_on(self, reader: Runner, name: str) -> None:
        """Hand a reader that starts with the ring before the last one the last one too."""
        for ring in self.manifest.compartments[name].reads:
            owner = self.rings[ring]
            if owner.feed and owner.feed is not owner.oldest():
                order_ring(reader, owner.feed)

    def _vitals(self, _warm: bool) -> _First:  # noqa: FBT001 - one signature for all
        descriptors, values = self.written_by(VITALS).begin()
        body = {**values, "kind": self._setting.kind.value, "seed": self._setting.seed}
        first = _First(body=body, descriptors=descriptors)
        if self._setting.recording is not None:
            file = first.files.enter_context(self._setting.recording.open("rb"))
            domains.label(self._setting.recording, "document", "recording")
            first.descriptors["recording"] = file.fileno()
        return first

    def _origin(self, _warm: bool) -> _First:  # noqa: FBT001 - one signature for all
        signed, read = self.written_by(ORIGIN), self.read_by(ORIGIN)
        made, values = signed.begin()
        feed = read.oldest()
        wall_ns = time.time_ns()
        body = {
            **values,
            "ring_epoch": feed.epoch,
            "kind": self._setting.kind.value,
            "device": self._device,
            "boot_id": self._boot_id,
            "boot_epoch": self._folder.next_epoch(wall_s=wall_ns // 10**9),
            "wall_minus_monotonic_ns": wall_ns - time.monotonic_ns(),
        }
        descriptors = {"out": made["ring"], "out_wake": made["wake"], **feed.handed()}
        descriptors["time"] = self._time_out.fileno()
        if signed.feed:
            descriptors["previous"] = signed.feed.readable
        first = _First(body=body, descriptors=descriptors)
        key = first.files.enter_context(self._folder.origin_key_path.open("rb"))
        first.descriptors["key"] = key.fileno()
        return first

    def _network(self, warm: bool) -> _First:  # noqa: FBT001 - one signature for all
        broker = self._broker(NETWORK)
        wrapped = Layer.BUBBLEWRAP in self._layers
        body: dict[str, Any] = {
            "boot_id": self._boot_id,
            "state": str(bubblewrap.STATE if wrapped else self._state),
        }
        descriptors = {f"channel{n}": line.fileno() for n, line in enumerate(broker.theirs)}
        if not warm:
            feed = self.read_by(NETWORK).oldest()
            body["ring_epoch"] = feed.epoch
            descriptors |= feed.handed() | self._attester.handed(NETWORK)
        return _First(body=body, descriptors=descriptors, broker=broker)

    def _timekeeper(self, _warm: bool) -> _First:  # noqa: FBT001 - one signature for all
        (where,) = self._endpoints_of(TIMEKEEPER)
        broker = self._broker(TIMEKEEPER)
        body = {
            "root": base64.b64encode(self._root_der).decode(),
            "host": where.host,
            "port": where.port,
        }
        descriptors = {"channel0": broker.theirs[0].fileno(), "out": self._time_in.fileno()}
        return _First(body=body, descriptors=descriptors, broker=broker)

    def _attest(self, _warm: bool) -> _First:  # noqa: FBT001 - one signature for all
        first = _First(body={"image_number": self._setting.image_number}, descriptors={})
        first.descriptors = self._attester.handed(ATTESTER) | self._attester.open(first.files)
        return first

    def _declared(self, name: str, warm: bool) -> _First:  # noqa: FBT001 - one signature for all
        """Start what only the manifest knows: its ring, connections, and facts of the device."""
        declared = self.manifest.compartments[name]
        facts = facts_of(self.manifest, device=self._device, layers=self._layers)
        first = _First(body={"facts": facts, "kind": self._setting.kind.value}, descriptors={})
        if declared.reads and not warm:
            feed = self.read_by(name).oldest()
            first.body["ring_epoch"] = feed.epoch
            first.descriptors |= feed.handed()
        if declared.endpoints:
            first.broker = self._broker(name)
            lines = enumerate(first.broker.theirs)
            first.descriptors |= {f"channel{n}": line.fileno() for n, line in lines}
        return first

    def _broker(self, name: str) -> Broker:
        channels = self.manifest.compartments[name].channels
        names = self.manifest.compartments[name].endpoints
        return Broker(self._endpoints_of(name), channels=channels, owner=name, names=names)

    def _endpoints_of(self, name: str) -> list[Address]:
        return [self._endpoints[place] for place in self.manifest.compartments[name].endpoints]


@dataclass(frozen=True, slots=True)
class OneStarter:
    """Starts one compartment; the `Starter` of its watch.

    Attributes:
        starts: What all are started with.
        name: Which.
    """

    starts: Starts
    name: str

    def start(self, version: str, *, warm: bool) -> Runner:
        """See `Starts.start`."""
        return self.starts.start(self.name, version, warm=warm)

    def serve(self, runner: Runner) -> None:
        """See `Starts.serve`."""
        self.starts.serve(self.name, runner)

    def likeness(self, version: str) -> object:
        """See `Starts.blueprint`."""
        return self.starts.blueprint(self.name, version)

    def may_start(self) -> bool:
        """See `Starts.may_start`."""
        return self.starts.may_start(self.name)


def order_ring(reader: Runner, feed: Feed) -> None:
    """Order a reader to go on in the ring of a new writer.

    Raises:
        Unavailable: It takes no orders.
    """
    reader.process.order("ring", {"ring_epoch": feed.epoch}, descriptors=feed.handed())
