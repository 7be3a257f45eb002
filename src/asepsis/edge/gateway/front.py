"""The front of the HL7 family: it listens, frames, parses, judges and answers.

It reads what strangers write, so it has nothing that is worth taking: no key of the gateway, no
file to write, no spool, and no network but the sockets that it was bound to and takes.
"""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from asepsis.core.errors import FramingError, Unavailable
from asepsis.edge.gateway.clocks import Clocks
from asepsis.edge.gateway.desk import Desk
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.handover import Channel, Ending, Listening, Outcomes, Ready, Said, Seen
from asepsis.edge.gateway.listener import MllpListener, Port, sweep_forever
from asepsis.edge.gateway.policy import Peer
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox.layer import Layer

SEEN_MAX: Final = 4_096
"""Places of peers that were told of once; beyond it they are told of again."""


@dataclass(slots=True)
class Front:
    """Everything that strangers reach.

    Attributes:
        settings: From `read_settings`.
        clocks: Time.
        ports: Bound before this process was confined.
        layers: What confines the processes of this family; `ready.json` says it.
        holds: Whether this gateway may say "accepted" now; one of a pair only under its lease.

    Resource handling: `run` opens and closes everything.
    """

    settings: Settings
    clocks: Clocks
    ports: Sequence[Port]
    layers: frozenset[Layer]
    holds: Callable[[], bool] = lambda: True
    _desk: Desk | None = field(init=False, default=None)
    _lost: bool = field(init=False, default=False)

    async def run(self, line: socket.socket) -> None:
        """Serve until SIGTERM.

        Args:
            line: Our end of the pair with the keeper.

        Raises:
            Unavailable: The keeper has ended.
        """
        loop = asyncio.get_running_loop()
        findings = Findings(self.clocks.monotonic)
        told = asyncio.Event()
        epoch: asyncio.Future[int] = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, told.set)

        def lost() -> None:
            self._lost = True
            told.set()

        def take(said: Said) -> None:
            if isinstance(said, Ready) and not epoch.done():
                epoch.set_result(said.epoch)
            elif not self._settle(said):
                lost()

        keeper = Channel(take, lost)
        await loop.create_connection(lambda: keeper, sock=line)
        stopped = loop.create_task(told.wait())
        await asyncio.wait([stopped, epoch], return_when=asyncio.FIRST_COMPLETED)
        if epoch.done():
            self._desk = Desk(
                say=keeper.say,
                findings=findings,
                wall=self.clocks.wall,
                loop=loop,
                epoch=epoch.result(),
                holds=self.holds,
            )
            await self._serve(self._desk, keeper, findings, stopped)
        if self._lost:
            raise Unavailable("the keeper of the spool has ended")
        keeper.say(Ending())
        told.clear()
        await told.wait()  # The keeper hangs up once everything is done.

    def _settle(self, said: Said) -> bool:
        """Answer senders; return whether what was said makes sense."""
        if not isinstance(said, Outcomes) or self._desk is None:
            return False
        try:
            for outcome in said.outcomes:
                self._desk.settle(outcome)
        except FramingError:
            return False
        return True

    async def _serve(
        self, desk: Desk, keeper: Channel, findings: Findings, stopped: "asyncio.Task[bool]"
    ) -> None:
        told = dict[Seen, None]()

        def seen(listener: str, peer: Peer, address: str, key: str) -> None:
            found = Seen(peer.name, listener, address, key)
            if peer.devices and found not in told:
                if len(told) >= SEEN_MAX:
                    told.clear()
                told[found] = None
                keeper.say(found)

        listeners = [
            MllpListener(
                port,
                desk=desk,
                findings=findings,
                seen=partial(seen, port.door.listener.name),
            )
            for port in self.ports
        ]
        numbers = [await listener.open() for listener in listeners]
        keeper.say(Listening(self._document(numbers)))
        sweeping = asyncio.get_running_loop().create_task(sweep_forever(listeners))
        try:
            await asyncio.wait([stopped, sweeping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for listener in listeners:
                listener.close()
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)

    def _document(self, numbers: Sequence[int]) -> str:
        # A standby of a pair listens nowhere.
        listeners = self.settings.listeners if self.ports else ()
        found = zip(listeners, numbers, strict=True)
        return json.dumps(
            {
                "pid": os.getpid(),
                "listeners": {each.name: {"host": each.host, "port": port} for each, port in found},
                "layers": sorted(layer.value for layer in self.layers),
            }
        )
