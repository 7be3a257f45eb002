"""What the owner of the network compartment tells its supervisor, and asks of vitals.

See `payload`: this text runs inside the compartment. First come well-formed lies, then, once
in each life of the compartment, something that no report is.
"""

import json
import os
import select
import socket
from collections.abc import Callable
from typing import Any, Final

from asepsis.tools.attack.payload import TARGETS

FLOOD: Final = 2_000
LIES: Final[tuple[dict[str, Any], ...]] = (
    {"event": "mapped", "epoch": 99},
    {"event": "alert-signed", "sequence": -1},
    {"event": "fate", "account": "origin", "fate": "acknowledged", "sequence": 2**70},
    {"event": "fate", "account": ["origin"], "fate": {}, "sequence": True},
    {"event": "state", "state": "MAINTENANCE"},
    {"event": "bedside", "key": "maintenance"},
    {"event": "order", "what": "bedside", "body": {"key": "maintenance"}},
    {"event": "person", "yes": True, "code": "000000"},
    {"event": "request", "verdict": "accepted", "asker": "panel", "request": "alarm-limit"},
    {"event": "permit", "verdict": "granted"},
    {"event": "verified", "sha256": "00"},
    {"event": None},
    {"event": {"event": "alive"}},
    {},
)
"""Events of other compartments, orders, and what has no meaning."""


def _not_text(line: socket.socket) -> None:
    line.send(b"\xff\xfe\x00")


def _too_long(line: socket.socket) -> None:
    line.send(b'{"event":"' + b"x" * 60_000 + b'"}')


def _too_deep(line: socket.socket) -> None:
    line.send(b"[" * 2_000)


def _descriptors(line: socket.socket) -> None:
    socket.send_fds(line, [b'{"event":"alive"}'], [line.fileno()] * 32)
    line.send(b"0")


def _nothing(line: socket.socket) -> None:
    line.send(b"")


BROKEN: Final[tuple[Callable[[socket.socket], None], ...]] = (
    _descriptors, _too_long, _too_deep, _not_text, _nothing,
)  # fmt: skip


def lie(worker: Any) -> None:
    """Tell everything, then break the form once."""
    line = worker._line.socket  # noqa: SLF001 - the attacker's business
    for frame in TARGETS["frames"]:
        for descriptor in TARGETS["request_lines"]:
            os.write(descriptor, bytes.fromhex(frame))
    for words in LIES:
        _tell(line, json.dumps(words).encode())
    for number in range(FLOOD):
        _tell(line, b'{"event":"fate","sequence":%d}' % number)
    _tell(line, b'{"event":"lied"}')
    select.select([], [], [], TARGETS["pause_s"])
    BROKEN[TARGETS["life"] % len(BROKEN)](line)
    select.select([], [], [], TARGETS["pause_s"])
    os._exit(1)


def _tell(line: socket.socket, data: bytes) -> None:
    """Wait until the supervisor has taken enough to take more."""
    select.select([], [line], [], 2)
    line.send(data)
