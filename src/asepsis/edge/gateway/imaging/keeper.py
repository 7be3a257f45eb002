"""Keeps the spool and the hub's key: gives the parser files to fill, and sends them to the hub.

A success is said once the hub has the instance, or once file and record are durable here where the
hub does not answer in time. What was said is kept until the hub has it, over any crash.

Two kinds of threads meet at `_lock`: one listens to the parser, one per connection sends.
"""

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    BackPressure,
    FramingError,
    SignatureInvalid,
    TransientError,
    TrustError,
    Unavailable,
)
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.imaging import channel, consignment
from asepsis.edge.gateway.imaging.channel import Drop, File, Open, Outcome, Seen, Written
from asepsis.edge.gateway.imaging.consignment import Job, Load
from asepsis.edge.gateway.imaging.dimse import Status
from asepsis.edge.gateway.imaging.imaging_findings import ImagingFinding
from asepsis.edge.gateway.imaging.stow import StowConnection, Verdict
from asepsis.edge.gateway.imaging.vault import Record, Vault, describe
from asepsis.edge.uplink.backoff import Backoff

TICK_S: Final = 0.1
HUB_BYTES_PER_S: Final = 10_000_000
"""A transfer to the hub slower than this lets the modality wait no longer."""
REFUSED_WAIT_S: Final = 5.0
"""Wait after the hub refused this identity, seconds; a person may release it again."""
RETRY_S: Final = 5.0
"""Wait after the hub failed at one instance that was acknowledged here, seconds."""
DRAIN_S: Final = 5.0


class Keeper:
    """The process beside the parser.

    Args:
        parser: Conversation with the parser.
        vault: The spool.
        connect: Returns a connection to the hub that was not opened yet.
        backoff: Returns waiting times for one connection.
        connections: How many.
        wait_s: As in the settings.
        findings: Told what people should know.
        seen: Told where a modality came from.
        wall: Wall time, nanoseconds.
        monotonic: Seconds.

    Resource handling: `run` returns when the parser is gone, after a moment for what is in flight.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the process
        self,
        parser: socket.socket,
        vault: Vault,
        *,
        connect: Callable[[], StowConnection],
        backoff: Callable[[], Backoff],
        connections: int,
        wait_s: float,
        findings: Findings,
        seen: Callable[[Seen], None],
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parser = parser
        self._vault = vault
        self._connect = connect
        self._backoff = backoff
        self._connections = connections
        self._wait_s = wait_s
        self._findings = findings
        self._seen = seen
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Condition()
        self._open: dict[int, tuple[int, bytes]] = {}  # Token -> number and key of a file.
        self._unanswered: dict[int, Job] = {}  # Number -> job.
        self._live: deque[int] = deque()
        self._backlog: deque[int] = deque(vault.waiting())
        self._hub_answers = True
        self._closing = False

    def run(self) -> None:
        """Serve the parser until it is gone.

        Raises:
            FramingError: The parser says what it may not.
        """
        threads = [
            threading.Thread(
                target=self._send_forever, args=(number,), name=f"stow-{number}", daemon=True
            )
            for number in range(self._connections)
        ]
        for thread in threads:
            thread.start()
        try:
            while True:
                ready, _, _ = select.select([self._parser], [], [], TICK_S)
                if ready:
                    self._take(channel.receive_from_parser(self._parser))
                self._judge_deadlines()
        except Unavailable:
            return  # The parser has ended; whoever was not answered asks again.
        finally:
            with self._lock:
                self._closing = True
                self._lock.notify_all()
            deadline_s = self._monotonic() + DRAIN_S
            for thread in threads:
                thread.join(max(0.0, deadline_s - self._monotonic()))

    def _take(self, message: channel.FromParser) -> None:
        if isinstance(message, Open):
            self._give(message.token)
        elif isinstance(message, Drop):
            number, _ = self._file(message.token)
            self._vault.remove(number)
        elif isinstance(message, Seen):
            self._seen(message)
        else:
            self._written(message)

    def _file(self, token: int) -> tuple[int, bytes]:
        found = self._open.pop(token, None)
        if found is None:
            raise FramingError("the parser names a file that it does not have")
        return found

    def _give(self, token: int) -> None:
        try:
            number, descriptor, key, room = self._vault.new()
        except TransientError as error:
            full = isinstance(error, BackPressure)
            self._findings.note(ImagingFinding.SPOOL_FULL if full else ImagingFinding.SPOOL)
            self._say(token, Status.OUT_OF_RESOURCES, comment=describe(error))
            return
        self._open[token] = (number, key)
        try:
            channel.send(self._parser, File(token, key, room), descriptor)
        finally:
            os.close(descriptor)

    def _written(self, written: Written) -> None:
        number, key = self._file(written.token)
        record = Record(written=written, key=key, received_at_ns=self._wall())
        wait_s = self._wait_s + written.length / HUB_BYTES_PER_S
        job = Job(
            token=written.token,
            number=number,
            record=record,
            deadline_s=self._monotonic() + wait_s,
        )
        with self._lock:
            self._unanswered[number] = job
            at_once = written.ack == "spool" or not self._hub_answers
        if at_once and not self._keep(job):
            return
        with self._lock:
            (self._backlog if at_once else self._live).append(number)
            self._lock.notify()

    def _keep(self, job: Job) -> bool:
        """Make an instance durable here and say so; returns whether it counts."""
        try:
            self._vault.keep(job.number, job.record)
        except TransientError as error:
            with self._lock:
                mine = self._unanswered.pop(job.number, None)
            if mine is not None:
                self._findings.note(ImagingFinding.SPOOL, job.record.written.peer, code=error.code)
                self._vault.remove(job.number)
                self._say(job.token, Status.OUT_OF_RESOURCES, comment=describe(error))
            return False
        with self._lock:
            mine = self._unanswered.pop(job.number, None)
        if mine is None:
            # The hub has it, or refused it, in the meantime: the modality knows, the record goes.
            self._vault.remove(job.number, length=job.record.written.length)
            return False
        self._findings.note(ImagingFinding.SPOOLED, job.record.written.peer)
        self._say(job.token, Status.SUCCESS, spooled=True)
        return True

    def _judge_deadlines(self) -> None:
        now_s = self._monotonic()
        with self._lock:
            late = [job for job in self._unanswered.values() if job.deadline_s <= now_s]
            if not self._hub_answers:
                late = list(self._unanswered.values())
        for job in late:
            self._keep(job)

    def _send_forever(self, place: int) -> None:
        connection = self._connect()
        backoff = self._backoff()
        # The first connection looks at the backlog first, so that it ends under any load; the
        # others at instances whose modality waits.
        queues = (self._backlog, self._live)
        while (loads := self._gather(queues[::-1] if place else queues)) is not None:
            try:
                self._send(connection, loads)
                backoff.succeeded()
            except (TransientError, TrustError) as error:
                connection.close()
                connection = self._connect()  # Certificates may have been renewed.
                self._failed([load.number for load in loads], error)
                pause_s = backoff.failed()
                refused = isinstance(error, TrustError)
                self._pause(max(pause_s, REFUSED_WAIT_S) if refused else pause_s)
        connection.close()

    def _gather(self, queues: Sequence[deque[int]]) -> list[Load] | None:
        """Wait for what goes to the hub next; None at the end."""
        with self._lock:
            while not any(queues) and not self._closing:
                self._lock.wait()
            if self._closing:
                return None
            queue = next(filter(None, queues))
        loads: list[Load] = []
        while (number := self._pop(queue)) is not None:
            load = self._load(number)
            if load is None:
                continue
            if loads and not consignment.fits(loads, load):
                with self._lock:
                    queue.appendleft(number)
                break
            loads.append(load)
        return loads

    def _pop(self, queue: deque[int]) -> int | None:
        with self._lock:
            return queue.popleft() if queue else None

    def _pause(self, seconds: float) -> None:
        deadline_s = self._monotonic() + seconds
        with self._lock:
            while not self._closing and (left_s := deadline_s - self._monotonic()) > 0:
                self._lock.wait(left_s)

    def _send(self, connection: StowConnection, loads: list[Load]) -> None:
        """Send instances and settle them; what is settled leaves `loads`.

        Raises:
            TransientError: Come again.
            TrustError: The hub's certificate does not hold, or it refuses this identity.
        """
        verdicts = self._ask(connection, loads) if loads else []
        if verdicts is None:
            while loads:
                self._send(connection, loads[:1])
                del loads[0]
            return
        waits = False
        for load, verdict in zip(tuple(loads), verdicts, strict=True):
            if not verdict.later:
                waits |= self._settle(load.number, load.record, verdict)
                loads.remove(load)
        if waits:
            self._pause(RETRY_S)
        if loads:
            raise BackPressure("the hub has no room for some of the instances")

    def _ask(self, connection: StowConnection, loads: Sequence[Load]) -> list[Verdict] | None:
        """Return the hub's word about each; None if they are to be asked about one by one."""
        parts = [
            consignment.part_of(load, self._vault.read(load.number, load.record)) for load in loads
        ]
        try:
            return connection.store(parts)
        except SignatureInvalid as error:
            single = len(loads) == 1
            return [Verdict(Status.PROCESSING_FAILURE, describe(error))] if single else None

    def _load(self, number: int) -> Load | None:
        with self._lock:
            job = self._unanswered.get(number)
        record = job.record if job is not None else self._recorded(number)
        return None if record is None else Load(number, record)

    def _recorded(self, number: int) -> Record | None:
        """Read a record of an earlier day; one that nobody can read stays and is told."""
        try:
            return self._vault.record(number)
        except AsepsisError as error:
            self._findings.note(ImagingFinding.SPOOL, code=error.code)
            return None

    def _settle(self, number: int, record: Record, verdict: Verdict) -> bool:
        """Do what the hub's word asks for; return whether it is to be left alone for a while."""
        with self._lock:
            job = self._unanswered.pop(number, None)
            back, self._hub_answers = not self._hub_answers, True
        if back:
            self._findings.note(ImagingFinding.HUB_BACK)
        peer = record.written.peer
        if verdict.status != Status.SUCCESS:
            self._findings.note(ImagingFinding.REFUSED_BY_HUB, peer, status=f"{verdict.status:04X}")
        if job is not None:
            self._vault.remove(number)
            self._say(job.token, verdict.status, comment=verdict.comment)
        elif verdict.status == Status.SUCCESS:
            self._vault.remove(number, length=record.written.length)
        elif verdict.status == Status.PROCESSING_FAILURE:
            with self._lock:
                self._backlog.append(number)  # Something failed there: again, after the others.
            return True
        else:
            self._vault.refuse(number, record, reason=verdict.comment)
        return False

    def _failed(self, numbers: Sequence[int], error: AsepsisError) -> None:
        """Put instances back in front; what was unanswered becomes durable here."""
        with self._lock:
            self._backlog.extendleft(reversed(numbers))
            gone, self._hub_answers = self._hub_answers, False
        if gone:
            self._findings.note(ImagingFinding.HUB_AWAY, code=error.code, reason=str(error))

    def _say(self, token: int, status: int, *, comment: str = "", spooled: bool = False) -> None:
        try:
            channel.send(self._parser, Outcome(token, status, comment, spooled))
        except Unavailable:
            return  # The parser is gone and its associations with it; `run` finds out.
