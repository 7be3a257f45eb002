"""Which HL7 v2 messages are of the present, and their values for live views.

A sender without our standard proves nothing about time, so a value goes live only where three
things agree: the gateway measured that it did not hold the message back, the sender's own time is
that of now, and it is no older than what was shown last. Everything else is in the record only.

Source: REQ-MSG-011, REQ-MSG-012; REQ-OBS (late values never enter a live view).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.mapping.pcd01 import NS_PER_MS, TimeOf, numerics_of_entry, times_of
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.lanes import Account
from asepsis.core.model.observation import Observation
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry
from asepsis.hub.access.principal import Principal
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.claimed import Claim
from asepsis.hub.exchange.intake import Intake

AGE_MS_MAX: Final = 5_000
"""A message that waited longer in its gateway is of the past."""
CLOCK_NS_MAX: Final = 10_000_000_000
"""A value whose own time is further from the hub's is not known to be of the present."""
CONTINUED_NS_MAX: Final = 30_000_000_000
"""In the second pass of a repeated hour a stream of values that never paused longer goes on."""


def is_current(time: TimeOf, *, now_ns: int, last_ns: int) -> bool:
    """Tell whether a value measured at `time` is of the present.

    In the hour that clocks repeat a time without offset means two instants. In its first pass the
    later one has not come yet, so the earlier is meant. In its second pass an old message of the
    first would look like a new one; there only a stream that never paused is believed.

    Args:
        time: When it was measured, by the sender's clock.
        now_ns: Wall time of the hub, nanoseconds since 1970.
        last_ns: Time of the newest value of its device that was shown, 0 if none was.
    """
    if time.certainty is Certainty.AMBIGUOUS:
        later_ns = time.at_ns + time.later_by_ns
        if abs(now_ns - later_ns) <= CLOCK_NS_MAX:
            return 0 <= later_ns - last_ns <= CONTINUED_NS_MAX
    elif time.certainty not in {Certainty.OFFSET, Certainty.ZONE}:
        return False
    return abs(now_ns - time.at_ns) <= CLOCK_NS_MAX and time.at_ns >= last_ns


def instant_ns(time: TimeOf, *, now_ns: int) -> int:
    """Return the one of two possible instants that is nearer to now."""
    later_ns = time.at_ns + time.later_by_ns
    return min(time.at_ns, later_ns, key=lambda at_ns: abs(now_ns - at_ns))


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMessage:
    """The current values of one device in a stored message, built when somebody looks.

    Attributes:
        device: Whose values they are.
        assurance: How far that is proven.
        entry: The message.
        message: The same, parsed.
        epoch: Boot epoch of the gateway.
        received_at_ns: Wall time of the hub at arrival.
        last_ns: Time of the newest value that was shown before.
    """

    device: str
    assurance: Assurance
    entry: MessageEntry
    message: Message
    epoch: int
    received_at_ns: int
    last_ns: int

    def observations(self, *, unfit: bool = False) -> Sequence[Observation]:
        """Build the observations.

        Args:
            unfit: Whether values in a unit that their metric never has are wanted; only for who
                marks them.
        """
        now_ns = self.received_at_ns
        return tuple(
            Observation(
                device=DeviceId(self.device),
                assurance=self.assurance,
                numeric=numeric,
                epoch=self.epoch,
                sequence=self.entry.sequence,
                device_time_ns=instant_ns(time, now_ns=now_ns),
                received_at_ns=now_ns,
                late=False,
            )
            for found in numerics_of_entry(self.entry, self.message, unfit=unfit).value
            if found.device.uri == self.device
            for numeric in found.numerics
            if is_current(
                time := TimeOf(
                    found.start_ns + numeric.offset_ms * NS_PER_MS,
                    found.later_by_ns,
                    found.certainty,
                ),
                now_ns=now_ns,
                last_ns=self.last_ns,
            )
        )


@dataclass(slots=True)
class LiveMessages:
    """Offers what is current, and renews the leases of the devices that sent it.

    Attributes:
        intake: What the lanes share.
    """

    intake: Intake
    _shown_ns: dict[str, int] = field(default_factory=dict[str, int])

    async def offer(
        self,
        principal: Principal,
        messages: Sequence[tuple[MessageEntry, Message]],
        *,
        epoch: int,
        age_ms: int,
        now_ns: int,
    ) -> None:
        """Offer the current values of durable messages.

        Args:
            principal: The gateway.
            messages: Of one group, in order.
            epoch: Boot epoch of the gateway.
            age_ms: How long the gateway held them, by its monotonic clock.
            now_ns: Wall time of the hub at arrival.

        Raises:
            TransientError: The journal could not take a device under supervision.
        """
        if not self.is_prompt(principal.name, messages, epoch=epoch, age_ms=age_ms):
            return
        for entry, message in messages:
            for device, times in times_of(entry, message).items():
                last_ns = self._shown_ns.get(device, 0)
                current = [
                    instant_ns(time, now_ns=now_ns)
                    for time in times
                    if is_current(time, now_ns=now_ns, last_ns=last_ns)
                ]
                if not current:
                    continue
                self._shown_ns[device] = max(current)
                observed = self.intake.directory.observed(principal.name, device)
                live = LiveMessage(
                    device=device,
                    assurance=rules.assurance(principal, device, signed=False, observed=observed),
                    entry=entry,
                    message=message,
                    epoch=epoch,
                    received_at_ns=now_ns,
                    last_ns=last_ns,
                )
                await self._offer(live)

    def is_prompt(
        self,
        gateway: str,
        messages: Sequence[tuple[MessageEntry, Message]],
        *,
        epoch: int,
        age_ms: int,
    ) -> bool:
        """Whether gateway and network brought a group as quickly as usual, by the gateway's clock.

        Args:
            gateway: Its name.
            messages: Of the group.
            epoch: Boot epoch of the gateway.
            age_ms: How long the gateway held them, by its monotonic clock.

        Source: REQ-OBS-014.
        """
        if age_ms > AGE_MS_MAX:
            return False
        found = messages[0][0].findings if messages else None
        if found is None:
            return False
        sent_ns = found.arrived_at_ns + age_ms * NS_PER_MS
        claim = Claim(
            account=Account.MESSAGE, producer=gateway, device="", epoch=epoch, made_ns=sent_ns
        )
        return self.intake.claimed.is_prompt(claim)

    async def _offer(self, live: LiveMessage) -> None:
        await self.intake.heard(live.device, live.epoch)
        self.intake.supervisor.batch_accepted(live.device, state=None)
        self.intake.feed.numerics(live)

    def forget(self, device: str) -> None:
        """Drop what is remembered of a revoked device."""
        self._shown_ns.pop(device, None)
