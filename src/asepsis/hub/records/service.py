"""Reads of the record: who may see whose values, asked anew for every page, and audited.

Nothing in a block says whose a value is. Associations are asked at every read, so that a late
assignment or a correction holds for the past at once.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from asepsis.core.errors import LimitExceeded, NotFound, NotPermitted
from asepsis.core.mapping.fhir_numeric import device_key
from asepsis.core.model.identity import DeviceId, PrincipalKind
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action, decide
from asepsis.hub.records import queries
from asepsis.hub.records.client import RecordClient
from asepsis.hub.records.params import Read
from asepsis.hub.records.ports import Audit, Declared, Devices, Histories, KnownDevice, Reach
from asepsis.hub.records.rules import FOREVER_NS

AUDIT_EVERY_NS: Final = 60_000_000_000
"""Reads of one person about one patient or device within a minute are one entry of the log."""
AUDITED_MAX: Final = 10_000
BEFORE_NS: Final = 3_600_000_000_000
"""Associations that ended so long before the first value can matter: clocks are not exact."""
DEVICE_PREFIX: Final = "Device/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where an answer is found.

    Attributes:
        this: Of this page.
        following: Of the next page, up to its cursor.
    """

    this: str
    following: str


class DeviceTrend(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one device over time.

    Attributes:
        device: Name of the device.
        points: Time in nanoseconds since 1970, and the number or null where there is no good one.
    """

    device: str
    points: tuple[tuple[int, float | None], ...]


@dataclass(slots=True)
class RecordService:
    """Answers reads.

    Attributes:
        client: The record.
        histories: Who a device was used for, and when.
        devices: What is enrolled.
        audit: The audit log.
        consumers: How much each consumer may read; nothing where it is not named.
        clock: Wall time, nanoseconds since 1970.
        declared: What devices declare that they measure; None marks nothing.
    """

    client: RecordClient
    histories: Histories
    devices: Devices
    audit: Audit
    consumers: Mapping[str, Reach]
    clock: Callable[[], int]
    declared: Declared | None = None
    _audited: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    _keys: dict[str, str] = field(default_factory=dict[str, str])

    def admit(self, principal: Principal) -> None:
        """Let people pass, whose roles were looked at, and consumers that an operator named.

        Raises:
            NotPermitted: A consumer that may read lanes and no record.
        """
        if principal.kind is PrincipalKind.CONSUMER and self._reach(principal) is Reach.NONE:
            raise NotPermitted(
                "this consumer may not read the record", hint="consumers.record in hub.toml"
            )

    async def page(self, principal: Principal, read: Read, addresses: Addresses) -> bytes:
        """Return a page of a search as JSON.

        Raises:
            NotPermitted: A patient is asked for by somebody who may not see patients.
            NotFound: No such device.
            InputError: A cursor of another search.
            LimitExceeded: More devices or associations than one search takes.
            TransientError: The record or the log is not there now.
        """
        scope = await self.scope(principal, read)
        question = queries.Find(
            kind=read.kind.value,
            scope=scope,
            count=read.count,
            cursor=read.cursor,
            self_url=addresses.this,
            next_url=addresses.following,
        )
        return await self._shown(principal, read, scope, question)

    async def last(self, principal: Principal, read: Read, addresses: Addresses) -> bytes:
        """Return the newest values of each metric; raises as `page`."""
        scope = await self.scope(principal, read)
        question = queries.LastN(scope=scope, n=read.count, self_url=addresses.this)
        return await self._shown(principal, read, scope, question)

    async def trends(
        self, principal: Principal, read: Read, handle: int | None
    ) -> Sequence[DeviceTrend]:
        """Return one metric over time, of each device that has it in the scope.

        Raises:
            NotFound: The device that is named has no such metric.
            Others: As `page`.
        """
        scope = await self.scope(principal, read)
        drawn, _ = await asyncio.gather(
            self._draw(read, scope, handle), self._audit(principal, read, ())
        )
        return drawn

    async def _draw(
        self, read: Read, scope: queries.Scope, handle: int | None
    ) -> Sequence[DeviceTrend]:
        found: list[DeviceTrend] = []
        for device in scope.devices:
            question = queries.Trend(
                device=device,
                mdc_code=read.codes[0] if read.codes else None,
                handle=handle,
                from_ns=read.from_ns,
                to_ns=read.to_ns,
                points_max=read.count,
                patient=scope.patient,
                claims=scope.claims,
            )
            try:
                answer = await self.client.ask(question, queries.Points)
            except NotFound:
                if read.device:
                    raise
                continue  # Another device of the patient measures it.
            found.append(DeviceTrend(device=device, points=answer.points))
        return found

    async def _shown(
        self,
        principal: Principal,
        read: Read,
        scope: queries.Scope,
        question: queries.Find | queries.LastN,
    ) -> bytes:
        """Return the answer once the audit log says who saw it."""
        asked = self.client.ask(question, queries.Page)
        if read.patient is not None or not scope.claims:
            # Whose values it shows is known now: the log is written while the record is searched.
            found, _ = await asyncio.gather(asked, self._audit(principal, read, ()))
        else:
            found = await asked
            await self._audit(principal, read, found.patients)
        return found.body

    async def scope(self, principal: Principal, read: Read) -> queries.Scope:
        """Return which part of the record a read is about."""
        sees_patients = self._may_see_patients(principal)
        if read.patient is not None and not sees_patients:
            raise NotPermitted(f"a {principal.kind.value} may not {Action.READ_PATIENT} here")
        from_ns, to_ns = read.from_ns, read.to_ns
        if read.patient is None:
            names = [await self._name(read.device)]
        else:
            own = await self.histories.history(patient=read.patient, from_ns=from_ns, to_ns=to_ns)
            names = sorted({a.device for a in own})
            if read.device:
                wanted = await self._name(read.device)
                names = [name for name in names if name == wanted]
            from_ns = max(from_ns, min((a.start_ns for a in own), default=from_ns))
            ends = [FOREVER_NS if a.end_ns is None else a.end_ns for a in own]
            to_ns = max(from_ns + 1, min(to_ns, max(ends, default=to_ns)))
        if len(names) > queries.DEVICES_MAX:
            raise LimitExceeded("too many devices in one search", hint="shorten the dates")
        # A value that lies after now is one of a fast clock; nothing else is to be looked for.
        to_ns = min(to_ns, max(from_ns + 1, self.clock() + BEFORE_NS))
        return queries.Scope(
            devices=tuple(names),
            claims=await self._claims(names, from_ns) if sees_patients else (),
            patient=read.patient.key() if read.patient else None,
            show_patients=sees_patients,
            unsigned=tuple(name for name in names if not self._signs(name)),
            codes=read.codes,
            from_ns=from_ns,
            to_ns=to_ns,
            received_from_ns=read.received_from_ns,
            received_to_ns=read.received_to_ns,
            declared=self._declared(names),
        )

    async def known(self) -> Sequence[KnownDevice]:
        """Return every device of the registry or the record, by name."""
        enrolled = {d.name: d for d in self.devices.known()}
        answer = await self.client.ask(queries.Known(), queries.KnownAnswer)
        gone = {
            name: KnownDevice(name=name, model="", signs=True, active=False)
            for name in answer.devices
            if name not in enrolled
        }
        return sorted({**enrolled, **gone}.values(), key=lambda device: device.name)

    def resolve(self, device: str, known: Sequence[KnownDevice]) -> KnownDevice:
        """Return the device of a name, key or reference.

        Raises:
            NotFound: None.
        """
        wanted = device.removeprefix(DEVICE_PREFIX)
        for each in known:
            if wanted in {each.name, self._key(each.name)}:
                return each
        raise NotFound("no such device in the registry or the record")

    def by_id(self, logical_id: str, known: Sequence[KnownDevice]) -> KnownDevice:
        """Return the device of a logical id of FHIR; raises NotFound."""
        for each in known:
            if logical_id == self._key(each.name):
                return each
        raise NotFound("no such device in the registry or the record")

    async def _name(self, device: str) -> str:
        """Return the name of a device, from the registry alone where that knows it.

        Raises:
            NotFound: None in the registry or the record.
        """
        name = device.removeprefix(DEVICE_PREFIX)
        if self.devices.named(name) is None:
            name = self.resolve(device, await self.known()).name
        return name

    def _signs(self, name: str) -> bool:
        device = self.devices.named(name)
        return device is None or device.signs

    async def metrics(self, device: str) -> Sequence[queries.KnownMetric]:
        """Return the metrics that were seen in a device's data."""
        question = queries.Known(device=device)
        return (await self.client.ask(question, queries.KnownAnswer)).metrics

    def _declared(self, names: Sequence[str]) -> tuple[queries.DeclaredMetric, ...]:
        if self.declared is None:
            return ()
        return tuple(
            queries.DeclaredMetric(
                device=name, code=each.code, unit=each.unit, low=each.low, high=each.high
            )
            for name in names
            for each in self.declared.metrics(name)
            if each.low is not None or each.high is not None
        )

    async def _claims(self, names: Sequence[str], from_ns: int) -> tuple[queries.ClaimMessage, ...]:
        # To the end of time: a value may have been measured at any moment up to its arrival.
        histories = await asyncio.gather(
            *(
                self.histories.history(
                    device=name, from_ns=max(0, from_ns - BEFORE_NS), to_ns=FOREVER_NS
                )
                for name in names
            )
        )
        claims = tuple(
            queries.ClaimMessage(
                device=a.device,
                patient=a.patient.key(),
                start_ns=a.start_ns,
                end_ns=FOREVER_NS if a.end_ns is None else a.end_ns,
            )
            for found in histories
            for a in found
        )
        if len(claims) > queries.CLAIMS_MAX:
            raise LimitExceeded("too many associations in one search", hint="shorten the dates")
        return claims

    async def _audit(self, principal: Principal, read: Read, patients: Sequence[str]) -> None:
        """Write who read whose values, before they are shown."""
        shown = {read.patient.key()} if read.patient else set(patients)
        actor = f"{principal.kind.value}:{principal.name}"
        now_ns = self.clock()
        fresh = [
            subject
            for subject in sorted(shown) or [read.device]
            if now_ns - self._audited.get((actor, subject), -AUDIT_EVERY_NS) >= AUDIT_EVERY_NS
        ]
        if not fresh:
            return
        subject = read.device or "patient"
        detail = {"kind": read.kind.value, "patients": fresh if shown else []}
        await self.audit.read(actor=actor, subject=subject, detail=detail)
        if len(self._audited) > AUDITED_MAX:
            self._audited.clear()
        self._audited.update({(actor, each): now_ns for each in fresh})

    def _key(self, name: str) -> str:
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = device_key(DeviceId(name))
        return key

    def _reach(self, principal: Principal) -> Reach:
        return self.consumers.get(principal.name, Reach.NONE)

    def _may_see_patients(self, principal: Principal) -> bool:
        """Whether somebody who may read the record may also learn whose it is."""
        if principal.kind is PrincipalKind.CONSUMER:
            return self._reach(principal) is Reach.PATIENTS
        try:
            decide(principal, Action.READ_PATIENT)
        except NotPermitted:
            return False
        return True
