"""Signed batches: from bytes to a durable record, a renewed lease and live numerics.

The order of the checks is the order of their cost to an attacker: structure, name, key and
signature, units, place in the sequence, journal. Nothing is live before it is durable.

Source: REQ-ORG.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import AsepsisError, Conflict, SignatureInvalid, TrustError
from asepsis.core.journal.ports import Append, Link, Outcome, Receipt
from asepsis.core.model.identity import Assurance
from asepsis.core.model.lanes import Account
from asepsis.core.model.observation import Observation
from asepsis.core.trust.origin import OriginVerifier
from asepsis.core.wire.origin import OriginBatch, decode_batch
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange.active import Place as RecordPlace
from asepsis.hub.exchange.intake import Accepted, Intake
from asepsis.hub.exchange.lease import Fact
from asepsis.hub.exchange.notices import of_batch
from asepsis.hub.exchange.rules import batch_lane
from asepsis.hub.exchange.window import LAG_NS_MAX, LagMeter, Place, send_late

KIND: Final = "origin-batch"
VERIFIERS_MAX: Final = 20_000
RECENT_BATCHES: Final = 8
"""Batches of a device that a FHIR bundle may still name: some seconds."""
SHAPES_MAX: Final = 65_536
_NUMERIC_BYTES: Final = 20
"""A numeric on the wire: handle, two bytes; MDC code, four; unit code, four; the rest."""


@dataclass(frozen=True, slots=True)
class SignedNumerics:
    """The numerics of a verified batch; observations are built when somebody looks.

    Attributes:
        batch: What was verified.
        received_at_ns: Wall time of arrival.
        late: Whether it came on the late lane.
    """

    batch: OriginBatch
    received_at_ns: int
    late: bool = False

    @property
    def device(self) -> str:
        """Who signed."""
        return self.batch.header.device.uri

    def observations(self) -> Sequence[Observation]:
        """Build the observations."""
        header = self.batch.header
        return tuple(
            Observation(
                device=header.device,
                assurance=Assurance.DEVICE_ORIGIN,
                numeric=numeric,
                epoch=header.epoch,
                sequence=header.sequence,
                device_time_ns=header.instant.wall_ns + numeric.offset_ms * 1_000_000,
                received_at_ns=self.received_at_ns,
                late=self.late,
            )
            for numeric in self.batch.numerics()
        )


class UnitGuard:
    """Checks the unit of every numeric; a device's combinations are the same every second.

    Args:
        check: Given MDC code and unit code, raises ContentMismatch if the unit's dimension does not
            fit the metric; `core.mapping.nomenclature.check_unit`.
    """

    def __init__(self, check: Callable[[int, int], object]) -> None:
        self._check = check
        self._good: set[bytes] = set()

    def require(self, batch: OriginBatch) -> None:
        """Check a batch.

        Raises:
            ContentMismatch: A unit of the wrong dimension.

        Source: REQ-OBS-004.
        """
        block = batch.numeric_block
        for at in range(0, len(block), _NUMERIC_BYTES):
            codes = block[at + 2 : at + 10]
            if codes not in self._good:
                self._check(int.from_bytes(codes[:4], "big"), int.from_bytes(codes[4:], "big"))
                if len(self._good) < SHAPES_MAX:
                    self._good.add(codes)


@dataclass(slots=True)
class SignedLane:
    """Takes origin batches on `/origin`, `/alerts` and `/late`.

    Attributes:
        intake: What the lanes share.
        units: Unit dimensions.
    """

    intake: Intake
    units: UnitGuard
    _verifiers: OrderedDict[bytes, OriginVerifier] = field(
        default_factory=OrderedDict[bytes, OriginVerifier]
    )
    _recent: dict[str, deque[OriginBatch]] = field(default_factory=dict[str, deque[OriginBatch]])

    async def receive(
        self, principal: Principal, action: Action, body: bytes, *, late: bool
    ) -> Receipt:
        """Take one batch.

        Args:
            principal: Who sends it: the device, or a gateway that declares it.
            action: What the access table calls it.
            body: The batch with its signature.
            late: Whether it came on the late lane.

        Raises:
            InputError: Malformed, too large, a unit that does not fit; or on a live lane, held back
                or overtaken: it is history and belongs on the late lane.
            TrustError: Not the sender's to send, unknown key, bad signature, a fork.
            TransientError: The journal is full or busy; nothing was stored.
        """
        batch = decode_batch(body)
        device = batch.header.device.uri
        await self.intake.may_speak(principal, action, device)
        await self._require_genuine(principal, device, batch)
        self.units.require(batch)
        received_at_ns = self.intake.clocks.wall()
        events = batch.alarm_events and not batch.header.lists_active
        if not late:
            await self._require_live(batch, has_events=bool(events))
        try:
            accepted = await self.intake.store(
                Append(
                    lane=batch_lane(late=late, has_alarms=bool(events)),
                    account=Account.ORIGIN,
                    producer=device,
                    epoch=batch.header.epoch,
                    sequence=batch.header.sequence,
                    kind=KIND,
                    body=body,
                    received_at_ns=received_at_ns,
                    link=Link(batch.digest, batch.header.previous),
                ),
                late=late,
            )
        except TrustError as error:
            await self.intake.refused(principal, device, error)
            raise
        if accepted.place is not None:  # A repeated one too: its first answer may have failed here.
            await self.intake.heard(device, batch.header.epoch)
        if events:
            self._follow_events(batch, accepted, received_at_ns)
        if accepted.live:
            self._show(device, batch, accepted, received_at_ns)
            self.intake.settle_list(device)
        return accepted.receipt

    def recent(self, device: str, epoch: int, sequence: int) -> OriginBatch:
        """Return a verified live batch of the last seconds.

        Raises:
            Conflict: Not received yet, or too long ago.
        """
        for batch in self._recent.get(device, ()):
            if batch.header.epoch == epoch and batch.header.sequence == sequence:
                return batch
        raise Conflict(
            "the signed batch that the bundle names is not here",
            hint="send the batch first, then the bundle within a few seconds",
        )

    def forget(self, device: str) -> None:
        """Drop what is remembered of a revoked device."""
        self._recent.pop(device, None)

    async def _require_genuine(self, principal: Principal, device: str, batch: OriginBatch) -> None:
        try:
            spki = self.intake.directory.origin_key(device, batch.header.key_id)
            self._verifier(spki).verify(batch)
        except AsepsisError as error:
            refusal = SignatureInvalid("the batch is not signed by this device's origin key")
            await self.intake.forged(principal, device, refusal)
            raise refusal from error

    def _verifier(self, spki: bytes) -> OriginVerifier:
        found = self._verifiers.get(spki)
        if found is None:
            found = self._verifiers[spki] = OriginVerifier(spki)
            if len(self._verifiers) > VERIFIERS_MAX:
                self._verifiers.popitem(last=False)
        return found

    async def _require_live(self, batch: OriginBatch, *, has_events: bool) -> None:
        """Refuse what is history, before it can reach a receiver of the lane.

        A repeated batch is answered as the first time, however old it is.

        Raises:
            Conflict: Held back, or its alarm events are older than the newest list.

        Source: REQ-OBS-013, REQ-ALM-016.
        """
        place = _place(batch)
        if await self.intake.is_repeated(Account.ORIGIN, place):
            return
        if self._lag_ns(batch) > LAG_NS_MAX:
            raise send_late("held back on its way")
        if has_events:
            self.intake.require_before_list(place.producer, place)

    def _lag_ns(self, batch: OriginBatch) -> int:
        lag = self.intake.lags.setdefault(batch.device.uri, LagMeter())
        now_ns = self.intake.clocks.monotonic()
        header = batch.header
        return lag.lag_ns(header.epoch, header.instant.monotonic_ns, now_ns=now_ns)

    def _show(
        self, device: str, batch: OriginBatch, accepted: Accepted, received_at_ns: int
    ) -> None:
        intake = self.intake
        now_ns = intake.clocks.monotonic()
        if accepted.epoch_started:
            intake.supervisor.fact(device, Fact.EPOCH_STARTED)
        lag_ns = self._lag_ns(batch)
        if lag_ns > LAG_NS_MAX:
            return  # It grew old in the journal's queue: it is history, it renews no lease.
        header = batch.header
        intake.supervisor.batch_accepted(device, state=header.clinical_state)
        self._remember(device, batch)
        if batch.digest_block:
            proven = intake.digests.promise(
                device,
                [d.sha256 for d in batch.waveform_digests()],
                now_ns=now_ns,
                until_ns=now_ns + LAG_NS_MAX - lag_ns,
            )
            if proven:
                intake.feed.waveforms(device, proven, Assurance.DEVICE_ORIGIN)
        if accepted.place is Place.NEWER:
            intake.feed.numerics(SignedNumerics(batch, received_at_ns))
        if header.lists_active:
            active = of_batch(batch, received_at_ns=received_at_ns)
            intake.alarms_listed(device, active, _place(batch))

    def _follow_events(self, batch: OriginBatch, accepted: Accepted, received_at_ns: int) -> None:
        if accepted.receipt.outcome is not Outcome.STORED:
            return
        notices = of_batch(batch, received_at_ns=received_at_ns)
        if accepted.live:
            position = accepted.receipt.position
            self.intake.supervisor.alarms(notices, _place(batch), position=position)
        else:
            self.intake.supervisor.alarms_late(notices)

    def _remember(self, device: str, batch: OriginBatch) -> None:
        recent = self._recent.get(device)
        if recent is None:
            recent = self._recent[device] = deque(maxlen=RECENT_BATCHES)
        recent.append(batch)


def _place(batch: OriginBatch) -> RecordPlace:
    return RecordPlace(batch.device.uri, batch.epoch, batch.sequence)
