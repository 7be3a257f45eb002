"""The network between ward and hub: `python -m asepsis.tools.simulator.switch_process PORT...`.

For every port of the hub it listens on one of its own and carries bytes both ways; TLS runs through
it from end to end. The command `cut` holds everything back, as a pulled cable does: nobody is told,
connections stay, what is sent waits. `join` lets it flow again, and `stop` ends.
"""

import argparse
import asyncio
import socket
import sys
import threading
from typing import Final

from asepsis.tools.simulator.telling import STOP, listen, say

HOST: Final = "127.0.0.1"
BLOCK_BYTES: Final = 65_536
CONNECTIONS_MAX: Final = 512


class Switch:
    """Carries connections from one port to another while it is joined.

    Args:
        flowing: Set while it is joined.
    """

    def __init__(self, flowing: asyncio.Event) -> None:
        self._flowing = flowing
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, port: int) -> int:
        """Listen for whoever wants to go to `port`; return the port to come to."""

        async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is None or len(self._open) >= CONNECTIONS_MAX:
                writer.close()
                return
            self._open.add(task)
            try:
                await self._carry(reader, writer, port)
            finally:
                self._open.discard(task)

        server = await asyncio.start_server(arrived, HOST, 0)
        return int(server.sockets[0].getsockname()[1])

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        await self._flowing.wait()
        try:
            their_reader, their_writer = await asyncio.open_connection(HOST, port)
        except OSError:
            writer.close()
            return
        for each in (writer, their_writer):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ways = [self._pump(reader, their_writer), self._pump(their_reader, writer)]
        await asyncio.gather(*ways)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while block := await reader.read(BLOCK_BYTES):
                await self._flowing.wait()
                writer.write(block)
                await writer.drain()
            await self._flowing.wait()
        except OSError:
            pass  # One side is gone; the other learns it by the close below.
        finally:
            writer.close()


async def run(ports: list[int]) -> None:
    """Carry until told to stop."""
    flowing = asyncio.Event()
    flowing.set()
    switch = Switch(flowing)
    say("ready", ports=[await switch.serve(port) for port in ports])
    commands: asyncio.Queue[str] = asyncio.Queue()
    threading.Thread(
        target=_forward, args=(asyncio.get_running_loop(), commands), daemon=True
    ).start()
    while (command := await commands.get()) != STOP:
        if command == "cut":
            flowing.clear()
        elif command == "join":
            flowing.set()
        say(command)


def _forward(loop: asyncio.AbstractEventLoop, commands: "asyncio.Queue[str]") -> None:
    heard = listen()
    while True:
        command = heard.get()
        loop.call_soon_threadsafe(commands.put_nowait, command)
        if command == STOP:
            return


def main() -> int:
    """Run the network of a story."""
    parser = argparse.ArgumentParser(description="The network between ward and hub.")
    parser.add_argument("port", type=int, nargs="+", help="port of the hub")
    asyncio.run(run(parser.parse_args().port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
