"""A link that a test can cut, and a live view that notes when it was told what."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from asepsis.core.trust import tls
from asepsis.edge.uplink.folder import IdentityFolder

HOST = "127.0.0.1"
CHUNK = 65_536
FILLERS_MAX = 8


class Link:
    """Relays TCP to one port; while it is cut, nobody answers, as when a cable is pulled."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._whole = threading.Event()
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._serve()

    def cut(self) -> None:
        """Say nothing more: what is connected falls silent, what connects is not answered."""
        self._whole.clear()
        _end(self._listener)
        self._listener = socket.create_server((HOST, self.port), backlog=0)
        # Connections that nobody accepts: behind them the kernel drops the next one's packets.
        for _ in range(FILLERS_MAX):
            filler = socket.socket()
            self._open.append(filler)
            filler.settimeout(0.1)
            try:
                filler.connect((HOST, self.port))
            except TimeoutError:
                return
        raise AssertionError("the link cannot be cut here")

    def mend(self) -> None:
        """Relay again; connections from before are gone."""
        _end(self._listener)
        self._drop()
        self._listener = socket.create_server((HOST, self.port), backlog=64)
        self._serve()

    def close(self) -> None:
        self._whole.clear()
        _end(self._listener)
        self._drop()

    def _drop(self) -> None:
        for old in self._open:
            _end(old)
        self._open = []

    def _serve(self) -> None:
        self._whole.set()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near = listener.accept()[0]
                far = socket.create_connection((HOST, self._target), 5)
            except OSError:
                return
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if not self._whole.is_set():
                    return
                sink.sendall(data)
        if self._whole.is_set():
            _end(sink)


def _end(found: socket.socket) -> None:
    with contextlib.suppress(OSError):
        found.shutdown(socket.SHUT_RDWR)
    found.close()


class View:
    """What a live view was told: monotonic seconds, name of the event, its data."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str, dict[str, Any]]] = []

    def first(self, name: str, *, after_s: float, **wanted: Any) -> float | None:
        """Return how many seconds after a moment an event came, None if it has not."""
        for at_s, found, data in list(self.seen):
            if found == name and at_s >= after_s and wanted.items() <= data.items():
                return at_s - after_s
        return None

    def alarms(self, *, after_s: float = 0.0) -> list[dict[str, Any]]:
        """Return what was told of the device's own alarm conditions."""
        return [
            data
            for at_s, name, data in list(self.seen)
            if name == "alarm" and at_s >= after_s and data["found_by"] == "device"
        ]

    def active(self) -> dict[str, bool]:
        """Return the device's conditions that the view shows as active, and whether surely so."""
        shown: dict[str, bool] = {}
        for told in self.alarms():
            if told["phase"] == "end":
                shown.pop(told["condition_id"], None)
            else:
                shown[told["condition_id"]] = told["unknown_since_ns"] is None
        return shown


@contextlib.contextmanager
def watching(hub: Any, consumer: IdentityFolder, device: str) -> Iterator[View]:
    """Watch one device until the block ends."""
    _, _, root_der = consumer.load()
    context = tls.client_context(root_der=root_der, identity=consumer.identity)
    where = hub.addresses.clinical
    connection = http.client.HTTPSConnection(where.host, where.port, context=context)
    connection.request("GET", f"/views/live?waveforms=1&device={device}")
    answer = connection.getresponse()
    assert answer.status == 200
    assert connection.sock is not None or answer.fp is not None
    view = View()

    def follow() -> None:
        name = ""
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            while line := answer.readline():
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    view.seen.append((time.monotonic(), name, json.loads(value)))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield view
    finally:
        if connection.sock:
            _end(connection.sock)
        thread.join(5)
