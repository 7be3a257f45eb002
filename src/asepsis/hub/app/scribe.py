"""What writes HL7 v2 messages for destinations: wired to associations, live views and readers."""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from asepsis.core.journal.ports import Record
from asepsis.hub.app.associations import Associations
from asepsis.hub.app.core import Core
from asepsis.hub.app.records_readers import make_readers
from asepsis.hub.delivery.scribe import Numbers, Scribe

LOOK_S: Final = 0.02


def build_scribe(core: Core, associations: Associations) -> Scribe:
    """Return what writes about devices that speak the standard, and whose they are."""
    readers = make_readers()

    def bundles(record: Record) -> Iterator[Numbers]:
        for one in readers.bundle(record):
            if not one.beside_batch:  # The batch says the same, and is told.
                yield Numbers(device=one.device, start_ns=one.start_ns, numerics=one.numerics)

    async def settled(record: Record, wait_s: float) -> bool:
        """Wait until ADT before now and the device's own word up to the record are applied."""
        until, told = time.monotonic() + wait_s, associations.adt.end
        lane, position = record.append.lane, record.position
        adt, states = associations.adt, associations.states
        while not (states.passed(lane, position) and adt.passed(told)):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    return Scribe(
        settled=settled,
        present=associations.book,
        histories=associations.service,
        bundles=bundles,
        alarms=readers.alarms,
        active=core.live.is_active,
        clock=core.clocks.wall,
    )
