"""`host.py PORTS`: one host: listens on some ports, and does what its standard input asks for."""

import concurrent.futures
import contextlib
import json
import socket
import sys
import threading
from typing import Any


def serve(port: int) -> None:
    listener = socket.create_server(("0.0.0.0", port), backlog=64)  # noqa: S104 - its namespace

    def loop() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"here")

    threading.Thread(target=loop, daemon=True).start()


def reached(aim: dict[str, Any]) -> str | None:
    try:
        with socket.create_connection((aim["address"], aim["port"]), aim["wait_s"]) as one:
            return aim["word"] if one.recv(4) == b"here" else None
    except OSError:
        return None


def lie(source: str, target: str) -> None:
    """Send datagrams under somebody else's address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.IPPROTO_IP, 19, 1)  # IP_TRANSPARENT
        one.bind((source, 0))
        for _ in range(3):
            one.sendto(b"lie", (target, 9))


def main() -> None:
    for port in sys.argv[1].split(","):
        serve(int(port))
    print(json.dumps("ready"), flush=True)  # noqa: T201 - a program
    for line in sys.stdin:
        asked = json.loads(line)
        if "lie" in asked:
            lie(*asked["lie"])
            print(json.dumps("done"), flush=True)  # noqa: T201 - a program
            continue
        with concurrent.futures.ThreadPoolExecutor(max_workers=64) as pool:
            found = [word for word in pool.map(reached, asked["connect"]) if word]
        print(json.dumps(found), flush=True)  # noqa: T201 - a program


if __name__ == "__main__":
    main()
