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
from asepsis.core.model.identity import Assurance, DeviceId, PrincipalKind
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import Observation as LiveObservation
from asepsis.core.wire.fhir import EUI64_SYSTEM, Bundle, Device, Observation
from asepsis.core.wire.fhir_codec import decode_bundle
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.intake import Accepted, Intake
from asepsis.hub.exchange.signed import SignedLane
from asepsis.hub.exchange.window import Place

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
        self.intake.may_speak(principal, action, device)
        observations = [e.resource for e in bundle.entry if isinstance(e.resource, Observation)]
        if self.intake.facts(device).signs:
            rules.require_unsigned_allowed(signs=late, what="late bundle")
            return await self._beside_batch(principal, device, bundle, observations, body)
        if numbering is None:
            raise InputError("the headers Asepsis-Epoch and Asepsis-Sequence are missing")
        return await self._alone(
            principal, device, observations, body, numbering=numbering, late=late
        )

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
        self,
        principal: Principal,
        device: str,
        observations: Sequence[Observation],
        body: bytes,
        *,
        numbering: tuple[int, int],
        late: bool,
    ) -> Receipt:
        _require_own_references(observations, device)
        proven = rules.assurance(
            principal,
            device,
            signed=False,
            observed=self.intake.directory.observed(principal.name, device),
        )
        built = _observations(
            observations,
            DeviceId(device),
            proven,
            numbering=numbering,
            received_at_ns=self.intake.clocks.wall(),
        )
        accepted = await self._store(principal.name, body, numbering, late=late)
        if accepted.place is not None:
            await self.intake.heard(device, numbering[0])
        if accepted.live:
            self.intake.supervisor.batch_accepted(device, state=None)
            if accepted.place is Place.NEWER and built:
                batch = BundleNumerics(device, built[0].received_at_ns, built)
                self.intake.feed.numerics(batch)
        return accepted.receipt

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


def _observations(
    observations: Sequence[Observation],
    device: DeviceId,
    proven: Assurance,
    *,
    numbering: tuple[int, int],
    received_at_ns: int,
) -> tuple[LiveObservation, ...]:
    """Map what can be mapped; this is also the check of codes, units and numbers."""
    measured = [o for o in observations if o.value_quantity or o.component or o.data_absent_reason]
    if not measured:
        return ()
    start_ns = min(effective_ns(observation) for observation in measured)
    epoch, sequence = numbering
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
        for observation in measured
        for numeric in observation_to_numerics(observation, device=device, start_ns=start_ns).value
    )
