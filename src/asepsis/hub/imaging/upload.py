"""One upload of a request, however its bytes arrive."""

import asyncio
from collections.abc import Sequence

from asepsis.core.errors import AsepsisError, BackPressure, LimitExceeded, TransientError
from asepsis.core.wire.dicomweb_store import Failure, Stored
from asepsis.hub.imaging import rules
from asepsis.hub.imaging.service import ImageService, Sender, log, not_stored
from asepsis.hub.imaging.storage import ObjectWriter


class Upload:
    """One store request while it is received.

    Args:
        service: What takes it.
        sender: Who brings it.

    Resource handling:
        `close` ends it, whatever happened.
    """

    def __init__(self, service: ImageService, sender: Sender) -> None:
        self._service = service
        self._sender = sender
        self._writer: ObjectWriter | None = None
        self._refused: Failure | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._results: list[asyncio.Task[Stored] | Stored] = []
        self._finishing = asyncio.Semaphore(rules.FINISHING_MAX)

    async def begin(self) -> None:
        """Begin an instance.

        Raises:
            LimitExceeded: More instances than one request may have.
        """
        if len(self._results) >= rules.INSTANCES_MAX:
            raise LimitExceeded(f"more than {rules.INSTANCES_MAX} instances in one request")
        await self._finishing.acquire()
        self._refused = None
        try:
            self._service.check_space()
        except TransientError as error:
            self._refused = _failure_of(error)

    async def add(self, data: bytes) -> None:
        """Add bytes to the instance that has begun."""
        if self._refused is not None:
            return
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= rules.BATCH_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """End the instance that has begun; what follows runs beside the next one."""
        if self._writer is not None:
            await self._flush()
        writer, self._writer = self._writer, None
        data = self._taken()
        if self._refused is not None:
            self._finishing.release()
            self._results.append(not_stored("", "", self._refused))
            return
        self._results.append(asyncio.create_task(self._finish(writer, data)))

    async def results(self) -> Sequence[Stored]:
        """Return what became of every instance, in the order of the request."""
        return [
            each if isinstance(each, Stored) else await asyncio.shield(each)
            for each in self._results
        ]

    async def close(self) -> None:
        """Forget what was half received, and let what is complete come to its end."""
        if self._writer is not None:
            await self._service.threads.call(self._writer.discard)
            self._writer = None
        tasks = [each for each in self._results if isinstance(each, asyncio.Task)]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._service.end(self._sender)

    async def _flush(self) -> None:
        """Write what has come to the object's file, which begins with the first of it."""
        data = self._taken()
        service, writer = self._service, self._writer
        try:
            if writer is None:
                writer = self._writer = await service.threads.call(service.vault.create)
            await service.threads.call(lambda: writer.write(b"".join(data)))
        except TransientError as error:
            self._refused = _failure_of(error)
            self._writer = None
            if writer is not None:
                await service.threads.call(writer.discard)

    def _taken(self) -> Sequence[bytes]:
        data, self._pending, self._pending_bytes = self._pending, [], 0
        return data

    async def _finish(self, writer: ObjectWriter | None, data: Sequence[bytes]) -> Stored:
        try:
            if writer is None:
                return await self._service.take(data, self._sender)
            return await self._service.finish(writer, self._sender)
        except AsepsisError as error:
            # Also a file that the disk gave back changed: the sender still has the image.
            log.warning("an image was not stored", code=error.code)
            return not_stored("", "", _failure_of(error))
        finally:
            if writer is not None and not writer.is_kept:
                await self._service.threads.call(writer.discard)
            self._finishing.release()


def _failure_of(error: AsepsisError) -> Failure:
    return Failure.NO_RESOURCES if isinstance(error, BackPressure) else Failure.PROCESSING
