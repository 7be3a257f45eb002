"""A hub and two gateways with one address: each reaches the hub through a relay that can be cut."""

import asyncio
import contextlib
import datetime as dt
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hl7
from gateway_ward import DEVICE, FAST_HUB, accounts, free_port, oru, peer_text
from hl7.mllp import open_hl7_connection

from asepsis.core.model.lanes import Lane
from asepsis.core.trust.identity import Profile
from asepsis.core.wire import message_record
from asepsis.edge.gateway.pair import keymaking, keys
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital as Addresses
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.hub.opening import open_journal, open_kek, open_store
from asepsis.hub.registry import records
from asepsis.hub.registry.delegations import rows
from asepsis.hub.settings import read_settings
from hospital import DAY_NS, Hospital, HubProcess, Machine, system_name

ADDRESS = "127.0.0.50"
RUN = (
    "import sys; from pathlib import Path; from asepsis.edge.gateway.supervision import main; "
    "sys.exit(main(Path(sys.argv[1])))"
)


class Relay:
    """Passes connections on to the hub until it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._turn = threading.Lock()
        self.cut = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def set_cut(self, cut: bool) -> None:  # noqa: FBT001 - a switch
        """Cut every connection and take no more, or pass on again."""
        with self._turn:
            self.cut = cut
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def close(self) -> None:
        self.set_cut(True)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), 2)
            except OSError:
                near.close()
                continue
            with self._turn:
                if self.cut:
                    near.close()
                    far.close()
                    continue
                self._open += [near, far]
            threading.Thread(target=_serve, args=(near, far), daemon=True).start()


def _serve(near: socket.socket, far: socket.socket) -> None:
    with near, far:
        back = threading.Thread(target=_pass, args=(far, near), daemon=True)
        back.start()
        _pass(near, far)
        back.join()


def _pass(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := one.recv(65_536):
            other.sendall(chunk)
    for each in (one, other):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@dataclass
class Gateway:
    """One of the two."""

    name: str
    folder: Path
    machine: Machine
    relay: Relay
    link_port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def data(self) -> Path:
        return self.folder / "gateway"

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    @property
    def toml(self) -> Path:
        return self.data / "gateway.toml"

    def start(self) -> None:
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(self.toml)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def tell(self, number: signal.Signals) -> None:
        """Signal every process of the gateway."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def destroy(self) -> None:
        """Kill it and remove its disk."""
        self.tell(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()
        shutil.rmtree(self.data)

    def active(self) -> bool:
        """Whether its supervisor has the service address."""
        with contextlib.suppress(OSError):
            return (self.data / "run/active").read_text() == "1\n"
        return False

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.tell(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.tell(signal.SIGKILL)
                self.process.wait()


@dataclass
class Sender:
    """A sender of the `hl7` package that repeats what was not acknowledged."""

    source: str
    port: int
    first: int
    acknowledged: list[str] = field(default_factory=list[str])
    stopped: bool = False

    async def run(self) -> None:
        number = self.first
        while not self.stopped:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                reader, writer = await asyncio.wait_for(
                    open_hl7_connection(ADDRESS, self.port, local_addr=(self.source, 0)), 2
                )
                try:
                    while not self.stopped:
                        writer.writemessage(hl7.parse(oru(number).decode()))
                        await writer.drain()
                        answer = await asyncio.wait_for(reader.readmessage(), 5)
                        if str(answer.segment("MSA")[1]) == "CA":
                            self.acknowledged.append(str(number))
                        number += 1
                finally:
                    writer.close()
            await asyncio.sleep(0.1)


@dataclass
class Pair:
    """Everything."""

    folder: Path
    hospital: Hospital
    gateways: tuple[Gateway, Gateway]
    port: int
    hub: HubProcess | None = None
    senders: list[Sender] = field(default_factory=list[Sender])
    _thread: threading.Thread | None = None

    def start_hub(self) -> None:
        self.hub = self.hospital.start_hub()

    def until(self, found: Callable[[], object], *, timeout_s: float = 40) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + timeout_s
        while not found():
            logs = "\n".join(g.log for g in self.gateways)
            assert time.monotonic() < deadline, logs
            time.sleep(0.05)

    def active(self, *, other_than: Gateway | None = None) -> Gateway:
        """Wait until one gateway has the address and listens, and return it."""
        others = [gateway for gateway in self.gateways if gateway is not other_than]
        self.until(lambda: any(gateway.active() for gateway in others) and self.listens())
        return next(gateway for gateway in others if gateway.active())

    def listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((ADDRESS, self.port), 1):
            return True
        return False

    def other(self, gateway: Gateway) -> Gateway:
        return self.gateways[1 if gateway is self.gateways[0] else 0]

    def send(self) -> None:
        """Let every sender send, in a thread."""

        async def work() -> None:
            await asyncio.gather(*(sender.run() for sender in self.senders))

        self._thread = threading.Thread(target=lambda: asyncio.run(work()))
        self._thread.start()

    def more(self, count: int) -> None:
        """Wait until every sender has so many more acknowledgements."""
        wanted = [(sender, len(sender.acknowledged) + count) for sender in self.senders]
        self.until(lambda: all(len(sender.acknowledged) >= goal for sender, goal in wanted))

    def end_sending(self) -> set[str]:
        """Stop the senders and return the control ids that were acknowledged."""
        for sender in self.senders:
            sender.stopped = True
        assert self._thread is not None
        self._thread.join(30)
        return {control for sender in self.senders for control in sender.acknowledged}

    def at_hub(self) -> list[tuple[str, str]]:
        """Stop the hub; return gateway and control id of every message in its journal."""
        assert self.hub is not None
        if self.hub.process.poll() is None:
            self.hub.stop()
        settings = read_settings(self.hospital.toml)
        kek = open_kek(settings.sealing, hub_folder=self.hospital.data / "hub")
        journal = open_journal(settings, kek, clock=time.time_ns)
        found: list[tuple[str, str]] = []
        after = 0
        while page := journal.read(Lane.MESSAGE, after=after, records_max=2_000):
            after = page[-1].position
            for record in page:
                append = record.append
                entries = message_record.decode(append.kind, append.body, sequence=append.sequence)
                found += [
                    (append.producer, entry.body.split(b"|")[9].decode()) for entry in entries
                ]
        journal.close()
        return found

    def command(self, gateway: Gateway, *words: str) -> str:
        """Run `asepsis gateway WORDS` for one gateway; return what it printed."""
        command = [sys.executable, "-m", "asepsis.cli.main", "gateway", *words]
        done = subprocess.run(
            [*command, "--settings", str(gateway.toml)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def at_risk(self, gateway: Gateway) -> Any:
        """Return what `asepsis gateway at-risk` says at one gateway."""
        return json.loads(self.command(gateway, "at-risk", "--json"))

    def wait_lease(self, gateway: Gateway) -> None:
        """Wait until the hub has given a lease to a gateway that people promoted."""
        self.until(lambda: not (gateway.data / "pair/promoted.json").exists())

    def wait_drained(self, gateway: Gateway) -> None:
        """Wait until the hub has every group of a gateway."""
        hub = self.hospital.data / "hub/journal/signed.db"

        def drained() -> bool:
            made = accounts(gateway.data / "spool/journal/signed.db", "gateway")
            return made.items() <= accounts(hub, gateway.name).items()

        self.until(drained)

    def close(self) -> None:
        for sender in self.senders:
            sender.stopped = True
        if self._thread is not None:
            self._thread.join(30)
        for gateway in self.gateways:
            gateway.stop()
            gateway.relay.close()
        if self.hub is not None and self.hub.process.poll() is None:
            self.hub.stop()


def make_pair(folder: Path, *, ack: str) -> Pair:
    """Prepare hospital and gateways; nothing runs yet."""
    folder.mkdir(parents=True, exist_ok=True)
    hub_port, port = free_port(), free_port()
    hospital = Hospital(folder / "hospital", more=FAST_HUB, port=hub_port)
    names = (system_name(7), system_name(8))
    machines = hospital.enlist([(name, Profile.GATEWAY) for name in names])
    _declare(hospital, names)
    gateways = tuple(
        Gateway(name, folder / f"g{number}", machine, Relay(hub_port), free_port())
        for number, (name, machine) in enumerate(zip(names, machines, strict=True))
    )
    for gateway in gateways:
        _identity(gateway, hospital)
    pair = Pair(folder, hospital, gateways, port)
    for gateway in gateways:
        _settings(pair, gateway, ack=ack)
    pair.senders = [Sender(f"127.0.0.{n}", port, n * 100_000) for n in (2, 3)]
    return pair


def _declare(hospital: Hospital, names: tuple[str, str]) -> None:
    settings = read_settings(hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
    store = open_store(settings, kek, clock=time.time_ns)
    with store.unit_of_work() as connection:
        now_ns = time.time_ns()
        rows.put(
            connection,
            names[0],
            [DEVICE],
            person="person:test",
            now_ns=now_ns,
            expires_at_ns=now_ns + DAY_NS,
            terms=rows.Terms(partner=names[1]),
        )
        records.touch(connection, names[0])
    store.close()


def _identity(gateway: Gateway, hospital: Hospital) -> None:
    identity = IdentityFolder(gateway.data / "identity")
    identity.create()
    shutil.copy(gateway.machine.files.chain_path, identity.path / "tls.pem")
    shutil.copy(gateway.machine.files.key_path, identity.path / "tls.key")
    places = [Endpoint("localhost", port) for port in (gateway.relay.port, free_port())]
    identity.finish(gateway.name, Addresses(*places), hospital.root_der)
    keymaking.make(gateway.data, now=dt.datetime.now(dt.UTC))


def _settings(pair: Pair, gateway: Gateway, *, ack: str) -> None:
    other = pair.other(gateway)
    shutil.copy(keys.place(other.data).chain_path, gateway.data / "partner.pem")
    passphrase = gateway.folder / "passphrase"
    passphrase.write_text(secrets.token_hex(16))
    passphrase.chmod(0o600)
    peers = "".join(peer_text(f"m{n}", [f"127.0.0.{n}"], more=f'ack = "{ack}"\n') for n in (2, 3))
    gateway.toml.write_text(f"""\
device_segments = ["127.0.0.0/8"]
[sealing]
source = "passphrase"
passphrase_file = "{passphrase}"
[hub]
clock = "system"
wait_s = 2.0
[pair]
partner = "{other.name}"
certificate_file = "partner.pem"
listen_host = "127.0.0.1"
listen_port = {gateway.link_port}
partner_host = "127.0.0.1"
partner_port = {other.link_port}
[[listeners]]
name = "ward"
host = "{ADDRESS}"
port = {pair.port}
{peers}
""")
