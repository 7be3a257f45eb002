"""Work orders: what biomedical engineering does about one device of a campaign."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from asepsis.core.errors import Conflict, NotFound
from asepsis.hub.fleet.campaigns.tables import work_orders
from asepsis.hub.store.store import next_number

COUNTER: Final = "work-orders"
LISTED_MAX: Final = 5_000


class Kind(StrEnum):
    """Why somebody has to go to a device."""

    ACCEPTANCE = "acceptance"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """One piece of work.

    Attributes:
        id: From 1.
        campaign: Which campaign it came from.
        device: Where to.
        kind: Why.
        opened_ns: Nanoseconds since 1970.
        as_found: What the person found, in their own words.
        as_left: How the person left it.
        reference: Number in the hospital's own system; empty before it gave one.
        closed_ns: When it was closed; 0 while it is open.
        person: Who closed it.
    """

    id: int
    campaign: str
    device: str
    kind: Kind
    opened_ns: int
    as_found: str = ""
    as_left: str = ""
    reference: str = ""
    closed_ns: int = 0
    person: str = ""


def open_order(
    connection: Connection, campaign: str, device: str, *, kind: Kind, now_ns: int
) -> int:
    """Open a work order, or return the one that is open for the same reason."""
    known = connection.execute(
        select(work_orders.c.id).where(
            work_orders.c.campaign == campaign,
            work_orders.c.device == device,
            work_orders.c.kind == kind.value,
            work_orders.c.closed_ns == 0,
        )
    ).scalar_one_or_none()
    if known is not None:
        return known
    number = next_number(connection, COUNTER)
    connection.execute(
        insert(work_orders).values(
            id=number,
            campaign=campaign,
            device=device,
            kind=kind.value,
            opened_ns=now_ns,
            as_found=b"",
            as_left=b"",
            reference="",
            closed_ns=0,
            person="",
        )
    )
    return number


def order(connection: Connection, number: int) -> WorkOrder:
    """Return a work order.

    Raises:
        NotFound: There is none of this number.
    """
    row = connection.execute(select(work_orders).where(work_orders.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("there is no such work order", hint="asepsis campaign orders")
    return _order(row)


def listed(
    connection: Connection, *, campaign: str = "", open_only: bool = False
) -> list[WorkOrder]:
    """Return work orders, newest first, at most `LISTED_MAX`."""
    query = select(work_orders).order_by(work_orders.c.id.desc()).limit(LISTED_MAX)
    if campaign:
        query = query.where(work_orders.c.campaign == campaign)
    if open_only:
        query = query.where(work_orders.c.closed_ns == 0)
    return [_order(row) for row in connection.execute(query)]


def refer(connection: Connection, number: int, reference: str) -> None:
    """Note the number that the hospital's own system gave.

    Raises:
        NotFound: There is no such work order.
    """
    changed = connection.execute(
        update(work_orders).where(work_orders.c.id == number).values(reference=reference)
    )
    if changed.rowcount != 1:
        raise NotFound("there is no such work order")


def close(
    connection: Connection,
    number: int,
    *,
    as_found: str,
    as_left: str,
    person: str,
    now_ns: int,
) -> WorkOrder:
    """Close a work order and return it as it was.

    Raises:
        NotFound: There is none.
        Conflict: It is closed already.
    """
    before = order(connection, number)
    if before.closed_ns:
        raise Conflict("the work order is closed already")
    connection.execute(
        update(work_orders)
        .where(work_orders.c.id == number)
        .values(
            as_found=as_found.encode(),
            as_left=as_left.encode(),
            person=person,
            closed_ns=now_ns,
        )
    )
    return before


def _order(row: Row[*tuple[Any, ...]]) -> WorkOrder:
    return WorkOrder(
        id=row.id,
        campaign=row.campaign,
        device=row.device,
        kind=Kind(row.kind),
        opened_ns=row.opened_ns,
        as_found=row.as_found.decode(),
        as_left=row.as_left.decode(),
        reference=row.reference,
        closed_ns=row.closed_ns,
        person=row.person,
    )
