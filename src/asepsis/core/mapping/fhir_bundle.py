"""Observations of one interval as a FHIR transaction that names the batch it stands beside.

Source: HL7 FHIR R4 Bundle; REQ-OBS-007.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.mapping.fhir_numeric import (
    Origin,
    effective_ns,
    numeric_to_observation,
    observation_to_numerics,
)
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.mapping.loss import Mapped
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import Numeric
from asepsis.core.wire.fhir import Bundle, BundleEntry, BundleRequest, Observation
from asepsis.core.wire.fhir_types import Identifier

BATCH_SYSTEM: Final = "urn:uuid:5f0c3a52-6d1e-4b0c-9a35-2f4f7f6f0c7e"
"""Identifier system of an origin batch; its value is `epoch.sequence`, both decimal."""

_DIGITS_MAX: Final = 20  # A 64-bit number.


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleNumerics:
    """The numerics of a bundle, on one time scale.

    Attributes:
        start_ns: Earliest time in the bundle, nanoseconds since 1970; offsets count from it.
        numerics: In the order of the bundle.
    """

    start_ns: int
    numerics: tuple[Numeric, ...]


def numerics_to_bundle(
    numerics: Sequence[Numeric], origin: Origin, *, epoch: int, sequence: int
) -> Mapped[Bundle]:
    """Map the numerics of one batch to a transaction of NumericObservations.

    Args:
        numerics: Of one interval.
        origin: Device, patient and start of the interval.
        epoch: Boot epoch of the device.
        sequence: Number of the batch in its epoch.

    Raises:
        InputError: A time outside of the years 1970 to 9999.

    Source: HL7 FHIR R4 Bundle (transaction); HL7 PoCD NumericObservation; REQ-OBS-007.
    """
    losses: list[str] = []
    entries: list[BundleEntry] = []
    for index, numeric in enumerate(numerics):
        mapped = numeric_to_observation(numeric, origin)
        losses.extend(f"entry {index}: {loss}" for loss in mapped.losses)
        name = f"{origin.device.uri}#{epoch}.{sequence}.{index}"
        entries.append(
            BundleEntry(
                full_url=f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}",
                resource=mapped.value,
                request=BundleRequest(method="POST", url="Observation"),
            )
        )
    bundle = Bundle(
        identifier=Identifier(system=BATCH_SYSTEM, value=f"{epoch}.{sequence}"),
        type="transaction",
        timestamp=to_instant(origin.start_ns),
        entry=tuple(entries),
    )
    return Mapped(bundle, tuple(losses))


def batch_of(bundle: Bundle) -> tuple[int, int] | None:
    """Return epoch and sequence of the batch that a bundle names, or None if it names none.

    Raises:
        InputError: It names one, but not as two decimal numbers.

    Source: REQ-OBS-007.
    """
    identifier = bundle.identifier
    if identifier is None or identifier.system != BATCH_SYSTEM:
        return None
    epoch, _, sequence = (identifier.value or "").partition(".")
    if not all(d.isascii() and d.isdigit() and len(d) <= _DIGITS_MAX for d in (epoch, sequence)):
        raise InputError("a batch is named as epoch.sequence, two decimal numbers")
    return int(epoch), int(sequence)


def observations_of(bundle: Bundle) -> tuple[Observation, ...]:
    """Return the observations of a transaction or collection, in order.

    Raises:
        InputError: Another kind of bundle, an entry without resource, or a request that is
            neither POST nor PUT: devices add measurements, they do not delete or search.

    Source: HL7 FHIR R4 Bundle (transaction, collection).
    """
    if bundle.type not in {"transaction", "batch", "collection"}:
        raise InputError("a device sends a transaction, batch or collection")
    found: list[Observation] = []
    for index, entry in enumerate(bundle.entry):
        if entry.request is not None and entry.request.method not in {"POST", "PUT"}:
            raise InputError(f"entry {index} asks for something else than to store")
        if entry.resource is None:
            raise InputError(f"entry {index} has no resource")
        if isinstance(entry.resource, Observation):
            found.append(entry.resource)
    return tuple(found)


def bundle_to_numerics(bundle: Bundle, *, device: DeviceId) -> Mapped[BundleNumerics]:
    """Map the numeric observations of a bundle; waveforms and texts in it are counted as lost.

    Raises:
        InputError: No measurement in it, or one that is none; see `observation_to_numerics`.
        ContentMismatch: A unit of the wrong dimension.
        LimitExceeded: A number or unit beyond its limits.

    Source: HL7 PoCD NumericObservation, CompoundNumericObservation.
    """
    losses: list[str] = []
    numeric = [o for o in observations_of(bundle) if _is_numeric(o, losses)]
    if not numeric:
        raise InputError("a bundle without a single numeric observation")
    start_ns = min(effective_ns(observation) for observation in numeric)
    values: list[Numeric] = []
    for observation in numeric:
        mapped = observation_to_numerics(observation, device=device, start_ns=start_ns)
        values.extend(mapped.value)
        losses.extend(mapped.losses)
    return Mapped(BundleNumerics(start_ns=start_ns, numerics=tuple(values)), tuple(losses))


def _is_numeric(observation: Observation, losses: list[str]) -> bool:
    for part in observation.component or (observation,):
        others = (
            part.value_sampled_data,
            part.value_codeable_concept,
            part.value_string,
            part.value_ratio,
            part.value_integer,
        )
        if any(other is not None for other in others):
            losses.append("observation: its kind of value is no numeric")
            return False
    return True
