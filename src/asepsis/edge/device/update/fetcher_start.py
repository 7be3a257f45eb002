"""How a fetcher is started: which places it may reach, and who reads at the hub for it."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.device.state import code_link
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.update import fetcher
from asepsis.edge.device.update.compartments import FETCHER, updating
from asepsis.edge.device.update.fetching import HUB, Place
from asepsis.edge.device.update_line import ASKED, BROUGHT
from asepsis.edge.sandbox import bubblewrap, domains, launcher
from asepsis.edge.sandbox.broker import Address, Broker
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.launcher import Compartment
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.ring import wake_pair

_DIRECTOR: Final = "hub:/updates/director"
_IMAGES: Final = "hub:/updates/images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetchers:
    """Starts fetchers, one for each contact.

    Attributes:
        folder: The device's folder.
        state: The fetcher's own folder.
        repositories: URLs by repository, as `repositories` returns them.
        layers: Layers of this machine.
        bytes_per_s: Budget for artefacts; 0 for none.
        supervisor: Lets the network compartment read at the hub.
    """

    folder: Path
    state: Path
    repositories: Mapping[str, Mapping[str, str]]
    layers: frozenset[Layer]
    bytes_per_s: int
    supervisor: Supervisor

    def start(self, handed: Mapping[str, int]) -> "Fetching":
        """Start one; see `contact.StartFetcher`.

        Raises:
            Unavailable: It does not start, or nobody can read at the hub now.
            ConfigError: Its folder cannot be made.
        """
        declared = updating().compartments[FETCHER]
        _prepare(self.state, user=declared.user if Layer.USERS in self.layers else None)
        plan = host.blueprint(declared, layers=self.layers, state=self.state)
        places = _places(self.repositories)
        broker = Broker(places, channels=declared.channels, owner=FETCHER)
        channels = {f"channel{n}": line.fileno() for n, line in enumerate(broker.theirs)}
        wrapped = Layer.BUBBLEWRAP in self.layers
        body = {
            "from": self.repositories,
            "places": [[place.host, place.port] for place in places],
            "state": str(bubblewrap.STATE if wrapped else self.state),
            "bytes_per_s": self.bytes_per_s,
        }
        with contextlib.ExitStack() as undo:
            undo.callback(broker.close)
            lines = self._lines()
            try:
                with (self.folder / "device.log").open("ab", buffering=0) as log:
                    process = launcher.launch(
                        plan,
                        body=body,
                        descriptors={**handed, **channels, **lines},
                        code_folder=code_link(self.folder, bubblewrap.code().package),
                        log=log,
                    )
            finally:
                _close(lines.values())
            undo.pop_all()
        broker.start()
        return Fetching(process, broker)

    def _lines(self) -> dict[str, int]:
        """Return the fetcher's ends of lines to the hub; its others the network compartment has.

        The supervisor keeps none of the network's ends, so each side hears the end of the other.
        """
        if not any(_is_hub(url) for urls in self.repositories.values() for url in urls.values()):
            return {}
        with domains.sockets_as("line", ASKED):
            asking, asked = wake_pair()
        with domains.sockets_as("line", BROUGHT):
            bringing, brought = wake_pair()
        own = {ASKED: asking.detach(), BROUGHT: brought.detach()}
        try:
            with asked, bringing:
                ends = {ASKED: asked.fileno(), BROUGHT: bringing.fileno()}
                self.supervisor.carry_updates(ends, bytes_per_s=self.bytes_per_s)
        except BaseException:
            _close(own.values())
            raise
        return own


@dataclass(frozen=True, slots=True)
class Fetching:
    """A fetcher that runs, and the broker of its connections.

    Attributes:
        process: The fetcher.
        broker: Connects it to the places that are not at the hub.
    """

    process: Compartment
    broker: Broker

    def kill(self) -> None:
        """End both."""
        self.process.kill()
        self.broker.close()


def repositories(director: str, vendors: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the URLs of every repository; what is `hub` lies at the hub of this device.

    Raises:
        ConfigError: A URL is none.
    """
    found = {"director": {"metadata": _DIRECTOR if director == HUB else director}}
    for name, url in vendors.items():
        base = f"{_IMAGES}/{name}" if url == HUB else url.rstrip("/")
        found[name] = {"metadata": f"{base}/metadata", "artefacts": f"{base}/targets"}
    for urls in found.values():
        for url in urls.values():
            Place.parse(url)
    return found


def _is_hub(url: str) -> bool:
    return Place.parse(url).scheme == HUB


def _places(repositories: Mapping[str, Mapping[str, str]]) -> list[Address]:
    """Return every host that a fetcher may reach by itself, once each."""
    found: dict[Address, None] = {}
    for urls in repositories.values():
        for url in urls.values():
            place = Place.parse(url)
            if place.scheme != HUB:
                found[Address(place.host, place.default_port)] = None
    return list(found)


def _prepare(state: Path, *, user: int | None) -> None:
    """Make the fetcher's folder; it does not run now.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        incoming = state / fetcher.INCOMING
        incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user is not None:
            for path in (state, incoming):
                os.chown(path, user, user, follow_symlinks=False)
    except OSError as error:
        raise ConfigError(f"cannot prepare {state}: {error.strerror}") from error


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
