"""An EHR that we did not write: the asyncio MLLP server of the `hl7` package, told how to behave.

`python ehr_sink.py <folder> <port> [chain.pem key.pem]` appends id and bytes of each message
that it accepts to `received.log` and answers as `behave.json` says: `{"AR": "<regex>"}`.
A message that fits "mute" gets no answer. The first line of standard output is the port.
"""

import asyncio
import json
import re
import ssl
import sys
from pathlib import Path

from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server

FOLDER = Path(sys.argv[1])


def verdict(text: str) -> str:
    try:
        behave = json.loads((FOLDER / "behave.json").read_text())
    except (OSError, ValueError):
        return "AA"
    for code, pattern in behave.items():
        if re.search(pattern, text):
            return code
    return "AA"


async def serve(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
    with (FOLDER / "received.log").open("a", buffering=1) as log:
        try:
            while not writer.is_closing():
                message = await reader.readmessage()
                text = str(message)
                code = verdict(text)
                if code == "mute":
                    continue
                if code in ("AA", "CA"):
                    log.write(json.dumps([str(message.segment("MSH")[10]), text]) + "\n")
                writer.writemessage(message.create_ack(code))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def main() -> None:
    context = None
    if len(sys.argv) > 3:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[3], sys.argv[4])
    server = await start_hl7_server(
        serve, "127.0.0.1", int(sys.argv[2]), ssl=context, encoding="utf-8"
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


asyncio.run(main())
