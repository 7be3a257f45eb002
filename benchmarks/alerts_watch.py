"""Who is told of alarms in the benchmark `alerts`: a browser, a subscriber; and who keeps count."""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import load
from asepsis.core.model.alarm import AlarmPhase
from asepsis.core.model.lanes import Lane
from asepsis.core.trust import tls
from asepsis.core.wire.origin import decode_batch
from asepsis.hub.access.principal import Role
from asepsis.hub.access.service import PeopleService
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.delivery.records import BINARY, from_binary
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.settings import read_settings
from hospital import Hospital, Machine

Key = tuple[int, str]
"""Number of a condition and name of the phase: each happens once."""
_HEAD_END: Final = b"\r\n\r\n"


@dataclass
class Marks:
    """When each event was posted, acknowledged and told.

    Attributes:
        posted: Event -> seconds.
        acked: Seconds from the condition to the acknowledgement.
        told: Receiver -> event -> seconds of each arrival.
    """

    posted: dict[Key, float] = field(default_factory=dict[Key, float])
    acked: list[float] = field(default_factory=list[float])
    told: dict[str, dict[Key, list[float]]] = field(
        default_factory=lambda: {"browser": {}, "subscriber": {}}
    )
    _by_number: dict[tuple[str, int], Key] = field(default_factory=dict[tuple[str, int], Key])

    def begin(self, device: str, sequence: int, condition: int, phase: AlarmPhase) -> None:
        """The condition begins, changes or ends at the device now."""
        key = (condition, phase.name.lower())
        self._by_number[device, sequence] = key
        self.posted[key] = time.perf_counter()

    def acknowledged(self, ack: load.Ack) -> None:
        """A record was answered."""
        if ack.status in {200, 201}:
            self.acked.append(ack.seconds)

    def arrived(self, who: str, key: Key) -> None:
        """A receiver was told."""
        if key in self.posted:
            self.told[who].setdefault(key, []).append(time.perf_counter())

    def complete(self) -> bool:
        """Whether every receiver was told of everything."""
        return all(len(told) == len(self.posted) for told in self.told.values())

    def figures(self) -> dict[str, Any]:
        """Return quantiles in milliseconds, and what was lost or told twice."""
        found: dict[str, Any] = {"alarms": len(self.posted)}
        times = {"ack": self.acked}
        for who, told in self.told.items():
            times[who] = [at[0] - self.posted[key] for key, at in told.items()]
            found[f"{who}_twice"] = sum(len(at) > 1 for at in told.values())
        for who, seconds in times.items():
            found[f"{who}_lost"] = len(self.posted) - len(seconds)
            for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                found[f"{who}_{name}_ms"] = round(1_000 * load.quantile(seconds, part), 1)
        return found


class Browser:
    """A live view of a person, over Server-Sent Events on the people listener.

    Args:
        root_der: The hospital's root.
        token: Of somebody who may watch.
        port: Of the people listener.
        devices: Whom to watch.
        marks: Gets what arrives.
    """

    def __init__(
        self, root_der: bytes, token: str, *, port: int, devices: Sequence[str], marks: Marks
    ) -> None:
        self._context = tls.client_context(root_der=root_der)
        self._token, self._port, self._devices = token, port, devices
        self._marks = marks
        self._found: list[tuple[float, dict[str, Any]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._opened = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open the view and wait until it is answered."""
        self._tasks.append(asyncio.create_task(self._follow()))
        await asyncio.wait_for(self._opened.wait(), 30)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await _end(self._tasks)

    async def hub_found(self, cause: str, device: str, *, since: float, seconds: float) -> float:
        """Wait until the hub says that it found something; return when it was said."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            for at, told in self._found:
                if (told["cause"], told["device"], told["phase"]) == (cause, device, "onset"):
                    return max(at, since)
            await asyncio.sleep(0.01)
        raise TimeoutError(f"no view said {cause} of {device}")

    async def _follow(self) -> None:
        reader, writer = await _connect(self._context, self._port)
        query = "&".join(f"device={name}" for name in self._devices)
        writer.write(
            f"GET /views/live?{query} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self._token}\r\n\r\n".encode()
        )
        status = int((await reader.readuntil(_HEAD_END))[9:12])
        if status != 200:
            raise ConnectionError(f"the view was answered {status}")
        self._opened.set()
        numbered = False
        async for line in reader:
            if line.startswith((b"id:", b"event:")):
                numbered = line.startswith(b"id:") or (numbered and b"alarm" in line)
            elif line.startswith(b"data: ") and b'"condition_id"' in line:
                self._take(json.loads(line[6:]), counts=numbered)
                numbered = False

    def _take(self, told: dict[str, Any], *, counts: bool) -> None:
        if told["found_by"] == "hub":
            self._found.append((time.perf_counter(), told))
        elif counts:
            self._marks.arrived("browser", (int(told["condition_id"], 16), told["phase"]))


class Subscriber:
    """A consumer of the durable alert lane: pull, take, commit.

    Args:
        machine: The consumer.
        root_der: The hospital's root.
        port: Of the clinical listener.
        marks: Gets what arrives.
    """

    def __init__(self, machine: Machine, root_der: bytes, *, port: int, marks: Marks) -> None:
        self._name = machine.name
        self._context = tls.client_context(root_der=root_der, identity=machine.files)
        self._port, self._marks = port, marks
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin to pull."""
        self._tasks.append(asyncio.create_task(self._pull()))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await _end(self._tasks)

    async def _pull(self) -> None:
        reader, writer = await _connect(self._context, self._port)
        path = f"/consumers/{self._name}"
        while True:
            body = await _ask(
                reader,
                writer,
                f"GET {path}/batch?lane=alert&max=1000&wait_s=10 HTTP/1.1\r\nHost: localhost\r\n"
                f"Accept: {BINARY}\r\n\r\n".encode(),
            )
            records = from_binary(body, Lane.ALERT)
            for record in records:
                if record.append.kind == "origin-batch":
                    for event in decode_batch(record.append.body).alarm_events:
                        number = int.from_bytes(event.condition_id, "big")
                        self._marks.arrived("subscriber", (number, event.phase.name.lower()))
            if records:
                commit = json.dumps({"lane": "alert", "position": records[-1].position}).encode()
                await _ask(
                    reader,
                    writer,
                    f"POST {path}/commit HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                    f"application/json\r\nContent-Length: {len(commit)}\r\n\r\n".encode()
                    + commit,
                )


def give_viewer_token(hospital: Hospital) -> str:
    """Add a person who may watch and return a token; the hub must not run yet."""
    settings = read_settings(hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
    store = open_store(settings, kek, clock=time.time_ns)
    people = PeopleService(store, AuditLog(time.time_ns))
    people.add_person("viewer", [Role.VIEWER], actor="benchmark")
    token = people.issue_token("viewer", actor="benchmark")
    store.close()
    return token


@contextlib.contextmanager
def limit_program(hospital: Hospital, *, core: int) -> Iterator[int]:
    """Run the limit program with the hospital's certificates and yield its port."""
    program = Path(__file__).with_name("limit_hub.py")
    folder = hospital.data / "hub/tls"
    arguments = (
        folder / "chain.pem",
        folder / "key.pem",
        hospital.data / "ca/issuing.crt",
        hospital.folder / "limit.log",
    )
    command = ["taskset", "-c", str(core), sys.executable, str(program), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


async def _connect(
    context: ssl.SSLContext, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost", limit=1 << 24
    )


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes) -> bytes:
    writer.write(asked)
    head = (await reader.readuntil(_HEAD_END)).lower()
    status = int(head[9:12])
    if status >= 400:
        raise ConnectionError(f"answered {status}")
    at = head.find(b"content-length: ")
    return await reader.readexactly(int(head[at + 16 :].split(b"\r\n", 1)[0])) if at >= 0 else b""


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
