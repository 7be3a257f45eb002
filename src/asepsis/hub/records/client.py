"""The hub's side of the record: hands over connections, asks, and says how far the lanes go."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import structlog

from asepsis.core import errors
from asepsis.core.errors import AsepsisError, FramingError, InputError, Unavailable
from asepsis.core.model.lanes import Lane
from asepsis.hub.records import link, queries
from asepsis.hub.records.ports import TrendPoint

ASK_S_MAX: Final = 30.0
"""Seconds that a question may take; the one who asks hears 503 then."""
ASKED_MAX: Final = 256
"""Questions that may wait at once."""
RESTART_S: Final = 1.0
STOP_S: Final = 20.0

R = TypeVar("R", bound=queries.Reply)
log = structlog.get_logger("records")


class Keeping:
    """The process that keeps the record, as something that can be started and stopped.

    Args:
        module: What it runs: a module that takes the number of its control socket.
        arguments: Further arguments of the module.

    Resource handling:
        Holds a child process until `stop`.
    """

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", module, str(theirs.fileno()), *arguments]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])  # noqa: S603 - our own module

    @property
    def pid(self) -> int:
        """Number of the process that starts the one which keeps the record."""
        return self._process.pid

    def connect(self) -> socket.socket:
        """Hand over one end of a new connection and return the other.

        Raises:
            Unavailable: The process has ended.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"c"], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise Unavailable("the process that keeps the record has ended") from error
        return ours

    def stop(self) -> None:
        """End it; a record that is being kept is written before."""
        self._control.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class RecordClient:
    """Asks the record, from one event loop.

    Args:
        keeping: The process.
        setup: Its first message.
    """

    def __init__(self, keeping: Keeping, setup: queries.Setup) -> None:
        self._keeping = keeping
        self._setup = setup
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, asyncio.Future[queries.Reply]] = {}
        self._number = 0
        self._ends: dict[str, int] = {}
        self.state: queries.State | None = None
        """What the process said last; None before it said anything."""
        self.on_state: Callable[[queries.State], None] | None = None

    async def run(self) -> None:
        """Keep a connection until cancelled; a process that died starts again."""
        while True:
            try:
                await self._serve()
                log.warning("the process that keeps the record ended; it starts again")
            except (Unavailable, FramingError) as error:
                log.warning("the record is not served", code=error.code)
            await asyncio.sleep(RESTART_S)

    async def stop(self) -> None:
        """Close the connection and end the process."""
        if self._writer is not None:
            self._writer.close()
        await asyncio.to_thread(self._keeping.stop)

    def ends(self, ends: dict[str, int]) -> None:
        """Say how far the lanes go now; returns at once."""
        if ends != self._ends:
            self._ends = dict(ends)
            self._send(queries.Ends(ends=ends))

    def expire(self, now_ns: int) -> None:
        """Have expired days removed; returns at once."""
        self._send(queries.Expire(now_ns=now_ns))

    async def ask(self, question: queries.Question, kind: type[R]) -> R:
        """Return the answer to a question.

        Args:
            question: What is asked.
            kind: What an answer to it is.

        Raises:
            AsepsisError: What the record raised.
            Unavailable: The record is not served now, or did not answer in time.
        """
        if self._writer is None or len(self._asked) >= ASKED_MAX:
            raise Unavailable("the record is not served now", hint="try again in a few seconds")
        self._number += 1
        number = self._number
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(queries.Ask(number=number, question=question))
            async with asyncio.timeout(ASK_S_MAX):
                reply = await future
        except TimeoutError as error:
            raise Unavailable("the record did not answer in time") from error
        finally:
            self._asked.pop(number, None)
        if isinstance(reply, queries.Refused):
            raise _refusal(reply)
        if not isinstance(reply, kind):
            raise Unavailable("the record answered something else")
        return reply

    async def trend(
        self,
        device: str,
        *,
        from_ns: int,
        to_ns: int,
        points_max: int,
        mdc_code: int | None = None,
        handle: int | None = None,
    ) -> Sequence[TrendPoint]:
        """See `ports.Trends`."""
        if mdc_code is None and handle is None:
            raise InputError("a trend is of one metric: name its code or its handle")
        if not 2 <= points_max <= queries.POINTS_MAX or not 0 <= from_ns < to_ns:
            raise InputError("a trend has 2 to 10 000 points and ends after it began")
        question = queries.Trend(
            device=device,
            mdc_code=mdc_code,
            handle=handle,
            from_ns=from_ns,
            to_ns=to_ns,
            points_max=points_max,
        )
        found = await self.ask(question, queries.Points)
        return tuple(TrendPoint(*point) for point in found.points)

    async def _serve(self) -> None:
        sock = self._keeping.connect()
        sock.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        writer.write(link.encode(self._setup))
        if self._ends:
            writer.write(link.encode(queries.Ends(ends=self._ends)))
        self._writer = writer
        try:
            while True:
                size = link.length_of(await reader.readexactly(link.LENGTH_BYTES))
                self._heard(link.decode(await reader.readexactly(size), queries.Outgoing))
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            self._writer = None
            writer.close()
            for future in self._asked.values():
                if not future.done():
                    future.set_exception(Unavailable("the record is not served now"))
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _heard(self, message: queries.Outgoing) -> None:
        if isinstance(message, queries.State):
            self.state = message
            if self.on_state is not None:
                self.on_state(message)
            return
        future = self._asked.get(message.number)
        if future is not None and not future.done():
            future.set_result(message.reply)

    def _send(self, message: queries.Incoming) -> None:
        if self._writer is not None:
            self._writer.write(link.encode(message))


def settled_ends(position_of: Callable[[Lane], int], lanes: Sequence[Lane]) -> dict[str, int]:
    """Return how far lanes go, as `RecordClient.ends` takes it."""
    return {lane.value: position_of(lane) for lane in lanes}


def _refusal(reply: queries.Refused) -> AsepsisError:
    for kind in _kinds(AsepsisError):
        if kind.code == reply.error and kind.__module__ == errors.__name__:
            return kind(reply.message, hint=reply.hint)
    return Unavailable(reply.message)


def _kinds(root: type[AsepsisError]) -> list[type[AsepsisError]]:
    found = [root]
    for kind in found:
        found += kind.__subclasses__()
    return found
