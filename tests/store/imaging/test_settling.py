"""An object is flushed beside its inspection: what is not taken in the end leaves no file."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from asepsis.core.errors import Unavailable
from asepsis.core.trust.sealing import KekSource, KeyEncryptionKey
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.wire.dicomweb_store import Failure
from asepsis.edge.inspection.sample import SAMPLE
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.imaging.index import ImageIndex
from asepsis.hub.imaging.inspector import Inspection, Inspector
from asepsis.hub.imaging.service import ImageService, Sender, Threads
from asepsis.hub.imaging.storage import Vault
from asepsis.hub.imaging.telling import Teller
from asepsis.hub.store.store import Store

LONG = SAMPLE[:-6] + (3 << 20).to_bytes(4, "little") + bytes(3 << 20)
"""The same object with more pixels than are held in memory."""


@pytest.fixture
def inspection() -> Iterator[Inspection]:
    made = Inspection()
    yield made
    made.stop()


@pytest.fixture
def service(store: Store, inspection: Inspection, tmp_path: Path) -> Iterator[ImageService]:
    """Return a service that gets no further than to its index: nothing is told here."""
    kek = KeyEncryptionKey(KekSource.THROW_AWAY, secrets.token_bytes(32))
    vault = Vault(tmp_path / "images", kek=kek, aead=CryptographyAead(), reserve_bytes=0)
    vault.open()
    index = ImageIndex(store, AuditLog(store.clock))
    nothing = cast("Any", None)
    made = ImageService(
        vault=vault,
        index=index,
        teller=Teller(nothing, index, wall=store.clock),
        inspector=Inspector(inspection),
        threads=Threads(),
        wall=store.clock,
        sources=nothing,
        bytes_max=1 << 30,
    )
    yield made
    made.threads.close()
    made.inspector.close()


def files(service: ImageService) -> list[str]:
    folders = (service.vault.incoming, service.vault.objects)
    return [name for folder in folders for _, _, names in os.walk(folder) for name in names]


def sender(study: str = "") -> Sender:
    return Sender(name="g", device="d", calling_ae="CT1", study=study)


@pytest.mark.parametrize("data", [SAMPLE, LONG], ids=["small", "long"])
def test_an_object_that_nobody_could_look_at_leaves_no_file(
    service: ImageService, inspection: Inspection, data: bytes
) -> None:
    """Goal: its sender is told to come again, so nothing of it may stay."""
    inspection.stop()

    async def take() -> None:
        if len(data) < 1 << 20:
            await service.take([data], sender())
            return
        writer = service.vault.create()
        writer.write(data)
        await service.finish(writer, sender())

    with pytest.raises(Unavailable):
        asyncio.run(take())
    assert files(service) == []


def test_an_object_of_another_study_than_the_path_leaves_no_file(service: ImageService) -> None:
    stored = asyncio.run(service.take([SAMPLE], sender("1.2.3")))
    assert stored.failure is Failure.MISMATCH
    assert files(service) == []
