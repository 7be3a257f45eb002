"""FHIR bundles: beside a signed batch they must equal it, without one they stand for themselves.

Source: REQ-OBS-004 to -008, REQ-ID-021 (a device speaks only for itself); HL7 PoCD 1.0.0-ballot3.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import ContentMismatch, InputError
from asepsis.core.journal.ports import Append, Link, Receipt
from asepsis.core.mapping.fhir_compare import equal_to_signed
from asepsis.core.mapping.fhir_numeric import (
    NS_PER_MS,
    device_key,
    effective_ns,
    observation_to_numerics,
)
from asepsis.core.mapping.fhir_time import from_date_time
from asepsis.core.model.identity import Assurance, DeviceId, PrincipalKind
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import Observation as LiveObservation
from asepsis.core.wire.fhir import EUI64_SYSTEM, Bundle, Device, Observation
from asepsis.core.wire.fhir_codec import decode_bundle
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.active import Place as RecordPlace
from asepsis.hub.exchange.claimed import Claim
from asepsis.hub.exchange.intake import Accepted, Intake
from asepsis.hub.exchange.signed import SignedLane
from asepsis.hub.exchange.window import LAG_NS_MAX, Place

KIND: Final = "fhir-bundle"
URI_SYSTEM: Final = "urn:ietf:rfc:3986"
BUNDLE_TYPES: Final = frozenset({"transaction", "batch", "collection", "message"})
_OUR_REFERENCE: Final = re.compile(r"(?:Device|DeviceMetric)/([0-9a-f]{32})(?:-\d{1,5})?")
_SEPARATORS: Final = str.maketrans("", "", "-:")


@dataclass(frozen=True, slots=True)
class BundleNumerics:
    """The numerics of an accepted unsigned bundle, for live views."""

    device: str
    received_at_ns: int
    built: tuple[LiveObservation, ...]

    def observations(self) -> Sequence[LiveObservation]:
        """Return the observations."""
        return self.built


@dataclass(frozen=True, slots=True)
class _Told:
    """An unsigned bundle: bytes, values, number, and when it was made, if it says so."""

    body: bytes
    observations: Sequence[Observation]
    numbering: tuple[int, int]
    made_ns: int | None

    def claim(self, producer: str, device: str) -> Claim | None:
        """Return when it was made; None if it says no time, and so renews nothing."""
        if self.made_ns is None:
            return None
        return Claim(
            account=Account.FHIR,
            producer=producer,
            device=device,
            epoch=self.numbering[0],
            made_ns=self.made_ns,
        )


@dataclass(slots=True)
class BundleLane:
    """Takes bundles on `/fhir` and `/late`.

    Attributes:
        intake: What the lanes share.
        signed: Knows the verified batches of the last seconds.
    """

    intake: Intake
    signed: SignedLane

    async def receive(
        self,
        principal: Principal,
        action: Action,
        body: bytes,
        *,
        numbering: tuple[int, int] | None,
        late: bool,
    ) -> Receipt:
        """Take one bundle.

        Args:
            principal: Who sends it.
            action: What the access table calls it.
            body: FHIR JSON.
            numbering: Epoch and sequence of a source without an origin key.
            late: Whether it came on the late lane.

        Raises:
            InputError: Malformed, unlike its signed batch, a unit that does not fit, not live.
            TrustError: Not the sender's to send.
            TransientError: The journal is full or busy; nothing was stored.
        """
        bundle = decode_bundle(body).resource
        if bundle.type not in BUNDLE_TYPES:
            raise ContentMismatch("a bundle of this type is not taken", hint="send a transaction")
        device = _device_of(bundle, principal)
        await self.intake.may_speak(principal, action, device)
        observations = [e.resource for e in bundle.entry if isinstance(e.resource, Observation)]
        if self.intake.facts(device).signs:
            rules.require_unsigned_allowed(signs=late, what="late bundle")
            return await self._beside_batch(principal, device, bundle, observations, body)
        if numbering is None:
            raise InputError("the headers Asepsis-Epoch and Asepsis-Sequence are missing")
        told = _Told(
            body, observations, numbering=numbering, made_ns=_made_ns(bundle, observations)
        )
        return await self._alone(principal, device, told, late=late)

    async def _beside_batch(
        self,
        principal: Principal,
        device: str,
        bundle: Bundle,
        observations: Sequence[Observation],
        body: bytes,
    ) -> Receipt:
        identifier = bundle.identifier.value if bundle.identifier else None
        try:
            epoch, sequence = rules.batch_named_by(identifier)
            batch = self.signed.recent(device, epoch, sequence)
            _require_own_references(observations, device)
            equal_to_signed(
                observations,
                batch.numerics(),
                device=batch.device,
                start_ns=batch.instant.wall_ns,
            )
        except ContentMismatch as error:
            await self.intake.forged(principal, device, error)
            raise
        accepted = await self._store(device, body, (epoch, sequence), late=False)
        return accepted.receipt

    async def _alone(
        self, principal: Principal, device: str, told: _Told, *, late: bool
    ) -> Receipt:
        _require_own_references(told.observations, device)
        proven = rules.assurance(
            principal,
            device,
            signed=False,
            observed=self.intake.directory.observed(principal.name, device),
        )
        built = _observations(
            told, DeviceId(device), proven, received_at_ns=self.intake.clocks.wall()
        )
        claim = told.claim(principal.name, device)
        if not late:
            await self._require_live(principal.name, told, claim)
        accepted = await self._store(principal.name, told.body, told.numbering, late=late)
        if accepted.place is not None:
            await self.intake.heard(device, told.numbering[0])
        # Again: it may have grown old in the journal's queue.
        if accepted.live and claim is not None and self.intake.claimed.is_current(claim):
            self.intake.supervisor.batch_accepted(device, state=None)
            if accepted.place is Place.NEWER and built:
                batch = BundleNumerics(device, built[0].received_at_ns, built)
                self.intake.feed.numerics(batch)
        return accepted.receipt

    async def _require_live(self, producer: str, told: _Told, claim: Claim | None) -> None:
        """Refuse what is history; a repeated bundle is answered as the first time.

        Raises:
            Conflict: Held back, or by a clock that is wrong.

        Source: REQ-OBS-014.
        """
        place = RecordPlace(producer, *told.numbering)
        if not await self.intake.is_repeated(Account.FHIR, place) and claim is not None:
            self.intake.claimed.require_current(claim)

    async def _store(
        self, producer: str, body: bytes, numbering: tuple[int, int], *, late: bool
    ) -> Accepted:
        return await self.intake.store(
            Append(
                lane=Lane.LATE if late else Lane.VITALS,
                account=Account.FHIR,
                producer=producer,
                epoch=numbering[0],
                sequence=numbering[1],
                kind=KIND,
                body=body,
                received_at_ns=self.intake.clocks.wall(),
                link=Link.of(body),
            ),
            late=late,
        )


def claimed_devices(bundle: Bundle) -> frozenset[str]:
    """Return the names of all devices that a bundle describes.

    Raises:
        InputError: An identifier of a device system that is no device name.

    Source: HL7 PoCD MdsDevice (EUI-64 identifier).
    """
    names: set[str] = set()
    for entry in bundle.entry:
        if isinstance(entry.resource, Device):
            for identifier in entry.resource.identifier:
                if identifier.system == EUI64_SYSTEM:
                    digits = (identifier.value or "").translate(_SEPARATORS).lower()
                    names.add(DeviceId.parse(f"urn:dev:mac:{digits}").uri)
                elif identifier.system == URI_SYSTEM:
                    names.add(DeviceId.parse(identifier.value or "").uri)
    return frozenset(names)


def _device_of(bundle: Bundle, principal: Principal) -> str:
    """Return whom the bundle is about; what it claims is judged by the access table."""
    names = claimed_devices(bundle)
    if principal.kind is PrincipalKind.DEVICE:
        foreign = sorted(names - {principal.name})
        return foreign[0] if foreign else principal.name
    if len(names) != 1:
        raise ContentMismatch(
            "a gateway's bundle describes exactly one device",
            hint="one Device resource with an EUI-64 or UDI identifier",
        )
    return next(iter(names))


def _require_own_references(observations: Iterable[Observation], device: str) -> None:
    """Refuse references that carry the key of another device.

    Raises:
        ContentMismatch: An observation refers to another device's metric.
    """
    own = device_key(DeviceId(device))
    for observation in observations:
        for reference in (observation.device, observation.subject):
            text = (reference.reference if reference else None) or ""
            found = _OUR_REFERENCE.fullmatch(text)
            if found and found[1] != own:
                raise ContentMismatch("an observation refers to another device")


def _measured(observations: Sequence[Observation]) -> list[Observation]:
    return [o for o in observations if o.value_quantity or o.component or o.data_absent_reason]


def _until_ns(observation: Observation) -> int:
    """Return until when a value was measured: of a period its end."""
    period = observation.effective_period
    end = period.end if period else None
    return from_date_time(end) if end else effective_ns(observation)


def _made_ns(bundle: Bundle, observations: Sequence[Observation]) -> int | None:
    """Return when a bundle was made: as it says, else when its newest value was measured."""
    if bundle.timestamp is not None:
        return from_date_time(bundle.timestamp)
    return max((_until_ns(observation) for observation in _measured(observations)), default=None)


def _observations(
    told: _Told, device: DeviceId, proven: Assurance, *, received_at_ns: int
) -> tuple[LiveObservation, ...]:
    """Map what can be mapped; this is also the check of codes, units and numbers.

    Returns:
        The values of the present; one that the source measured long before is not live.
    """
    measured = _measured(told.observations)
    if not measured:
        return ()
    start_ns = min(effective_ns(observation) for observation in measured)
    epoch, sequence = told.numbering
    mapped = [
        (o, observation_to_numerics(o, device=device, start_ns=start_ns).value) for o in measured
    ]
    made_ns = told.made_ns or 0
    return tuple(
        LiveObservation(
            device=device,
            assurance=proven,
            numeric=numeric,
            epoch=epoch,
            sequence=sequence,
            device_time_ns=start_ns + numeric.offset_ms * NS_PER_MS,
            received_at_ns=received_at_ns,
            late=False,
        )
        for observation, numerics in mapped
        if made_ns - _until_ns(observation) <= LAG_NS_MAX
        for numeric in numerics
    )
