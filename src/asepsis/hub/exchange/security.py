"""Security events of devices: verified, written into the audit log, and where grave an alarm.

They are for the security team and reach no chart and no consumer. An event is acknowledged once it
stands in the audit log, so one that is repeated after a failure may stand there twice.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.journal.ports import Outcome, Receipt
from asepsis.core.wire.security_event import decode
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange.genuine import require_genuine
from asepsis.hub.exchange.intake import Intake
from asepsis.hub.exchange.lease import Fact

ACTION: Final = "report-denial"
DEVICES_MAX: Final = 20_000


@dataclass(slots=True)
class SecurityLane:
    """Takes security events on `/alerts` and `/late`.

    Attributes:
        intake: What the lanes share.
    """

    intake: Intake
    _seen: OrderedDict[str, tuple[int, int]] = field(
        default_factory=OrderedDict[str, tuple[int, int]]
    )

    async def receive(self, principal: Principal, action: Action, body: bytes) -> Receipt:
        """Take one event.

        Raises:
            FramingError: Malformed.
            TrustError: Not the sender's to send, unknown key, bad signature.
            TransientError: The audit log takes nothing now.
        """
        event, signed, signature = decode(body)
        device = event.device.uri
        await self.intake.may_speak(principal, action, device)
        await require_genuine(
            self.intake,
            principal,
            device=device,
            key_id=event.key_id,
            signed=signed,
            signature=signature,
        )
        before = self._seen.get(device, (0, 0))
        place = (event.epoch, event.sequence)
        if place == before:
            return Receipt(Outcome.DUPLICATE, 0)
        await self.intake.audit.report(
            device=device,
            action=ACTION,
            detail={
                "source": event.source,
                "kind": event.kind.name.lower(),
                "alarm": event.alarm,
                "count": event.count,
                "text": event.text,
                "device_time_ns": event.wall_ns,
                "epoch": event.epoch,
                "sequence": event.sequence,
                "missing": _missing(before, place),
            },
        )
        if event.alarm:
            self.intake.supervisor.fact(device, Fact.INTRUSION_TOLD)
        if place > before:
            self._seen[device] = place
            self._seen.move_to_end(device)
            if len(self._seen) > DEVICES_MAX:
                self._seen.popitem(last=False)
        return Receipt(Outcome.STORED, 0)


def _missing(before: tuple[int, int], place: tuple[int, int]) -> int:
    """Return how many events were skipped since the last one of the same epoch."""
    if before[0] != place[0]:
        return place[1] - 1 if before[0] else 0
    return max(0, place[1] - before[1] - 1)
