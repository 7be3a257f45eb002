"""The reports family: `python -m asepsis.edge.gateway.imaging.reports_app <gateway.toml>`.

It brings an archive's word about a commitment to the modality that asked. The hub keeps what was
not told yet, so nothing is kept here. Two processes: this one holds the gateway's key and speaks
with the hub alone; the other speaks DICOM with the declared modalities and holds nothing. Ends on
SIGTERM; exits with 5 for an operator's mistake.
"""

import asyncio
import contextlib
import encodings.idna
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, ConfigError, Unavailable
from asepsis.core.wire.commitment import Reason
from asepsis.core.wire.relay import Asked, Page
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.families import renews
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.hub_way import HubWay
from asepsis.edge.gateway.imaging import commitments, datasets, policy_reading, reporter
from asepsis.edge.gateway.imaging.answering import FRAME_BYTES_MAX, HEAD
from asepsis.edge.gateway.imaging.archives_app import order
from asepsis.edge.gateway.imaging.bcp195 import user_context
from asepsis.edge.gateway.imaging.imaging_findings import ImagingFinding
from asepsis.edge.gateway.imaging.relay_connection import RelayConnection
from asepsis.edge.gateway.imaging.reporter import TOLD, Reporter, Telling
from asepsis.edge.gateway.imaging.requestor import Remote
from asepsis.edge.gateway.imaging.settings import ImagingSettings, MoveEntry
from asepsis.edge.gateway.program import be_helper, run_program
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox.confine import confine
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import Dial, Endpoint
from asepsis.edge.uplink.folder import IdentityFolder

ANSWER_S: Final = 30.0
WAIT_S: Final = 10
AGAIN_S: Final = 5.0
"""Pause before modalities that could not be told are tried again."""
BACKOFF_CAP_S: Final = 5.0
CONNECT_S: Final = 10.0
_PRELOADED: Final = (encodings.idna,)


def check(settings: Settings) -> ImagingSettings:
    """Return what the family works with.

    Raises:
        ConfigError: Nobody may ask, or one that may is no declared destination.
    """
    imaging = settings.imaging
    if imaging is None or not imaging.commits:
        raise ConfigError("no [[imaging.peers]] may ask for commitments")
    policy_reading.check_destinations(imaging, segments=settings.device_segments)
    return imaging


def start(settings: Settings) -> None:
    """Run the family, confined.

    Raises:
        ConfigError: An operator's mistake.
        Unavailable: The other process has ended.
    """
    imaging = check(settings)
    own, far = socket.socketpair()
    if not os.fork():
        own.close()
        be_helper(lambda: _run_reporter(imaging, far))
    far.close()
    folder = IdentityFolder(Path(settings.data) / "identity")
    _, hospital, _ = folder.load()
    dial = confinement.fork_broker(hospital, connections=1)
    way = HubWay(settings, folder, dial, name="reports", renews=renews(settings, "reports"))
    confinement.preload()
    confine(order(readable=(folder.path,), writable=(folder.path,)))
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: told.set())
    with contextlib.closing(way):
        way.start()
        messenger = Messenger(own, way, Findings(time.monotonic_ns), told)
        threading.Thread(target=messenger.run, name="reports", daemon=True).start()
        while not told.wait(0.1):
            if messenger.lost.is_set():
                raise Unavailable("the process that speaks DICOM has ended")


class Messenger:
    """Takes from the hub what is to be told, and puts away what was.

    Args:
        half: Conversation with the half that speaks DICOM.
        way: Connects to the hub.
        findings: Told what people should know.
        told: Set when everything ends.

    Attributes:
        lost: Set when the other half is gone.
    """

    def __init__(
        self, half: socket.socket, way: HubWay, findings: Findings, told: threading.Event
    ) -> None:
        self._half = half
        self._reader = half.makefile("rb")
        self._way = way
        self._connection = way.connect(RelayConnection, answer_s=ANSWER_S)
        self._backoff = Backoff(rng=random.Random(), cap_s=BACKOFF_CAP_S)  # noqa: S311 - jitter
        self._findings = findings
        self._ended = told
        self._skip = 0
        self.lost = threading.Event()

    def run(self) -> None:
        """Tell until the end."""
        try:
            while not self._ended.is_set():
                try:
                    self._one()
                    self._backoff.succeeded()
                except AsepsisError as error:
                    self._findings.note(ImagingFinding.HUB_AWAY, "reports", code=error.code)
                    self._connection.close()
                    self._connection = self._way.connect(RelayConnection, answer_s=ANSWER_S)
                    self._ended.wait(self._backoff.failed())
        except OSError:
            self.lost.set()
        finally:
            self._connection.close()
            self._reader.close()
            self._half.close()

    def _one(self) -> None:
        """Tell one modality; one that cannot be told holds up no other.

        Raises:
            AsepsisError: The hub does not answer.
            OSError: The other half is gone.
        """
        wait_s = 0 if self._skip else WAIT_S
        found = self._connection.report(skip=self._skip, wait_s=wait_s)
        if found is None:
            if self._skip:
                self._skip = 0
                self._ended.wait(AGAIN_S)
            return
        asked, page = found
        if self._tell(asked, page):
            self._connection.reported(asked.id)
        else:
            self._skip += 1

    def _tell(self, asked: Asked, page: Page) -> bool:
        if page.matches:
            document = page.matches[0].dataset
        else:  # Nobody gave a word until the hub gave up: nothing is committed.
            document = commitments.nothing_kept(asked.dataset, reason=Reason.PROCESSING)
        telling = Telling(title=asked.calling, document=document)
        body = reporter.encode(telling)
        self._half.sendall(HEAD.pack(reporter.TELL, len(body)) + body)
        head = self._reader.read(HEAD.size)
        if len(head) < HEAD.size:
            raise ConnectionError("the half that speaks DICOM is gone")
        outcome, length = HEAD.unpack(head)
        if length > FRAME_BYTES_MAX:
            raise ConnectionError("the half that speaks DICOM says what it may not")
        text = self._reader.read(length).decode("utf-8", "replace")
        if outcome != TOLD:
            self._findings.note(ImagingFinding.NOT_TOLD, asked.calling, reason=text[:120])
        return outcome == TOLD


def _run_reporter(imaging: ImagingSettings, end: socket.socket) -> None:
    """Be the half that speaks DICOM."""
    entries = imaging.destinations
    places = list(dict.fromkeys(Endpoint(entry.host, entry.port) for entry in entries))
    dial = confinement.fork_broker(None, connections=1, peers=places)
    modalities = {entry.title: _remote(entry, dial) for entry in entries}
    loop = asyncio.new_event_loop()  # It makes a pair of sockets, forbidden after this.
    datasets.preload()
    confinement.preload()
    confine(order())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_report_all(end, modalities))


async def _report_all(end: socket.socket, modalities: Mapping[str, Remote]) -> None:
    end.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=FRAME_BYTES_MAX)
    await Reporter(reader, writer, modalities).run()


def _remote(entry: MoveEntry, dial: Dial) -> Remote:
    place = Endpoint(entry.host, entry.port)
    return Remote(
        host=entry.host,
        port=entry.port,
        called=entry.title,
        calling=entry.calling,
        tls=user_context(entry),
        server_name=entry.server_name,
        answer_s=entry.answer_s,
        dial=lambda: dial(place, CONNECT_S),
    )


def main(arguments: list[str]) -> int:
    """Run the reports family of one settings file; return the exit code."""
    return run_program("asepsis.edge.gateway.imaging.reports_app", arguments, start)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
