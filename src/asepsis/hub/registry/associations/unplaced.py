"""Where a revoked device stood: it has no place any more, but its tile must not be empty.

The audit log keeps it; a table of its own would say the same.
"""

import json
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from asepsis.core.model.patient import Place
from asepsis.hub.audit.log import lately
from asepsis.hub.registry.associations.book import PlacedDevice

ACTION: Final = "unplace-device"


def act_of(placed: PlacedDevice | None) -> tuple[str, str, dict[str, object]] | None:
    """Return the audit entry of a device that loses its place; None if it has none."""
    return (ACTION, placed.device, {"place": placed.place.key()}) if placed else None


def last_places(connection: Connection, *, since_ns: int) -> Mapping[str, Place]:
    """Return where devices stood that lost their place since then because they were revoked.

    Args:
        connection: A consistent view.
        since_ns: Nanoseconds since 1970.
    """
    noted = lately(connection, action=ACTION, since_ns=since_ns)
    return {each.subject: Place.of_key(json.loads(each.detail)["place"]) for each in noted}
