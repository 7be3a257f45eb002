"""From records of the journal to items of one destination, by its routes. No I/O but the gate."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from asepsis.core.compliance.gate import ChartGate, HeldBack
from asepsis.core.errors import InputError
from asepsis.core.journal.ports import Record
from asepsis.core.mapping.fhir_delivery import transaction_of
from asepsis.core.mapping.fhir_subscription import notification
from asepsis.core.mapping.pcd01 import numerics_of_entry
from asepsis.core.mapping.route import Origin, Route
from asepsis.core.mapping.route_document import Sampling
from asepsis.core.mapping.route_sample import Sample, Sampler
from asepsis.core.wire.hl7 import Message, MessageReader
from asepsis.core.wire.message_record import MessageEntry, decode
from asepsis.hub.delivery.ledger import Ledger, key_of
from asepsis.hub.delivery.model import WRITTEN, Destination, Item, ItemKind, Kind
from asepsis.hub.delivery.scribe import Scribe, Written

_OTHER_FORM: Final = frozenset({Kind.FHIR, Kind.REST_HOOK})
"""Kinds whose items are written anew from the message."""


class Feeder:
    """Makes items; one for a destination.

    Args:
        destination: Whom they are for.
        gate: Says what charts may have; None where every chart may have everything.
        scribe: Writes messages about what is none; None where only messages leave.
        monotonic: Monotonic clock, nanoseconds.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        gate: ChartGate | None,
        scribe: Scribe | None = None,
        monotonic: Callable[[], int],
    ) -> None:
        self._destination = destination
        # Alerts and associations are never held back: only values can be unverified.
        judged = destination.options.carries in ("messages", "observations")
        self._gate = gate if destination.options.chart and judged else None
        self._scribe = scribe
        self._monotonic = monotonic
        self._reader = MessageReader()
        self._sampler = Sampler[Item]()
        self.unreadable = 0
        """Messages that no route can look at; they are in the journal."""
        self.unassigned = 0
        """Values of devices that are nobody's, which a chart has no place for."""

    @property
    def holds_samples(self) -> bool:
        """Whether messages wait for their minute to end."""
        return bool(len(self._sampler))

    async def feed(self, record: Record, routes: Sequence[Route], ledger: Ledger) -> list[Item]:
        """Return the items of one record, in order.

        Args:
            record: Of one of the destination's lanes, the next one.
            routes: Those that name the destination.
            ledger: Told what is on its way.

        Raises:
            TransientError: Whose it is, or what charts may have, cannot be decided now; nothing of
                the record was noted.
        """
        if self._destination.options.carries == "images":
            return self._instance(record, routes, ledger)
        written = await self._written(record) if routes else ()
        held: dict[int, HeldBack | None] = {}
        for one in written if self._gate else ():
            held[one.entry.index] = await self._held(record, one.entry)
        ledger.read(record.position, 0)
        items = [
            item
            for one in written
            for item in self._entry(record, one, routes, held.get(one.entry.index))
        ]
        found: list[Item] = []
        for item, route in items:
            if not ledger.knows(item.key):
                ledger.add(record.position, 1)
                found += self._sampled(route, item)
        return [self._last_form(item) for item in found]

    async def _written(self, record: Record) -> Sequence[Written]:
        """Return the messages of a record: those it is made of, or those that tell of it."""
        carries = self._destination.options.carries
        if carries in WRITTEN:
            written = await self._scribe.write(record, carries) if self._scribe else ()
            if not self._destination.options.chart:
                return written
            assigned = [one for one in written if not one.nobodys]
            self.unassigned += len(written) - len(assigned)
            return assigned
        try:
            return [Written(entry) for entry in decode(record.append.kind, record.append.body)]
        except InputError:
            self.unreadable += 1
            return ()

    def expire(self) -> list[Item]:
        """Return samples whose minute is over."""
        samples = self._sampler.expire(now_ns=self._monotonic())
        return [self._last_form(_item(sample)) for sample in samples]

    def _last_form(self, item: Item) -> Item:
        """Return an item as its destination gets it."""
        entry, bare = item.entry, replace(item, entry=None)
        if self._destination.kind not in _OTHER_FORM or entry is None or item.fault:
            return bare
        try:
            message = self._reader.parse(item.body)
            mapped = replace(entry, body=item.body)
            if self._destination.kind is Kind.FHIR:
                body = transaction_of(mapped, message, key=item.key)
                return replace(bare, body=body, kind=ItemKind.FHIR)
            body = self._notice(mapped, message, item.key)
        except InputError as error:
            return replace(bare, fault=f"{error.code}: {error}")
        return replace(bare, body=body, kind=ItemKind.NOTICE)

    def _notice(self, entry: MessageEntry, message: Message, key: str) -> bytes:
        found = numerics_of_entry(entry, message).value
        devices = list(dict.fromkeys(one.device for one in found))
        at_ns = entry.findings.arrived_at_ns if entry.findings is not None else 0
        return notification(self._destination.name, devices, key=key, at_ns=at_ns)

    async def _held(self, record: Record, entry: MessageEntry) -> HeldBack | None:
        return await self._gate.verdict(record, index=entry.index) if self._gate else None

    def _entry(
        self, record: Record, written: Written, routes: Sequence[Route], held: HeldBack | None
    ) -> list[tuple[Item, Route]]:
        if self._destination.kind is Kind.REST_HOOK and not self._destination.options.subscription:
            return []  # Nobody asked to be told.
        entry = written.entry
        plain = all(self._is_plain(route) for route in routes)
        try:
            message = self._reader.parse(header_of(entry.body) if plain else entry.body)
        except InputError:
            self.unreadable += 1
            return []
        peer = entry.findings.peer.name if entry.findings is not None else ""
        origin = Origin(record.append.producer, peer)
        found: list[tuple[Item, Route]] = []
        for route in routes:
            for bare in self._routed(route, message, origin, entry.body if plain else None):
                key = key_of(record.position, record.append.lane, entry.index, len(found))
                overtaken = written.overtaken
                whole = replace(bare, key=key, members=(key,), entry=entry)
                if held is not None:
                    whole = replace(whole, held=held.reason, rule=held.rule)
                found.append((replace(whole, overtaken=overtaken), route))
        return found

    def _is_plain(self, route: Route) -> bool:
        return route.reads_header_only and route.sampling(self._destination.name) is None

    def _routed(
        self, route: Route, message: Message, origin: Origin, whole: bytes | None
    ) -> list[Item]:
        code = message.header.message_code
        stop = route.on_refused(code).value == "stop"
        base = Item(key="", kind=ItemKind.HL7, body=message.body, route=route.name, stop=stop)
        try:
            if not route.takes(message, origin):
                return []
            bodies = route.transform(message) if whole is None else (whole,)
            return [replace(base, body=body) for body in bodies]
        except InputError as error:
            return [replace(base, fault=f"{error.code}: {error}")]

    def _sampled(self, route: Route, item: Item) -> list[Item]:
        sampling: Sampling | None = route.sampling(self._destination.name)
        if sampling is None or item.fault or item.held:
            return [item]
        samples = self._sampler.take(
            self._reader.parse(item.body),
            item,
            keep=sampling.keep,
            now_ns=self._monotonic(),
        )
        return [_item(sample) for sample in samples]

    def _instance(self, record: Record, routes: Sequence[Route], ledger: Ledger) -> list[Item]:
        key = key_of(record.position, record.append.lane, 0, 0)
        wanted = routes and not ledger.knows(key)
        ledger.read(record.position, 1 if wanted else 0)
        if not wanted:
            return []
        return [
            Item(
                key=key,
                kind=ItemKind.INSTANCE,
                body=record.append.body,
                route=routes[0].name,
                members=(key,),
            )
        ]


def header_of(body: bytes) -> bytes:
    """Return the first segment of a message, or all of it where segments end otherwise."""
    end = body.find(b"\r")
    return body[: end + 1] if end > 0 and b"\n" not in body[:end] else body


def _item(sample: Sample[Item]) -> Item:
    """Return the item of a sample: the last of its messages, standing for all of them."""
    members = tuple(key for item in sample.members for key in item.members)
    return replace(sample.members[-1], body=sample.body, members=members)
