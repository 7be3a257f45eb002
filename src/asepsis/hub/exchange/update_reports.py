"""Update reports of devices: verified, written into the audit log, handed to campaigns.

A report is acknowledged once it stands in the audit log and everybody has taken it, so one that is
repeated after a failure may stand there twice, and is handed on twice: takers go by its number.
"""

import base64
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from asepsis.core.journal.ports import Outcome, Receipt
from asepsis.core.model.update import UpdateReport
from asepsis.core.wire.update_report import decode
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange.genuine import require_genuine
from asepsis.hub.exchange.intake import Intake

ACTION: Final = "report-update"
DEVICES_MAX: Final = 20_000
FAILED_MAX: Final = 16
"""Names of failed self-tests in words; the receipt has all of them, with values."""
TakeReport = Callable[[UpdateReport], Awaitable[None]]
"""Takes a verified report; raises TransientError if it cannot now, and gets it again then."""


@dataclass(slots=True)
class UpdateLane:
    """Takes update reports on `/alerts` and `/late`.

    Attributes:
        intake: What the lanes share.
        takers: Who is given every verified report, in order.
    """

    intake: Intake
    takers: list[TakeReport] = field(default_factory=list[TakeReport])
    _seen: OrderedDict[str, tuple[int, int]] = field(
        default_factory=OrderedDict[str, tuple[int, int]]
    )

    async def receive(self, principal: Principal, action: Action, body: bytes) -> Receipt:
        """Take one report.

        Raises:
            FramingError: Malformed.
            TrustError: Not the sender's to send, unknown key, bad signature.
            TransientError: The audit log or a taker takes nothing now.
        """
        report, key_id, signed, signature = decode(body)
        device = report.device.uri
        await self.intake.may_speak(principal, action, device)
        await require_genuine(
            self.intake,
            principal,
            device=device,
            key_id=key_id,
            signed=signed,
            signature=signature,
        )
        place = (report.epoch, report.sequence)
        if place == self._seen.get(device):
            return Receipt(Outcome.DUPLICATE, 0)
        await self.intake.audit.report(
            device=device, action=ACTION, detail=_detail(report, receipt=body)
        )
        for take in self.takers:
            await take(report)
        if place > self._seen.get(device, (0, 0)):
            self._seen[device] = place
            self._seen.move_to_end(device)
            if len(self._seen) > DEVICES_MAX:
                self._seen.popitem(last=False)
        return Receipt(Outcome.STORED, 0)


def _detail(report: UpdateReport, *, receipt: bytes) -> dict[str, Any]:
    """Return what the audit log keeps: in words, and the device's own signed bytes as proof."""
    return {
        "release": report.release,
        "component": report.component,
        "counter": report.counter,
        "outcome": report.outcome.value,
        "waits_for": report.waits_for.value if report.waits_for else "",
        "reason": report.reason,
        "tests": len(report.tests),
        "failed": [test.name for test in report.tests if not test.passed][:FAILED_MAX],
        "epoch": report.epoch,
        "sequence": report.sequence,
        "receipt": base64.b64encode(receipt).decode("ascii"),
    }
