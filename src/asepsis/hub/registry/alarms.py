"""Alarms of the signer, carried to where people look: the event lane and the audit log."""

from typing import Final

from sqlalchemy import Connection, select

from asepsis.core.trust.answers import Alarm
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.registry.ports import Signer
from asepsis.hub.store.leases import Lease, LeasedTask, check_held
from asepsis.hub.store.outbox import Event, consume_once, publish
from asepsis.hub.store.store import Store
from asepsis.hub.store.tables import consumed

CONSUMER: Final = "signer-alarms"
EVERY_S: Final = 2.0


class SignerAlarms:
    """Asks the signer for alarms; each becomes one event, by one hub at a time.

    Args:
        store: Where the number of the last alarm stands.
        signer: Raises them.
        audit: Gets an entry for each.
        holder: Name of this hub process.
    """

    def __init__(self, store: Store, signer: Signer, *, audit: AuditLog, holder: str) -> None:
        self._store = store
        self._signer = signer
        self._audit = audit
        self.task = LeasedTask(store, CONSUMER, holder=holder, work=self._carry, every_s=EVERY_S)

    async def run(self) -> None:
        """Carry alarms until cancelled."""
        await self.task.run()

    async def _carry(self, lease: Lease) -> None:
        while alarms := await self._signer.alarms(after=await self._store.read(_seen)):

            def work(connection: Connection, alarms: tuple[Alarm, ...] = alarms) -> None:
                check_held(connection, lease)
                for alarm in alarms:
                    self._put(connection, alarm)

            await self._store.write(work)

    def _put(self, connection: Connection, alarm: Alarm) -> None:
        if not consume_once(connection, CONSUMER, alarm.number):
            return
        data = {"code": alarm.code, "text": alarm.text, "source": "signer"}
        event = Event(
            topic="alarm.technical", version=1, at_ns=alarm.at_ns, subject=alarm.name, data=data
        )
        publish(connection, event)
        act = Act(actor="signer", action="raise-alarm", subject=alarm.name, detail=data)
        self._audit.record(connection, act)


def _seen(connection: Connection) -> int:
    found = connection.execute(
        select(consumed.c.event_id).where(consumed.c.consumer == CONSUMER)
    ).scalar_one_or_none()
    return found or 0
