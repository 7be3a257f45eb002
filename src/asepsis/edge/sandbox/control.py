"""Orders from the supervisor to a compartment, and reports the other way: small JSON datagrams.

A report is never waited for: a full queue drops it. What a compartment reports is judged by the
supervisor as coming from somebody who may be owned.
"""

import contextlib
import json
import os
import socket
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import FramingError, LimitExceeded, Unavailable

ORDER_BYTES_MAX: Final = 16_384
REPORT_BYTES_MAX: Final = 2_048
DESCRIPTORS_MAX: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order as a compartment gets it.

    Attributes:
        what: Name of the order; the owner of the compartment defines which there are.
        body: Its values.
        descriptors: Descriptors that came with it, by name; the receiver owns them.
    """

    what: str
    body: dict[str, Any]
    descriptors: dict[str, int]


def send_order(
    control: socket.socket,
    what: str,
    body: Mapping[str, Any],
    *,
    descriptors: Mapping[str, int] | None = None,
) -> None:
    """Send an order; the supervisor's side. The caller keeps its own descriptors.

    Raises:
        LimitExceeded: Too long, or too many descriptors.
        Unavailable: The compartment is gone or does not take orders.
    """
    named = dict(descriptors or {})
    data = json.dumps({"what": what, "body": dict(body), "names": list(named)}).encode()
    send_bytes(control, what, data, descriptors=named)


def send_bytes(
    control: socket.socket, what: str, data: bytes, *, descriptors: Mapping[str, int]
) -> None:
    """Send an order whose form is made already; as `send_order`.

    Raises:
        LimitExceeded: Too long, or too many descriptors.
        Unavailable: The compartment is gone or does not take orders.
    """
    if len(data) > ORDER_BYTES_MAX or len(descriptors) > DESCRIPTORS_MAX:
        raise LimitExceeded(f"order {what} is too large")
    try:
        # Not `socket.send_fds`, which leaves out its flags in Python 3.11 and so would wait.
        passed = array("i", descriptors.values())
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)] if passed else []
        control.sendmsg([data], ancillary, socket.MSG_DONTWAIT)
    except OSError as error:
        raise Unavailable(f"a compartment takes no order ({type(error).__name__})") from error


def receive_order(control: socket.socket) -> Order | None:
    """Wait for the next order; None when the supervisor is gone.

    Raises:
        FramingError: Not an order.
    """
    data, descriptors, _, _ = socket.recv_fds(control, ORDER_BYTES_MAX, DESCRIPTORS_MAX)
    if not data:
        return None
    try:
        document: Any = json.loads(data)
        names = cast("list[str]", document["names"])
        named = dict(zip(names, descriptors, strict=True))
        return Order(what=document["what"], body=document["body"], descriptors=named)
    except (ValueError, KeyError, TypeError) as error:
        for descriptor in descriptors:
            os.close(descriptor)
        raise FramingError("not an order") from error


def send_report(control: socket.socket, document: Mapping[str, Any]) -> None:
    """Send a report, or drop it if the supervisor does not keep up; never waits, never fails."""
    with contextlib.suppress(OSError):
        control.send(json.dumps(document).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def receive_report(control: socket.socket) -> dict[str, Any] | None:
    """Return the next report without waiting; None when the compartment is gone.

    Raises:
        FramingError: Not a JSON object within `REPORT_BYTES_MAX` bytes.
        BlockingIOError: There is none now.
    """
    try:
        data = control.recv(REPORT_BYTES_MAX + 1, socket.MSG_DONTWAIT)
    except ConnectionError:
        return None
    if not data:
        return None
    if len(data) > REPORT_BYTES_MAX:
        raise FramingError("a report is too long")
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FramingError("a report is not JSON") from error
    if not isinstance(document, dict):
        raise FramingError("a report is not an object")
    return cast("dict[str, Any]", document)
