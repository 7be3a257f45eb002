"""Alarm documents of sources without an origin key, as JSON.

Source: REQ-ALM; standard/schemas/alarm.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.journal.ports import Append, Link, Outcome, Receipt
from asepsis.core.mapping.alarm_document import made_ns
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.wire.fhir_alarm import AlarmDocument, decode_alarms
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.active import Place
from asepsis.hub.exchange.claimed import Claim
from asepsis.hub.exchange.intake import Accepted, Intake
from asepsis.hub.exchange.notices import of_document

KIND: Final = "alarm-document"


@dataclass(slots=True)
class AlarmLane:
    """Takes alarm documents on `/alerts` and `/late`.

    Attributes:
        intake: What the lanes share.
    """

    intake: Intake

    async def receive(
        self, principal: Principal, body: bytes, *, epoch: int, sequence: int, late: bool
    ) -> Receipt:
        """Take one document.

        Args:
            principal: Who sends it.
            body: JSON.
            epoch: Of the sender's numbers.
            sequence: Its number.
            late: Whether it came on the late lane: it is history, whatever it says is active.

        Raises:
            InputError: Malformed, or not live on the live lane.
            TrustError: Not the sender's to send, or the device signs its alarms.
            TransientError: The journal is full or busy; nothing was stored.

        Source: REQ-ALM-008, REQ-ALM-012, REQ-ALM-019.
        """
        document = decode_alarms(body)
        action = Action.SUBMIT_LATE if late else Action.SUBMIT_ALERT
        await self.intake.may_speak(principal, action, document.device)
        signs = self.intake.facts(document.device).signs
        rules.require_unsigned_allowed(signs=signs, what="alarm")
        received_at_ns = self.intake.clocks.wall()
        notices = of_document(
            document,
            assurance=rules.assurance(
                principal,
                document.device,
                signed=False,
                observed=self.intake.directory.observed(principal.name, document.device),
            ),
            received_at_ns=received_at_ns,
        )
        place = Place(principal.name, epoch, sequence)
        claim = Claim(
            account=Account.FHIR,
            producer=principal.name,
            device=document.device,
            epoch=epoch,
            made_ns=made_ns(document),
        )
        if not late and not await self.intake.is_repeated(Account.FHIR, place):
            self._require_live(document, place, claim)
        accepted = await self.intake.store(
            Append(
                lane=_lane(document, late=late),
                account=Account.FHIR,
                producer=principal.name,
                epoch=epoch,
                sequence=sequence,
                kind=KIND,
                body=body,
                received_at_ns=received_at_ns,
                link=Link.of(body),
            ),
            late=late,
        )
        if accepted.receipt.outcome is Outcome.STORED:
            self._follow(document, notices, accepted, place)
        return accepted.receipt

    def _require_live(self, document: AlarmDocument, place: Place, claim: Claim) -> None:
        """Refuse what is history, before it can reach a receiver of the lane.

        Raises:
            Conflict: Held back, or its events are older than the newest list.

        Source: REQ-OBS-014, REQ-ALM-016.
        """
        self.intake.claimed.require_current(claim)
        if not document.lists_active:
            self.intake.require_before_list(document.device, place)

    def _follow(
        self,
        document: AlarmDocument,
        notices: Sequence[AlarmNotice],
        accepted: Accepted,
        place: Place,
    ) -> None:
        supervisor = self.intake.supervisor
        if document.lists_active:
            if accepted.live:
                supervisor.alarms_listed(document.device, notices, place)
        elif accepted.live:
            supervisor.alarms(notices, place, position=accepted.receipt.position)
        else:
            supervisor.alarms_late(notices)


def _lane(document: AlarmDocument, *, late: bool) -> Lane:
    return rules.batch_lane(late=late, has_alarms=not document.lists_active)
