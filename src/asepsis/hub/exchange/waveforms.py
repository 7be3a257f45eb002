"""Waveform packets: journalled as they come, shown only as far as their origin is proven."""

from dataclasses import dataclass
from typing import Final

from asepsis.core.journal.ports import Append, Link, Receipt
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.wire.frames import WaveformPacket, decode_packet
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.claimed import Claim
from asepsis.hub.exchange.intake import Intake
from asepsis.hub.exchange.window import Place

KIND: Final = "waveform"


@dataclass(slots=True)
class WaveformLane:
    """Takes waveform packets on `/waveforms` and `/late`.

    Attributes:
        intake: What the lanes share.
    """

    intake: Intake

    async def receive(
        self, principal: Principal, action: Action, body: bytes, *, late: bool
    ) -> Receipt:
        """Take one packet.

        Raises:
            InputError: Malformed, wrong CRC, too large, not live.
            TrustError: Not the sender's to send.
            TransientError: The journal is full or busy; nothing was stored.

        Source: REQ-WAV, REQ-ORG-010.
        """
        packet = decode_packet(body)
        device = packet.device.uri
        await self.intake.may_speak(principal, action, device)
        facts = self.intake.facts(device)
        accepted = await self.intake.store(
            Append(
                lane=Lane.LATE if late else Lane.WAVEFORM,
                account=Account.WAVEFORM,
                producer=device,
                epoch=packet.epoch,
                sequence=packet.sequence,
                kind=KIND,
                body=body,
                received_at_ns=self.intake.clocks.wall(),
                link=Link.of(body),
            ),
            late=late,
        )
        if not accepted.live or accepted.place is not Place.NEWER:
            return accepted.receipt
        if facts.signs:
            now_ns = self.intake.clocks.monotonic()
            frames = self.intake.digests.frames(device, packet.frames, now_ns=now_ns)
        else:
            frames = packet.frames if self._is_current(principal, packet) else ()
        if frames:
            assurance = rules.assurance(
                principal,
                device,
                signed=facts.signs,
                observed=self.intake.directory.observed(principal.name, device),
            )
            self.intake.feed.waveforms(device, frames, assurance)
        return accepted.receipt

    def _is_current(self, principal: Principal, packet: WaveformPacket) -> bool:
        """Whether unsigned frames are of the present; signed ones come by their batch's lag.

        Source: REQ-OBS-014.
        """
        ends = [f.wall_ns + len(f.sample_bytes) // 2 * f.metric.period_ns for f in packet.frames]
        claim = Claim(
            account=Account.WAVEFORM,
            producer=principal.name,
            device=packet.device.uri,
            epoch=packet.epoch,
            made_ns=max(ends, default=0),
        )
        return self.intake.claimed.is_current(claim)
