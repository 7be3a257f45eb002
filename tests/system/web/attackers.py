"""Slow-loris peers in a process of their own: `attackers.py PORT FOLDER IDENTITIES EACH`.

Opens IDENTITIES x EACH connections, half of which send half a head and wait, half of which drip an
endless header; each from its own loopback address, and again when it is cut. With IDENTITIES below
zero they show no certificate. Prints the number of open connections once a second.
"""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import uvloop

from asepsis.core.trust import tls

DRIP = b"X-Drip: " + b"a" * 1_000 + b"\r\n"


class Crowd:
    """All attackers of this process."""

    def __init__(self, port: int, root_der: bytes) -> None:
        self.port = port
        self.root_der = root_der
        self.open = self.opened = self.tried = 0

    async def attack(self, context: tls.ssl.SSLContext, address: str, *, drip: bool) -> None:
        """Connect, misbehave, and come back for ever."""
        while True:
            with contextlib.suppress(OSError):
                await self.once(context, address, drip=drip)
            await asyncio.sleep(0.5)

    async def once(self, context: tls.ssl.SSLContext, address: str, *, drip: bool) -> None:
        """Hold one connection until the server cuts it."""
        self.tried += 1
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            self.port,
            ssl=context,
            server_hostname="localhost",
            local_addr=(address, 0),
            limit=4_096,
        )
        self.open += 1
        self.opened += 1
        try:
            writer.write(b"POST /echo HTTP/1.1\r\nHost: hub\r\nX-Half: ")
            writer.write(b"\r\n" if drip else b"a")
            while not reader.at_eof():
                if drip:
                    writer.write(DRIP)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1_000), 1)
        finally:
            self.open -= 1
            writer.transport.abort()


def context_of(folder: Path, root_der: bytes, number: int) -> tls.ssl.SSLContext:
    """Return the context of one attacker, with a certificate unless `number` is negative."""
    own = None
    if number >= 0:
        label = folder / f"device-{number}"
        own = tls.KeyAndChain(
            chain_path=label.with_suffix(".pem"), key_path=label.with_suffix(".key")
        )
    return tls.client_context(root_der=root_der, identity=own)


async def main() -> None:
    """Attack until killed."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    identities, each = int(sys.argv[3]), int(sys.argv[4])
    crowd = Crowd(port, (folder / "root.der").read_bytes())
    tasks: list[asyncio.Task[None]] = []
    for number in range(abs(identities)):
        context = context_of(folder, crowd.root_der, number if identities > 0 else -1)
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        tasks += [
            asyncio.create_task(crowd.attack(context, address, drip=bool(k % 2)))
            for k in range(each)
        ]
    while True:
        await asyncio.sleep(1)
        figures = {"open": crowd.open, "opened": crowd.opened, "tried": crowd.tried}
        print(json.dumps(figures), flush=True)  # noqa: T201


if __name__ == "__main__":
    uvloop.run(main())
