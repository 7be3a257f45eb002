"""Alerts of HL7 v2 senders (IHE ACM) as alarm events of their devices.

The message is durable in its own lane; what it tells of a condition gets a record of the alert
lane, written by the hub as for all that no device told on that lane, and before the message is
answered. A sender repeats what was not answered, and an event that is known already is not told
again, so none is lost in between and none is told twice.

An alert is as much of the present as a value is: late in its gateway, after it, or by a clock that
is not that of the hub, it makes nothing active; only its end counts.

Source: REQ-MSG-011, REQ-ALM-012, REQ-ALM-016; IHE PCD TF-2 section 3.4 (PCD-04).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from asepsis.core.mapping.pcd04 import DeviceAlarm, alarms_of_entry, is_alert
from asepsis.core.model.alarm import AlarmNotice, AlarmPhase
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry
from asepsis.hub.access.principal import Principal
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.active import Place
from asepsis.hub.exchange.intake import Intake
from asepsis.hub.exchange.message_live import instant_ns, is_current


@dataclass(slots=True)
class MessageAlarms:
    """Follows alert messages.

    Attributes:
        intake: What the lanes share.
    """

    intake: Intake

    async def take(
        self,
        principal: Principal,
        messages: Sequence[tuple[MessageEntry, Message]],
        *,
        epoch: int,
        prompt: bool,
        now_ns: int,
    ) -> bool:
        """Follow the alerts of durable messages; return whether there were any.

        Args:
            principal: The gateway.
            messages: Of one group, in order.
            epoch: Boot epoch of the gateway.
            prompt: Whether gateway and network brought the group as quickly as usual.
            now_ns: Wall time of the hub at arrival.

        Raises:
            TransientError: The journal could not take a device under supervision.
        """
        any_alert = False
        for entry, message in messages:
            if not is_alert(message):
                continue
            any_alert = True
            place = Place(principal.name, epoch, entry.sequence)
            for alarm in alarms_of_entry(entry, message).value:
                await self._follow(principal, alarm, place, prompt=prompt, now_ns=now_ns)
        return any_alert

    async def _follow(
        self, principal: Principal, alarm: DeviceAlarm, place: Place, *, prompt: bool, now_ns: int
    ) -> None:
        supervisor, device = self.intake.supervisor, alarm.device.uri
        notice = self._notice(principal, alarm, now_ns=now_ns)
        if prompt and is_current(alarm.time, now_ns=now_ns, last_ns=0):
            await self.intake.heard(device, place.epoch)
            supervisor.batch_accepted(device, state=None)
            supervisor.alarm_reported(notice, place)
        elif alarm.event.phase is AlarmPhase.END:
            supervisor.alarms_late([notice])

    def _notice(self, principal: Principal, alarm: DeviceAlarm, *, now_ns: int) -> AlarmNotice:
        device = alarm.device.uri
        observed = self.intake.directory.observed(principal.name, device)
        return AlarmNotice(
            device=device,
            assurance=rules.assurance(principal, device, signed=False, observed=observed),
            device_time_ns=instant_ns(alarm.time, now_ns=now_ns),
            received_at_ns=now_ns,
            event=replace(alarm.event, offset_ms=0),
        )
