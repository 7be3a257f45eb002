"""What an attacker would like to reach: hosts, a name server, control sockets. All on loopback."""

import contextlib
import select
import socket
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
OTHER_HOST: Final = "127.0.0.78"
QUERY: Final = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x03hub\x07invalid\x00\x00\x01\x00\x01"
"""A question for the address of `hub.invalid`, as a name server gets it."""
ABSTRACT: Final = "asepsis-attack-{}"
PIECE: Final = 512
STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where things are.

    Attributes:
        hub: Port of the pinned hub, which takes connections and never answers.
        elsewhere: Port of another host.
        udp: Port that answers datagrams.
        dns: Port at `OTHER_HOST` that answers as a name server would.
        ipv6: Port on IPv6; 0 where this machine has none.
        path_socket: A control socket that only its owner may use.
        abstract: Name of a control socket without a path.
    """

    hub: int
    elsewhere: int
    udp: int
    dns: int
    ipv6: int
    path_socket: Path
    abstract: str


class Visits:
    """Serves all of it in one thread, and counts who came where.

    Args:
        lines: Sockets by name.

    Resource handling: `close` ends the thread and closes all.
    """

    def __init__(self, lines: dict[str, socket.socket]) -> None:
        self._lines = lines
        self._kept: list[socket.socket] = []
        self._stop, self._stopped = socket.socketpair()
        self.seen: dict[str, int] = dict.fromkeys(lines, 0)
        self._thread = threading.Thread(target=self._serve, name="surroundings", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        names = {line: name for name, line in self._lines.items()}
        while True:
            readable, _, _ = select.select([*names, self._stopped], [], [])
            if self._stopped in readable:
                return
            for line in readable:
                self.seen[names[line]] += 1
                with contextlib.suppress(OSError):
                    self._meet(line)

    def _meet(self, line: socket.socket) -> None:
        if line.type == socket.SOCK_DGRAM:
            data, peer = line.recvfrom(PIECE)
            line.sendto(data, peer)
        else:
            self._kept.append(line.accept()[0])

    def hang_up(self) -> None:
        """End every connection, so that nobody waits for an answer; nobody is met any more."""
        if self._thread.is_alive():
            self._stop.send(b"x")
            self._thread.join(STOP_S)
        for line in (*self._kept, *self._lines.values()):
            line.close()

    def close(self) -> None:
        """End."""
        self.hang_up()
        self._stop.close()
        self._stopped.close()


@contextlib.contextmanager
def surroundings(folder: Path) -> Generator[tuple[Surroundings, Visits]]:
    """Open everything that an attacker would like to reach.

    Args:
        folder: Takes the control socket; others may pass it.
    """
    hub = socket.create_server((HOST, 0))
    port = hub.getsockname()[1]
    place = folder / "control"
    lines = {
        "hub": hub,
        "elsewhere": socket.create_server((HOST, 0)),
        "same port": socket.create_server((OTHER_HOST, port)),
        "udp": _bound(socket.AF_INET, (HOST, 0)),
        "dns": _bound(socket.AF_INET, (OTHER_HOST, 0)),
        "path": _bound(socket.AF_UNIX, str(place)),
        "abstract": _bound(socket.AF_UNIX, "\0" + ABSTRACT.format(port)),
    }
    place.chmod(0o600)
    with contextlib.suppress(OSError):
        lines["ipv6"] = socket.create_server(("::1", 0), family=socket.AF_INET6)
    visits = Visits(lines)
    try:
        yield (
            Surroundings(
                hub=port,
                elsewhere=_port(lines["elsewhere"]),
                udp=_port(lines["udp"]),
                dns=_port(lines["dns"]),
                ipv6=_port(lines["ipv6"]) if "ipv6" in lines else 0,
                path_socket=place,
                abstract=ABSTRACT.format(port),
            ),
            visits,
        )
    finally:
        visits.close()
        place.unlink(missing_ok=True)


def _port(line: socket.socket) -> int:
    return int(line.getsockname()[1])


def _bound(family: int, where: object) -> socket.socket:
    datagrams = family == socket.AF_INET
    line = socket.socket(family, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    line.bind(where)  # pyright: ignore[reportArgumentType] - as its family wants it
    if not datagrams:
        line.listen()
    return line
