"""Storing images: from parts of a request to objects that are held, or refused with a reason.

An instance is a success only when its file is flushed, it was inspected, the index holds it and
the journal tells of it. Everything that blocks runs on a few threads of low priority, so that the
lanes of alarms and values never wait for a picture.
"""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from asepsis.core.errors import AsepsisError, BackPressure
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.wire.dicom_facts import Reason
from asepsis.core.wire.dicomweb_store import Failure, Stored
from asepsis.core.wire.inspection import Passed, Refused
from asepsis.hub.access.principal import Principal
from asepsis.hub.imaging import rules
from asepsis.hub.imaging.index import Apart, Entry, ImageIndex
from asepsis.hub.imaging.inspector import HeldObject, Inspector, Readable
from asepsis.hub.imaging.ports import Sources
from asepsis.hub.imaging.rules import FAILURES, PrivateTags, Repeat
from asepsis.hub.imaging.storage import ObjectWriter, Vault
from asepsis.hub.imaging.telling import Teller

THREADS: Final = 4
FLUSHES: Final = 8
"""Files that are flushed at once: they share a commit of the file system's journal."""
NICENESS: Final = 10
"""Of the threads that write images; those of the journal have 0."""
SMALL_MAX: Final = 32
"""Small objects that are in memory as a whole, each at most `rules.BATCH_BYTES`."""
CONFLICT: Final = "conflict"

T = TypeVar("T")
log = structlog.get_logger("imaging")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who brings the images of a request.

    Attributes:
        name: Identity.
        device: Device whose images they are.
        calling_ae: Calling AE title, empty if there is none.
        person: User that the modality proved, empty if there is none.
        study: Study Instance UID that all must have; empty for any.
    """

    name: str
    device: str
    calling_ae: str
    person: str = ""
    study: str = ""


class Threads:
    """The threads on which everything blocks that has to."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "images", initializer=_be_nice)
        self._disk = ThreadPoolExecutor(FLUSHES, "image-disk", initializer=_be_nice)

    async def call(self, work: Callable[[], T]) -> T:
        """Run `work` on one of them."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def beside(self, work: Callable[[], None]) -> Future[None]:
        """Run `work`, which waits for the disk alone, beside the thread that calls."""
        return self._disk.submit(work)

    def close(self) -> None:
        """Wait for what runs."""
        self._pool.shutdown()
        self._disk.shutdown()


def _be_nice() -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


@dataclass(slots=True, kw_only=True)
class ImageService:
    """Takes store requests.

    Attributes:
        vault: Objects.
        index: What is held.
        teller: Tells the journal.
        inspector: Looks at objects.
        threads: Where everything blocks that has to.
        wall: Wall clock, nanoseconds since 1970.
        sources: What people declared of gateways.
        bytes_max: Bytes of objects that the hub holds at most.
        private_tags: What becomes of objects with private elements.
    """

    vault: Vault
    index: ImageIndex
    teller: Teller
    inspector: Inspector
    threads: Threads
    wall: Callable[[], int]
    sources: Sources
    bytes_max: int
    private_tags: PrivateTags = field(default_factory=PrivateTags)
    held: int = 0
    held_bytes: int = 0
    quarantined_bytes: int = 0
    small: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SMALL_MAX))
    _uploads: Counter[str] = field(default_factory=Counter[str])

    async def restore(self) -> None:
        """Open what is held and tell what was left untold.

        Raises:
            TransientError: The disk, the state or the journal does not answer.
        """
        left = await self.threads.call(self.vault.open)
        if left:
            log.info("half received images were removed", count=left)
        self.held, self.held_bytes, self.quarantined_bytes = await self.index.held()
        await self.teller.restore()

    def begin(
        self,
        principal: Principal,
        *,
        device: str | None,
        calling_ae: str | None,
        person: str | None,
        study: str,
    ) -> Sender:
        """Let a sender begin a store request; its `Upload` takes the bytes, and ends it.

        Args:
            principal: Who sends.
            device: Device whose images they are, as the request names it.
            calling_ae: Calling AE title, as the request names it.
            person: User that the modality proved, as the request names it.
            study: Study Instance UID that all must have; empty for any.

        Raises:
            NotPermitted: Not this sender, or not for this device.
            InputError: The request does not say whose images it brings.
            RateLimited: Too many at once.
            BackPressure: No space.
        """
        sender = Sender(
            name=principal.name,
            device=rules.source_of(principal, device),
            calling_ae=rules.calling_ae(calling_ae),
            person=rules.person(person),
            study=study,
        )
        if principal.kind is PrincipalKind.GATEWAY:
            self.sources.check_images(sender.name, sender.device)
        rules.check_room(self._uploads.total(), self._uploads[principal.name])
        self.check_space()
        self._uploads[principal.name] += 1
        return sender

    def check_space(self) -> None:
        """Refuse more than the hub may hold.

        Raises:
            BackPressure: The budget or the disk is full.
        """
        if self.held_bytes + self.quarantined_bytes >= self.bytes_max:
            raise BackPressure("no space for images", retry_after_s=30)
        self.vault.check_room()

    async def status(self) -> object:
        """Return what is held, for people who run the hub."""
        return {
            "held": self.held,
            "bytes": self.held_bytes,
            "bytes_max": self.bytes_max,
            "quarantined_bytes": self.quarantined_bytes,
        }

    def end(self, sender: Sender) -> None:
        """Free the place of a request."""
        self._uploads[sender.name] -= 1
        if self._uploads[sender.name] <= 0:
            del self._uploads[sender.name]

    async def finish(self, writer: ObjectWriter, sender: Sender) -> Stored:
        """Bring a received object to its end: held, refused, or set apart."""
        sha256, answer = await self.threads.call(lambda: self._settle(writer, sender))
        return await self._settled(writer, sender, sha256, answer)

    async def take(self, data: Sequence[bytes], sender: Sender) -> Stored:
        """Bring a small object, which is in memory as a whole, to its end in one go."""

        def work() -> tuple[ObjectWriter, bytes, Passed | Refused]:
            writer = self.vault.create()
            try:
                held = HeldObject(b"".join(data))
                writer.write(held.data)
                return writer, *self._settle(writer, sender, held)
            except BaseException:
                writer.discard()
                raise

        async with self.small:
            writer, sha256, answer = await self.threads.call(work)
        try:
            return await self._settled(writer, sender, sha256, answer)
        finally:
            if not writer.is_kept:
                await self.threads.call(writer.discard)

    def _settle(
        self, writer: ObjectWriter, sender: Sender, held: HeldObject | None = None
    ) -> tuple[bytes, Passed | Refused]:
        """Look at a whole object, and make it durable unless it is turned away; blocks."""
        sha256 = writer.settle()
        if held is not None:
            return sha256, self._judge(writer, sender, held)
        reader = writer.reader()
        try:
            return sha256, self._judge(writer, sender, reader)
        finally:
            reader.close()

    def _judge(self, writer: ObjectWriter, sender: Sender, found: Readable) -> Passed | Refused:
        private_tags = self.private_tags.ask(sender.device)
        if sender.study:  # Only here can an object be turned away that passed.
            answer = self.inspector.inspect(found, private_tags=private_tags)
            if isinstance(answer, Refused) or sender.study == answer.study:
                writer.keep()
            return answer
        keeping = self.threads.beside(writer.keep)
        try:
            answer = self.inspector.inspect(found, private_tags=private_tags)
        except BaseException:
            wait([keeping])
            if writer.is_kept:  # The sender is told to come again, and nothing names the file.
                self.vault.remove(writer.name)
            raise
        keeping.result()
        return answer

    async def _settled(
        self, writer: ObjectWriter, sender: Sender, sha256: bytes, answer: Passed | Refused
    ) -> Stored:
        if isinstance(answer, Refused):
            await self._set_apart(writer, sender, sha256, answer)
            failure = FAILURES.get(Reason(answer.reason), Failure.NOT_UNDERSTOOD)
            return not_stored(answer.sop_class, answer.instance, failure)
        if not writer.is_kept:
            return not_stored(answer.sop_class, answer.instance, Failure.MISMATCH)
        return await self._enter(writer, sender, sha256, answer)

    async def _enter(
        self, writer: ObjectWriter, sender: Sender, sha256: bytes, passed: Passed
    ) -> Stored:
        entry = Entry(
            sop_instance=passed.instance,
            series=passed.series,
            study=passed.study,
            sop_class=passed.sop_class,
            transfer_syntax=passed.transfer_syntax,
            length=writer.byte_count,
            sha256=sha256,
            object=writer.name,
            sender=sender.name,
            device=sender.device,
            calling_ae=sender.calling_ae,
            person=sender.person,
            received_at_ns=self.wall(),
            attributes=passed.attributes,
        )
        try:
            indexed = await self.index.add(entry)
        except AsepsisError:
            await self.threads.call(lambda: self.vault.remove(writer.name))
            raise
        if indexed.repeat is Repeat.CONFLICT:
            conflict = Refused(
                reason=CONFLICT,
                text="held with other bytes",
                instance=passed.instance,
                sop_class=passed.sop_class,
            )
            await self._set_apart(writer, sender, sha256, conflict)
            return not_stored(passed.sop_class, passed.instance, Failure.DUPLICATE)
        if indexed.repeat is Repeat.SAME:
            await self.threads.call(lambda: self.vault.remove(writer.name))
        else:
            self.held += 1
            self.held_bytes += entry.length
        if not indexed.told:
            await self.teller.tell(indexed.id, entry)
        return Stored(
            sop_class=passed.sop_class,
            sop_instance=passed.instance,
            retrieve_url=(
                f"/studies/{passed.study}/series/{passed.series}/instances/{passed.instance}"
            ),
        )

    async def _set_apart(
        self,
        writer: ObjectWriter,
        sender: Sender,
        sha256: bytes,
        refused: Refused,
    ) -> None:
        """Keep an object apart; its sender is told that it was refused all the same."""
        item = Apart(
            sop_instance=refused.instance,
            sop_class=refused.sop_class,
            reason=refused.reason,
            length=writer.byte_count,
            sha256=sha256,
            object=writer.name,
            sender=sender.name,
            device=sender.device,
            calling_ae=sender.calling_ae,
        )
        log.warning("an image is set apart", reason=refused.reason, device=sender.device)
        if await self.index.set_apart(item, at_ns=self.wall()):
            self.quarantined_bytes += item.length
        else:
            await self.threads.call(lambda: self.vault.remove(writer.name))


def not_stored(sop_class: str, sop_instance: str, failure: Failure) -> Stored:
    """Return what the sender is told of an instance that was not taken."""
    return Stored(sop_class=sop_class, sop_instance=sop_instance, failure=failure)
