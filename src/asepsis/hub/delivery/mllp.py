"""Kind `mllp`: the hub dials a receiver itself, over TLS only; clear text needs a gateway."""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from asepsis.core.dialogue.mllp import MllpSession
from asepsis.hub.delivery.dialer import Dialer, HostPort
from asepsis.hub.delivery.line import Line
from asepsis.hub.delivery.model import Options

MakeContext = Callable[[Options], ssl.SSLContext]
"""Returns the TLS context for a destination's options; raises ConfigError."""


class MllpSender:
    """Serves destinations of kind `mllp`.

    Args:
        dialer: Connects.
        context: Makes TLS contexts.
    """

    def __init__(self, dialer: Dialer, context: MakeContext) -> None:
        self._dialer = dialer
        self._context = context

    async def __call__(self, line: Line) -> None:
        """Connect once there is something to send, and send until the connection ends.

        Raises:
            TransientError: Why it ended.
            TrustError: The address or certificate is not what it must be.
            ConfigError: The options do not hold.
        """
        while not line.look(0, items_max=1):
            await line.arrival(0, wait_s=60.0)
        session = await self._connect(line)
        await session.run()

    async def probe(self, line: Line) -> None:
        """Connect and hang up; errors as a call."""
        options, place = line.destination.options, HostPort.parse(line.destination.address)
        transport, _ = await self._dialer.connect(
            asyncio.Protocol,
            place,
            context=self._context(options),
            server_name=options.server_name,
            local=options.local,
        )
        cast("asyncio.Transport", transport).abort()

    async def _connect(self, line: Line) -> MllpSession:
        options, place = line.destination.options, HostPort.parse(line.destination.address)

        def make() -> asyncio.Protocol:
            return MllpSession(line, in_flight_max=options.in_flight, answer_s=options.answer_s)

        _, protocol = await self._dialer.connect(
            make,
            place,
            context=self._context(options),
            server_name=options.server_name,
            local=options.local,
        )
        return cast("MllpSession", protocol)
