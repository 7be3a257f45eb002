"""Images for the hub's own deliveries: what is held, opened by its SOP Instance UID."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from asepsis.core.errors import NotFound
from asepsis.hub.imaging.service import Threads
from asepsis.hub.imaging.storage import ObjectReader, Vault
from asepsis.hub.imaging.tables import instances
from asepsis.hub.store.store import Store

GIVEN_BYTES: Final = 1 << 20
"""Bytes of an object that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImage:
    """One image, open; delivery's `HeldImage`.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID.
        instance: SOP Instance UID.
        sop_class: SOP Class UID.
        transfer_syntax: Transfer Syntax UID.
        length: Bytes of the whole file.
        reader: Reads it.
        threads: Where that blocks.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    transfer_syntax: str
    length: int
    reader: ObjectReader
    threads: Threads

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the whole file in pieces of at most `GIVEN_BYTES`; errors as the port."""
        for offset in range(0, self.length, GIVEN_BYTES):
            yield await self.threads.call(
                lambda offset=offset: self.reader.read(offset, GIVEN_BYTES)
            )

    def close(self) -> None:
        """Close it."""
        self.reader.close()


@dataclass(frozen=True, slots=True)
class OpenImages:
    """What the hub holds; delivery's `HeldImages`.

    Attributes:
        store: The state.
        vault: Objects.
        threads: Where everything blocks that has to.
    """

    store: Store
    vault: Vault
    threads: Threads

    async def open(self, instance: str) -> OpenImage:
        """Open one image; errors as the port."""
        query = select(instances).where(instances.c.sop_instance == instance)
        row = await self.store.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise NotFound("the hub does not hold the image any more")
        reader = await self.threads.call(
            lambda: self.vault.reader(row.object, byte_count=row.length)
        )
        return OpenImage(
            study=row.study,
            series=row.series,
            instance=row.sop_instance,
            sop_class=row.sop_class,
            transfer_syntax=row.transfer_syntax,
            length=row.length,
            reader=reader,
            threads=self.threads,
        )
