"""`elsewhere.py FOLDER SOCKET HOST PORT`, in a network namespace of its own: uses a copied TLS key.

Standard input: a JSON list of [path, media type, body in Base64, further headers]. Standard output:
a JSON list of what came of each, `accepted` or the code of the refusal. The namespace has no card
at all; the way to the hub is a socket in the file system that the test passes on.
"""

import base64
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from asepsis.core.errors import AsepsisError
from asepsis.core.trust import tls
from asepsis.edge.uplink.connection import Endpoint, HubConnection

PIECE = 65_536


def pass_on(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes until one side ends; then both do."""
    with contextlib.suppress(OSError), one, other:
        while data := one.recv(PIECE):
            other.sendall(data)
        other.shutdown(socket.SHUT_RDWR)


def dial(way: str, timeout_s: float) -> socket.socket:
    """Return a TCP connection of this namespace whose bytes go the way to the hub."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = socket.create_connection(server.getsockname(), timeout_s)
        near, _ = server.accept()
    far = socket.socket(socket.AF_UNIX)
    far.connect(way)
    for one, other in ((near, far), (far, near)):
        threading.Thread(target=pass_on, args=(one, other), daemon=True).start()
    return made


def main() -> None:
    folder, way = Path(sys.argv[1]), sys.argv[2]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    identity = tls.KeyAndChain(chain_path=folder / "tls.pem", key_path=folder / "tls.key")
    context = tls.client_context(root_der=(folder / "root.der").read_bytes(), identity=identity)
    hub = Endpoint(sys.argv[3], int(sys.argv[4]))
    outcomes: list[str] = []
    for path, media, body, more in json.load(sys.stdin):
        connection = HubConnection(
            hub, context, now_ns=time.time_ns, dial=lambda _, timeout_s: dial(way, timeout_s)
        )
        try:
            headers = {"Content-Type": media, **more}
            connection.request("POST", path, body=base64.b64decode(body), headers=headers)
            outcomes.append("accepted")
        except AsepsisError as error:
            outcomes.append(error.code)
        connection.close()
    lines = Path("/proc/net/dev").read_text("ascii").splitlines()
    cards = [line.partition(":")[0].strip() for line in lines[2:]]
    print(json.dumps({"outcomes": outcomes, "cards": cards}))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
