"""The fetcher compartment: has a network by way of others, and no key of trust.

It is started for one contact with the repositories, answers what the verifier asks over two pipes,
and ends. It can write to the folder of incoming artefacts and nowhere else; which hosts its
connections go to the supervisor pinned before it started. What lies at the hub it reads over the
network compartment, which alone has the key of the device's connection.
"""

import encodings.idna
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from asepsis.core.errors import ConfigError, TransientError, Unavailable
from asepsis.core.trust import tls
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.device.update.fetching import TIMEOUT_S, Fetcher, Place, Repository
from asepsis.edge.device.update_line import ASKED, BROUGHT, HubReader
from asepsis.edge.sandbox.broker import BrokerClient
from asepsis.edge.sandbox.control import Order

INCOMING: Final = "incoming"
_PRELOADED: Final = (encodings.idna, ssl)
"""Nothing can be loaded later: no memory becomes executable after the start."""


class Errand:
    """One contact.

    Args:
        fetcher: Brings what is asked.
        asked: What the verifier asks.
        answers: What it is answered.
        line: Control line.
    """

    def __init__(
        self, fetcher: Fetcher, *, asked: IO[bytes], answers: IO[bytes], line: Line
    ) -> None:
        self._fetcher = fetcher
        self._asked = asked
        self._answers = answers
        self._line = line

    def run(self) -> None:
        """Answer until the verifier has had enough."""
        try:
            self._fetcher.serve(self._asked, self._answers)
        except TransientError as error:
            self._line.report("gone", text=str(error)[:200])


def build(order: Order, line: Line) -> Callable[[], Errand]:
    """Take the pipes and the channels; the folder and the network come once the rights are gone."""
    asked = os.fdopen(take(order, "asked"), "rb")
    answers = os.fdopen(take(order, "answers"), "wb")
    channels = sorted(name for name in order.descriptors if name.startswith("channel"))
    client = BrokerClient([take(order, name) for name in channels])
    hub = _hub(order)
    body = order.body
    places = {(str(host), int(port)): n for n, (host, port) in enumerate(body["places"])}
    state = Path(body["state"])

    def dial(place: Place) -> socket.socket:
        number = places.get((place.host, place.default_port))
        if number is None:
            raise Unavailable("no such place is pinned")
        return client.dial(number, timeout_s=TIMEOUT_S)

    def make() -> Errand:
        fetcher = Fetcher(
            repositories={name: _repository(found) for name, found in body["from"].items()},
            incoming=state / INCOMING,
            now_s=time.monotonic,
            dial=dial,
            context=_context(state),
            hub=hub,
            bytes_per_s=int(body["bytes_per_s"]),
        )
        return Errand(fetcher, asked=asked, answers=answers, line=line)

    return make


def _hub(order: Order) -> HubReader | None:
    """Take the lines to the network compartment, where a repository lies at the hub."""
    if ASKED not in order.descriptors:
        return None
    asking, brought = (socket.socket(fileno=take(order, name)) for name in (ASKED, BROUGHT))
    return HubReader(asking, brought)


def _repository(found: dict[str, Any]) -> Repository:
    artefacts = found.get("artefacts")
    return Repository(
        Place.parse(found["metadata"]), None if artefacts is None else Place.parse(artefacts)
    )


def _context(state: Path) -> ssl.SSLContext | None:
    """Return the context that trusts the hospital's root, where it was given that.

    Raises:
        ConfigError: It does not load.
    """
    try:
        root_der = (state / "root.der").read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"the hospital's root cannot be read: {error.strerror}") from error
    return tls.client_context_without_time_check(root_der=root_der)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
