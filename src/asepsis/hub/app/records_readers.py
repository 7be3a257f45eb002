"""Reads for the record what the exchange owns: alarm events, bundles, messages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.journal.ports import Append, Record
from asepsis.core.mapping.fhir_numeric import effective_ns, observation_to_numerics
from asepsis.core.mapping.pcd01 import numerics_of_message
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.observation import Numeric
from asepsis.core.wire.fhir import Bundle, Observation
from asepsis.core.wire.fhir_codec import decode_bundle
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.bundles import claimed_devices
from asepsis.hub.exchange.ports import DeviceFacts
from asepsis.hub.exchange.projection import AlarmProjection
from asepsis.hub.records.ports import Measured

OFFSET_MS_MAX: Final = 65_535
NS_PER_MS: Final = 1_000_000
_SURE: Final = frozenset((Certainty.OFFSET, Certainty.ZONE, Certainty.AMBIGUOUS))


class NoEvidence:
    """A directory for reading only: nobody has network evidence of a device.

    The record says the least that is proven; see `hub.adapters.BookDirectory.observed`.
    """

    def device(self, name: str) -> DeviceFacts:
        """Say nothing of a device: who reads a stored record asks for no facts."""
        raise InputError(f"{name}: no facts in the record")

    def origin_key(self, name: str, key_id: bytes) -> bytes:
        """Give no key: signatures were verified before the record was stored."""
        raise InputError(f"{name}: no key {key_id.hex()} in the record")

    def observed(self, gateway: str, device: str) -> bool:  # noqa: ARG002 - see above
        """Say that there is no evidence."""
        return False

    def check_source(self, gateway: str, message_type: str) -> None:
        """Ask nobody: who might bring a message was decided before it was stored."""
        raise InputError(f"{gateway}: no delegations in the record for {message_type}")

    def check_type(self, gateway: str, device: str, what: str) -> None:
        """Ask nobody, as `check_source`."""
        raise InputError(f"{gateway}: no delegations in the record for {what} of {device}")


@dataclass(frozen=True, slots=True)
class ExchangeReaders:
    """Implements the record's `Readers`."""

    projection: AlarmProjection

    def alarms(self, record: Record) -> Sequence[AlarmNotice]:
        """Return the alarm events of a record."""
        return self.projection(record)

    def bundle(self, record: Record) -> Sequence[Measured]:
        """Return the numerics of a FHIR bundle, cut where offsets would not fit.

        Raises:
            InputError: Not a bundle that was taken.
        """
        append = record.append
        bundle = decode_bundle(append.body).resource
        name = _device_of(bundle, append)
        return tuple(
            Measured(
                device=name,
                assurance=_assurance(append.producer, name),
                start_ns=start_ns,
                numerics=numerics,
                beside_batch=_names_batch(bundle, append, name),
            )
            for start_ns, numerics in _intervals(bundle, DeviceId(name))
        )

    def message(self, record: Record) -> Sequence[Measured]:
        """Return the numerics of an HL7 v2 record.

        Raises:
            InputError: Not a record of the message lane.
        """
        append = record.append
        found = numerics_of_message(append.kind, append.body, sequence=append.sequence).value
        return tuple(
            Measured(
                device=each.device.uri,
                assurance=Assurance.SOURCE_CLAIMED,
                start_ns=each.start_ns,
                numerics=each.numerics,
                later_by_ns=each.later_by_ns,
                time_known=each.certainty in _SURE,
                other_patient=each.other_patient,
            )
            for each in found
        )


def make_readers() -> ExchangeReaders:
    """Return the readers of the process that keeps the record."""
    return ExchangeReaders(AlarmProjection(NoEvidence()))


def _assurance(producer: str, device: str) -> Assurance:
    return Assurance.DEVICE_CERTIFICATE if producer == device else Assurance.SOURCE_CLAIMED


def _device_of(bundle: Bundle, append: Append) -> str:
    """Return whom a stored bundle is about; a gateway's names exactly one device."""
    names = claimed_devices(bundle)
    if append.producer.startswith("urn:uuid:"):
        if len(names) != 1:
            raise InputError("a gateway's bundle describes exactly one device")
        return next(iter(names))
    return append.producer


def _names_batch(bundle: Bundle, append: Append, device: str) -> bool:
    if append.producer != device or bundle.identifier is None:
        return False
    try:
        named = rules.batch_named_by(bundle.identifier.value)
    except InputError:
        return False
    return named == (append.epoch, append.sequence)


def _intervals(bundle: Bundle, device: DeviceId) -> Iterator[tuple[int, tuple[Numeric, ...]]]:
    measured = sorted(
        (
            (effective_ns(e.resource), e.resource)
            for e in bundle.entry
            if isinstance(e.resource, Observation) and _is_measured(e.resource)
        ),
        key=lambda found: found[0],
    )
    start_ns, numerics = 0, list[Numeric]()
    for at_ns, observation in measured:
        if numerics and (at_ns - start_ns) // NS_PER_MS > OFFSET_MS_MAX:
            yield start_ns, tuple(numerics)
            numerics = []
        if not numerics:
            start_ns = at_ns
        mapped = observation_to_numerics(observation, device=device, start_ns=start_ns)
        numerics += mapped.value
    if numerics:
        yield start_ns, tuple(numerics)


def _is_measured(observation: Observation) -> bool:
    return bool(
        observation.value_quantity or observation.component or observation.data_absent_reason
    )
