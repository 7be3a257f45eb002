"""Security events of devices: verified, written into the audit log, and where grave an alarm.

They are for the security team and reach no chart and no consumer. An event is acknowledged once it
stands in the audit log, so one that is repeated after a failure may stand there twice.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from asepsis.core.errors import AsepsisError, SignatureInvalid
from asepsis.core.journal.ports import Outcome, Receipt
from asepsis.core.wire.security_event import SecurityEvent, decode
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange.intake import Intake
from asepsis.hub.exchange.lease import Fact

ACTION: Final = "report-denial"
DEVICES_MAX: Final = 20_000
_ECDSA: Final = ec.ECDSA(SHA256())


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
        await self._require_genuine(principal, event, signed, signature)
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

    async def _require_genuine(
        self, principal: Principal, event: SecurityEvent, signed: bytes, signature: bytes
    ) -> None:
        device = event.device.uri
        try:
            spki = self.intake.directory.origin_key(device, event.key_id)
            key = load_der_public_key(spki)
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise SignatureInvalid("not an origin key")
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), signed, _ECDSA)
        except (AsepsisError, InvalidSignature) as error:
            refusal = SignatureInvalid("the event is not signed by this device's origin key")
            await self.intake.forged(principal, device, refusal)
            raise refusal from error


def _missing(before: tuple[int, int], place: tuple[int, int]) -> int:
    """Return how many events were skipped since the last one of the same epoch."""
    if before[0] != place[0]:
        return place[1] - 1 if before[0] else 0
    return max(0, place[1] - before[1] - 1)
