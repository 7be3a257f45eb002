"""Destinations and their lines: opened at the start, added and removed by an administrator.

Each destination is served by tasks of its own. A fault while one is served is told and tried again;
it ends neither the hub nor another destination.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Connection, Row, delete, insert, select, update

from asepsis.core.errors import (
    AsepsisError,
    ConfigError,
    Conflict,
    InputError,
    NotFound,
)
from asepsis.core.model.lanes import Lane
from asepsis.hub.access.ports import AuditWriter
from asepsis.hub.delivery.dialer import HostPort
from asepsis.hub.delivery.line import Line
from asepsis.hub.delivery.line_values import LineParts
from asepsis.hub.delivery.model import Carries, Destination, Kind, Options
from asepsis.hub.delivery.outgoing_http import Url
from asepsis.hub.delivery.tables import delivered, destinations, lines
from asepsis.hub.store.store import Store

DESTINATIONS_MAX: Final = 64
BACKOFF_FIRST_S: Final = 0.2
AFTER_SUCCESS_S: Final = 0.01
REACHED_BY: Final[Mapping[Carries, frozenset[Kind]]] = {
    "messages": frozenset(Kind) - {Kind.STOW},
    "images": frozenset((Kind.GATEWAY, Kind.STOW)),
    "observations": frozenset(Kind) - {Kind.STOW},
    # What a gateway holds of alerts could be over when it arrives, and the hub could not tell.
    "alerts": frozenset((Kind.MLLP,)),
    "associations": frozenset((Kind.MLLP, Kind.GATEWAY)),
}
"""What a destination carries -> how it can be reached."""
BACKOFF_CAP_S: Final = 15.0

log = structlog.get_logger("delivery")

Sender = Callable[[Line], Awaitable[None]]
"""Sends from a line until the connection ends; raises why. A kind without one is fetched."""


class DeliveryService:
    """Every destination of a hub.

    Args:
        parts: What each line stands on.
        audit: Gets an entry for each act.
        senders: Kind -> how it is served.
        rng: Jitter of the waits.

    Resource handling: `open` before the listeners, `run` meanwhile, `close` at the end.
    """

    def __init__(
        self,
        parts: LineParts,
        *,
        audit: AuditWriter,
        senders: Mapping[Kind, Sender],
        rng: random.Random,
    ) -> None:
        self._parts = parts
        self._store: Store = parts.store
        self._audit = audit
        self._senders = senders
        self._rng = rng
        self._lines: dict[str, Line] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()
        self._running = False

    async def open(self) -> None:
        """Load the destinations and open their lines.

        Raises:
            TransientError: Journal or store does not answer.
        """
        for found in await self._store.read(_all):
            await self._open(found)

    async def run(self) -> None:
        """Serve every destination until cancelled."""
        self._running = True
        for name in self._lines:
            self._start(name)
        try:
            await asyncio.Event().wait()
        finally:
            await self._stop(list(self._tasks))

    async def close(self) -> None:
        """Save how far each is."""
        for line in self._lines.values():
            with suppress(AsepsisError):
                await line.close()

    def line(self, name: str) -> Line:
        """Return the line of a destination.

        Raises:
            NotFound: No such destination.
        """
        try:
            return self._lines[name]
        except KeyError as error:
            raise NotFound("no such destination") from error

    def lines(self) -> Sequence[Line]:
        """Return every line, by name."""
        return [self._lines[name] for name in sorted(self._lines)]

    async def add(self, destination: Destination, *, actor: str) -> None:
        """Enter a destination; it gets what comes from now on.

        Raises:
            ConfigError: Parts that do not fit together.
            Conflict: The name is taken.
            LimitExceeded: Too many destinations.
        """
        check(destination)
        async with self._changing:
            if destination.name in self._lines:
                raise Conflict("a destination of this name exists")
            if len(self._lines) >= DESTINATIONS_MAX:
                raise InputError(f"a hub has at most {DESTINATIONS_MAX} destinations")
            await self._store.write(lambda c: self._insert(c, destination, actor))
            await self._open(destination)
            if self._running:
                self._start(destination.name)

    async def remove(self, name: str, *, actor: str) -> None:
        """End a destination; what waits for it is not delivered, its dead letters stay.

        Raises:
            NotFound: No such destination.
        """
        async with self._changing:
            line = self.line(name)
            await self._stop([name])
            await self._store.write(lambda c: self._delete(c, name, actor))
            del self._lines[name]
            await self._parts.journal.register(line.destination.consumer, dict[Lane, bool]())

    async def subscribe(self, name: str, resource: str, *, actor: str) -> None:
        """Keep or end (with an empty one) the Subscription of a destination.

        Args:
            name: Destination of kind `rest-hook`.
            resource: The resource as it is kept.
            actor: Who subscribes.

        Raises:
            NotFound: No such destination.
        """
        async with self._changing:
            was = self.line(name).destination
            options = msgspec.structs.replace(was.options, subscription=resource)
            destination = replace(was, options=options)

            def work(connection: Connection) -> None:
                connection.execute(
                    update(destinations)
                    .where(destinations.c.name == name)
                    .values(options=msgspec.json.encode(options))
                )
                self._audit.note(
                    connection,
                    actor=actor,
                    action="subscribe" if resource else "unsubscribe",
                    subject=f"destination:{name}",
                )

            await self._store.write(work)
            await self._stop([name])
            await self._lines[name].close()
            await self._open(destination)
            if self._running:
                self._start(name)

    def hooks_of(self, consumer: str) -> Sequence[Destination]:
        """Return the rest-hook destinations that an administrator entered for a consumer."""
        found = [line.destination for line in self.lines()]
        return [one for one in found if one.options.consumer == consumer]

    async def accepted(self, instance_key: str) -> bool:
        """Say whether every archive has accepted an instance; False if there is no archive.

        Args:
            instance_key: SOP Instance UID.
        """
        wanted = {
            line.destination.name
            for line in self._lines.values()
            if line.destination.options.carries == "images"
        }
        if not wanted:
            return False
        query = select(delivered.c.destination).where(delivered.c.instance == instance_key)
        rows = await self._store.read(lambda c: c.execute(query).all())
        return wanted <= {row.destination for row in rows}

    async def status(self) -> object:
        """Return what each line does, for people who run the hub."""
        return {line.destination.name: describe(line) for line in self.lines()}

    async def _open(self, destination: Destination) -> None:
        line = Line(destination, self._parts)
        await line.open()
        self._lines[destination.name] = line

    def _start(self, name: str) -> None:
        self._tasks[name] = asyncio.create_task(self._serve(name), name=f"delivery {name}")

    async def _stop(self, names: Sequence[str]) -> None:
        tasks = [task for name in names if (task := self._tasks.pop(name, None)) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, name: str) -> None:
        while True:
            line = self._lines[name]
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(line.run())
                    group.create_task(self._send(line))
            except Exception:
                # What one destination's data does to us must not end the hub, whose alerts go on.
                log.exception("a destination is served anew", destination=name)
                line.trouble("a fault of the hub; see its log")
                await self._reopen(line.destination)

    async def _reopen(self, destination: Destination) -> None:
        while True:
            await asyncio.sleep(BACKOFF_CAP_S)
            try:
                await self._open(destination)
            except AsepsisError as error:
                log.warning("a line waits", destination=destination.name, code=error.code)
            else:
                return

    async def _send(self, line: Line) -> None:
        sender = self._senders.get(line.destination.kind)
        failures = 0
        while sender is not None:
            before = line.figures.accepted
            try:
                await sender(line)
            except AsepsisError as error:
                line.trouble(f"{error.code}: {error}")
            if line.figures.accepted > before:
                failures = 0  # Some receivers hang up after each answer.
                await asyncio.sleep(AFTER_SUCCESS_S)
                continue
            failures += 1
            cap_s = min(BACKOFF_FIRST_S * 2 ** min(failures, 16), BACKOFF_CAP_S)
            await asyncio.sleep(self._rng.uniform(cap_s / 2, cap_s))

    def _insert(self, connection: Connection, destination: Destination, actor: str) -> None:
        connection.execute(
            insert(destinations).values(
                name=destination.name,
                kind=destination.kind.value,
                address=destination.address,
                options=msgspec.json.encode(destination.options),
                created_by=destination.created_by,
                created_ns=destination.created_ns,
            )
        )
        connection.execute(delete(lines).where(lines.c.destination == destination.name))
        self._audit.note(
            connection,
            actor=actor,
            action="add-destination",
            subject=f"destination:{destination.name}",
            kind=destination.kind.value,
            address=destination.address,
            local=destination.options.local,
            gateway=destination.options.gateway,
        )

    def _delete(self, connection: Connection, name: str, actor: str) -> None:
        connection.execute(delete(destinations).where(destinations.c.name == name))
        connection.execute(delete(lines).where(lines.c.destination == name))
        self._audit.note(
            connection, actor=actor, action="remove-destination", subject=f"destination:{name}"
        )


def check(destination: Destination) -> None:
    """Let a destination be entered, or raise.

    Raises:
        ConfigError: Parts that do not fit together.
    """
    options = destination.options
    fetched = destination.kind is Kind.GATEWAY
    if fetched != bool(options.gateway):
        raise ConfigError("kind gateway, and no other, names the gateway that fetches")
    if options.partner and not fetched:
        raise ConfigError("only kind gateway has a partner")
    _check_carries(destination)
    if destination.kind is Kind.MLLP:
        HostPort.parse(destination.address)
    if (destination.kind is Kind.REST_HOOK) != bool(options.consumer) or options.subscription:
        raise ConfigError("kind rest-hook, and no other, names the consumer that subscribes")
    if destination.kind in (Kind.FHIR, Kind.REST_HOOK, Kind.STOW):
        Url.parse(destination.address, local=options.local)


def _check_carries(destination: Destination) -> None:
    kind, carries = destination.kind, destination.options.carries
    if kind not in REACHED_BY[carries]:
        hint = "--carries images" if kind is Kind.STOW else ""
        raise ConfigError(f"kind {kind.value} carries no {carries}", hint=hint)
    if destination.options.commit and kind is not Kind.STOW:
        raise ConfigError("only kind stow looks whether an archive has what it took")


def describe(line: Line) -> dict[str, Any]:
    """Return what people who run the hub see of a destination; nothing of patients or secrets."""
    destination, figures = line.destination, line.figures
    return {
        "name": destination.name,
        "kind": destination.kind.value,
        "address": destination.address,
        "carries": destination.options.carries,
        "chart": destination.options.chart,
        "gateway": destination.options.gateway,
        "commit": destination.commits,
        "local": destination.options.local,
        "records_behind": line.behind,
        "waiting": line.waiting,
        "accepted": figures.accepted,
        "refused": figures.refused,
        "overtaken": figures.overtaken,
        "expired": line.expired,
        "unassigned": line.unassigned,
        "stands_still": bool(line.blocking),
        "trouble": figures.trouble,
        "trouble_since_ns": figures.since_ns if figures.trouble else 0,
        "created_by": destination.created_by,
        "created_ns": destination.created_ns,
    }


def _all(connection: Connection) -> list[Destination]:
    return [_destination(row) for row in connection.execute(select(destinations))]


def _destination(row: Row[Any]) -> Destination:
    return Destination(
        name=row.name,
        kind=Kind(row.kind),
        address=row.address,
        options=msgspec.json.decode(row.options, type=Options),
        created_by=row.created_by,
        created_ns=row.created_ns,
    )
