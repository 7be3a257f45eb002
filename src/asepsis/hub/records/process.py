"""The process that keeps the record: follows the journal, answers the hub, and gives way to it.

It is a process of its own so that neither unpacking nor searching ever holds the interpreter's lock
of the hub. What keeps the record is nicer than the hub, so that lanes come first on a busy machine;
what answers people is less so, and while they wait the other pauses. A small parent starts it anew
when it dies; what is on disk and in the journal is all it needs.
"""

import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from asepsis.core.errors import AsepsisError, TransientError, Unavailable
from asepsis.core.journal.follower import Follower
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.sealing import KekSource, KeyEncryptionKey
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.hub.records import link, queries
from asepsis.hub.records.keeper import Keeper
from asepsis.hub.records.kinds import Retention
from asepsis.hub.records.ports import Readers
from asepsis.hub.records.rebuild import recover

NICE: Final = 10
"""Of the thread that keeps the record."""
ANSWERING_NICE: Final = 3
"""Of the others: people wait for them, but not as urgently as machines for the lanes."""
PAUSE_S_MAX: Final = 0.1
"""The record is kept on after so long, however many people read: it may not fall behind."""
SWITCH_S: Final = 0.001
"""How soon a thread that wants to answer gets the interpreter from the one that keeps."""
FLUSH_EVERY_S: Final = 5.0
STATE_EVERY_S: Final = 1.0
ANSWERING_THREADS: Final = 2
RETRY_S: Final = 2.0
FOLDER: Final = "records"
KEYS: Final = "keys"

log = structlog.get_logger("records")


def watch(control: socket.socket, work: Callable[[socket.socket], None]) -> None:
    """Run `work` in a child of this process for each connection that the hub hands over.

    The children are forks: they need nothing that this process has not loaded already, so it goes
    on where the hub's user may not read the interpreter.

    Args:
        control: Brings connections, one after the other; its end is the end of the hub.
        work: Runs until the hub closes the connection.
    """
    while True:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            return
        child = os.fork()
        with socket.socket(fileno=descriptors[0]) as sock:
            if not child:
                control.close()
                _be_child(sock, work)
        _, status = os.waitpid(child, 0)
        if status:
            log.error("the process that keeps the record ended", status=status)


def open_keeper(
    setup: queries.Setup, readers: Readers, give_way: Callable[[], None]
) -> tuple[Keeper, Follower]:
    """Open the record and the journal that it follows.

    Args:
        setup: What the hub said first.
        readers: Read what other features own.
        give_way: See `Keeper`.

    Raises:
        ConfigError: They belong to another key, or are of another format.
        TransientError: The disk failed.
    """
    folder = Path(setup.folder)
    recover(folder / FOLDER)
    kek = KeyEncryptionKey(KekSource(setup.kek_source), setup.kek_secret)
    aead = CryptographyAead()
    (folder / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    record_keys = DayKeys(folder / FOLDER / KEYS, kek=kek, aead=aead)
    keeper = Keeper(
        folder / FOLDER,
        cipher=record_keys,
        readers=readers,
        retention=Retention(
            numerics_s=setup.numerics_s,
            alarms_s=setup.alarms_s,
            waveforms_s=setup.waveforms_s,
        ),
        clock=time.time_ns,
        give_way=give_way,
    )
    journal_keys = DayKeys(folder / KEYS, kek=kek, aead=aead)
    return keeper, Follower(folder / "journal", cipher=journal_keys)


def configure_logs(level: str) -> None:
    """Write JSON lines to standard error, as the hub does; no body or value is ever given to it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class Courtesy:
    """Lets who answers go before who keeps the record, for half of the time at most.

    What keeps the record asks between any two small pieces of its work. Were it only asked between
    two large ones, a question would wait for the rest of one, at the pace of the nicer thread.

    Args:
        monotonic: Seconds of a clock that never goes back.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._asked = 0  # Questions that are not answered yet.
        self._answered = threading.Condition()
        self._next_s = 0.0

    def __call__(self) -> None:
        """Wait while somebody waits for an answer, `PAUSE_S_MAX` at most."""
        if not self._asked:
            return
        began_s = self._monotonic()
        if began_s < self._next_s:
            return
        with self._answered:
            self._answered.wait_for(lambda: not self._asked, PAUSE_S_MAX)
        now_s = self._monotonic()
        self._next_s = now_s + (now_s - began_s)

    def begin(self) -> None:
        """Note a question."""
        with self._answered:
            self._asked += 1

    def end(self) -> None:
        """Note an answer."""
        with self._answered:
            self._asked -= 1
            self._answered.notify()


class Process:
    """Joins a keeper to the hub.

    Args:
        sock: To the hub.
        readers: Read what other features own.
    """

    def __init__(self, sock: socket.socket, readers: Readers) -> None:
        self._sock = sock
        self._readers = readers
        self._writing = threading.Lock()
        self._news: queue.SimpleQueue[queries.Ends | queries.Expire | None] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(ANSWERING_THREADS, thread_name_prefix="answer")
        self._courtesy = Courtesy()

    def run(self) -> None:
        """Work until the hub closes the connection.

        Raises:
            AsepsisError: The record cannot be opened or kept; the parent tries again.
        """
        setup = self._receive()
        if setup is None:
            return
        if not isinstance(setup, queries.Setup):
            raise Unavailable("the hub does not begin with a setup")
        configure_logs(setup.log_level)
        sys.setswitchinterval(SWITCH_S)
        keeper, follower = open_keeper(setup, self._readers, self._courtesy)
        failed: list[BaseException] = []
        projecting = threading.Thread(
            target=self._project, args=(keeper, follower, failed), name="project", daemon=True
        )
        projecting.start()
        try:
            self._listen(keeper, projecting)
        finally:
            self._news.put(None)
            projecting.join()
            self._threads.shutdown()
            follower.close()
            keeper.close()
        if failed:
            raise failed[0]

    def _listen(self, keeper: Keeper, projecting: threading.Thread) -> None:
        while projecting.is_alive():
            if not select.select([self._sock], [], [], 1.0)[0]:
                continue
            message = self._receive()
            if message is None:
                return
            if isinstance(message, queries.Ask):
                self._courtesy.begin()
                self._threads.submit(self._serve, keeper, message)
            elif isinstance(message, queries.Ends | queries.Expire):
                self._news.put(message)

    def _serve(self, keeper: Keeper, ask: queries.Ask) -> None:
        try:
            self._answer(keeper, ask)
        finally:
            self._courtesy.end()

    def _answer(self, keeper: Keeper, ask: queries.Ask) -> None:
        try:
            reply = keeper.answer(ask.question)
        except AsepsisError as error:
            reply = queries.Refused(error=error.code, message=str(error), hint=error.hint)
        except Exception:
            # A reader must get an answer, and the record must go on being kept.
            log.exception("a question failed")
            reply = queries.Refused(error="", message="the record could not answer")
        self._send(queries.Answer(number=ask.number, reply=reply))

    def _project(self, keeper: Keeper, follower: Follower, failed: list[BaseException]) -> None:
        # Of this thread alone, see nice(2): a person who reads waits for what answers.
        os.nice(NICE - ANSWERING_NICE)
        try:
            self._keep(keeper, follower)
        except BaseException as error:
            # Whatever it was, the thread that asks must learn that nothing is kept any more.
            log.exception("the record cannot be kept")
            failed.append(error)

    def _keep(self, keeper: Keeper, follower: Follower) -> None:
        flush_at = state_at = time.monotonic()
        more = False
        while True:
            if not self._hear(keeper, wait_s=0 if more else STATE_EVERY_S):
                keeper.flush(everything=True)
                return
            self._courtesy()
            try:
                more = keeper.step(follower)
                if time.monotonic() >= flush_at:
                    keeper.flush()
                    flush_at = time.monotonic() + FLUSH_EVERY_S
            except TransientError as error:
                log.warning("the record waits", code=error.code, reason=str(error))
                time.sleep(RETRY_S)
            if time.monotonic() >= state_at:
                self._send(keeper.state())
                state_at = time.monotonic() + STATE_EVERY_S

    def _hear(self, keeper: Keeper, *, wait_s: float) -> bool:
        """Take the hub's news; False when it has gone."""
        try:
            news = self._news.get(timeout=wait_s) if wait_s else self._news.get_nowait()
        except queue.Empty:
            return True
        if isinstance(news, queries.Ends):
            keeper.ends({Lane(lane): end for lane, end in news.ends.items()})
        elif isinstance(news, queries.Expire):
            removed = keeper.expire(news.now_ns)
            if removed:
                log.info("record expired", files=removed)
        return news is not None

    def _send(self, message: queries.Outgoing) -> None:
        data = link.encode(message)
        try:
            with self._writing:
                self._sock.sendall(data)
        except OSError:
            return  # The hub has gone: the reading side ends the process.

    def _receive(self) -> queries.Incoming | None:
        head = _exactly(self._sock, link.LENGTH_BYTES)
        if head is None:
            return None
        body = _exactly(self._sock, link.length_of(head))
        return None if body is None else link.decode(body, queries.Incoming)


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    """Read so many bytes; None if the other side has closed."""
    parts = bytearray()
    while len(parts) < size:
        try:
            chunk = sock.recv(size - len(parts))
        except OSError:
            return None
        if not chunk:
            return None
        parts += chunk
    return bytes(parts)


def _be_child(sock: socket.socket, work: Callable[[socket.socket], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The hub says when it is over.
    os.nice(ANSWERING_NICE)
    status = 1
    try:
        work(sock)
        status = 0
    except Exception:
        # The parent sees the status and starts it anew; this child never returns into its code.
        log.exception("the record cannot be kept")
    finally:
        sys.stderr.flush()
        os._exit(status)
