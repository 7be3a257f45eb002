"""What people do about single devices of a campaign: accept, try again, leave out, close orders."""

from dataclasses import replace

from sqlalchemy import Connection

from asepsis.core.errors import Conflict, InputError
from asepsis.hub.fleet.campaigns import orders, rows, states
from asepsis.hub.fleet.campaigns.acts import Acts
from asepsis.hub.fleet.campaigns.model import Standing
from asepsis.hub.fleet.campaigns.orders import Kind, WorkOrder


class DeviceWork(Acts):
    """Acts about one device; errors as `Acts`."""

    async def accept(
        self, name: str, device: str, *, as_found: str, as_left: str, person: str
    ) -> None:
        """Return a device to service after biomedical engineering checked it.

        Raises:
            NotFound: No such campaign or device in it.
            Conflict: It does not wait for that.
            InputError: No words on how it was found and left.
        """
        if not (as_found.strip() and as_left.strip()):
            raise InputError("an acceptance says how the device was found and how it was left")

        def work(connection: Connection) -> None:
            self._set(connection, name, device, Standing.ACCEPTED, "")
            number = orders.open_order(
                connection, name, device, kind=Kind.ACCEPTANCE, now_ns=self.store.clock()
            )
            self._close(connection, number, as_found, as_left, person)
            self.note(connection, "accept-device", device, person, campaign=name, order=number)

        await self.done(work)

    async def retry(self, name: str, device: str, *, person: str, reason: str) -> None:
        """Let a campaign try a device once more that failed or was left.

        Raises:
            NotFound: No such campaign or device in it.
            Conflict: The device did neither.
        """

        def work(connection: Connection) -> None:
            self._set(connection, name, device, Standing.PENDING, reason)
            self.note(connection, "retry-device", device, person, campaign=name, reason=reason)

        await self.done(work)

    async def leave(self, name: str, device: str, *, person: str, reason: str) -> None:
        """Take a device out of a campaign that has not begun with it.

        Raises:
            NotFound: No such campaign or device in it.
            Conflict: It holds a slot, or is done.
        """

        def work(connection: Connection) -> None:
            if rows.target(connection, name, device).standing is not Standing.PENDING:
                raise Conflict("only a device that waits can be left out")
            self._set(connection, name, device, Standing.LEFT, reason)
            self.note(connection, "leave-device", device, person, campaign=name, reason=reason)

        await self.done(work)

    async def close_order(
        self, number: int, *, as_found: str, as_left: str, person: str
    ) -> WorkOrder:
        """Close a work order; one of acceptance returns its device to service.

        Raises:
            NotFound: No such work order.
            Conflict: It is closed already.
        """
        found = await self.store.read(lambda c: orders.order(c, number))
        if found.kind is Kind.ACCEPTANCE and not found.closed_ns:
            await self.accept(
                found.campaign, found.device, as_found=as_found, as_left=as_left, person=person
            )
            return found

        def work(connection: Connection) -> WorkOrder:
            return self._close(connection, number, as_found, as_left, person)

        return await self.store.write(work)

    async def refer_order(self, number: int, reference: str, *, person: str) -> None:
        """Note the number of a work order in the hospital's own system.

        Raises:
            NotFound: No such work order.
        """

        def work(connection: Connection) -> None:
            orders.refer(connection, number, reference)
            self.note(connection, "refer-work-order", str(number), person, reference=reference)

        await self.store.write(work)

    def _set(
        self, connection: Connection, name: str, device: str, standing: Standing, reason: str
    ) -> None:
        before = rows.target(connection, name, device)
        after = replace(
            before,
            standing=states.moved(before.standing, standing),
            since_ns=self.store.clock(),
            reason=reason,
        )
        rows.change_target(connection, name, before, after)

    def _close(
        self, connection: Connection, number: int, as_found: str, as_left: str, person: str
    ) -> WorkOrder:
        return orders.close(
            connection,
            number,
            as_found=as_found,
            as_left=as_left,
            person=person,
            now_ns=self.store.clock(),
        )
