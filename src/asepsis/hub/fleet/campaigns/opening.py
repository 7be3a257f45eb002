"""When devices that hold a slot may install what it is for, as the director signs it for them.

The calendars of device, ward, site and campaign are worked out here, where their zones are known,
and reach the device as stretches of real time. The device's own gate keeps to them, so a hub that
is broken into can drop windows and nothing else: the clinical state is judged there all the same.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, select

from asepsis.core.trust.director import WINDOWS_MAX
from asepsis.hub.fleet.campaigns import member_rows, releasing, rows
from asepsis.hub.fleet.campaigns.deciding import Windows
from asepsis.hub.fleet.campaigns.model import SLOTTED
from asepsis.hub.fleet.campaigns.rows import Stored
from asepsis.hub.fleet.campaigns.tables import members, targets

Spans = tuple[tuple[int, int], ...]
NEVER: Final[Spans] = ((0, 1),)
"""A window long ago: what is open at no time must not look like what is open always."""
PER_QUERY: Final = 500
_SLOTTED: Final = tuple(one.value for one in SLOTTED)


def signed_windows(
    connection: Connection, devices: Sequence[str], *, now_ns: int
) -> dict[tuple[str, str], Spans]:
    """Return windows by device and artefact; what is not in it may be installed at any time.

    Args:
        connection: A consistent view.
        devices: Who is asked for.
        now_ns: Present time, nanoseconds since 1970.
    """
    windows = Windows(rows.all_calendars(connection), rows.uses(connection), now_ns)
    campaigns: dict[str, Stored] = {}
    found: dict[tuple[str, str], Spans] = {}
    for start in range(0, len(devices), PER_QUERY):
        part = devices[start : start + PER_QUERY]
        query = (
            select(members, targets.c.campaign.label("of"))
            .join(targets, targets.c.device == members.c.device)
            .where(members.c.device.in_(part), targets.c.standing.in_(_SLOTTED))
        )
        for row in connection.execute(query):
            stored = campaigns.get(row.of)
            if stored is None:
                stored = campaigns[row.of] = rows.campaign(connection, row.of)
            if stored.emergency is not None:
                continue  # Two people let it skip windows.
            member = member_rows.member_of(row, now_ns=now_ns)
            names = releasing.windows_of(stored.spec, member, windows.uses)
            if names:
                opened = windows.named(names).stretches
                found[row.device, stored.spec.release] = opened[:WINDOWS_MAX] or NEVER
    return found
