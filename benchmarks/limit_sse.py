"""The limit program beside `ward`: TLS and prepared bytes to every viewer, and nothing else.

`limit_sse.py CHAIN KEY BYTES_A_SECOND` prints its port, then serves until it is killed.
"""

import asyncio
import ssl
import sys
from pathlib import Path

import uvloop

WRITES_A_SECOND = 25
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


async def serve(chain: Path, key: Path, bytes_a_second: int) -> None:
    """Write the same chunk to every viewer 25 times a second."""
    chunk = b"x" * max(1, bytes_a_second // WRITES_A_SECOND)
    viewers: set[asyncio.StreamWriter] = set()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        viewers.add(writer)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        await asyncio.sleep(1 / WRITES_A_SECOND)
        for writer in tuple(viewers):
            if writer.is_closing():
                viewers.discard(writer)
            else:
                writer.write(chunk)


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
