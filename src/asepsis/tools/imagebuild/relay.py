"""Connects a guest's connection to one address of this machine; QEMU starts one for each.

Standard input is the guest's connection. Arguments: host and port.
"""

import contextlib
import select
import socket
import sys
from typing import Final

PART: Final = 65_536
CONNECT_S: Final = 5.0


def main() -> None:
    """Carry bytes both ways until one side ends."""
    guest = socket.socket(fileno=0)
    hub = socket.create_connection((sys.argv[1], int(sys.argv[2])), CONNECT_S)
    hub.settimeout(None)
    other = {guest: hub, hub: guest}
    with contextlib.suppress(ConnectionError):
        while True:
            for ready in select.select([guest, hub], [], [])[0]:
                part = ready.recv(PART)
                if not part:
                    return
                other[ready].sendall(part)


if __name__ == "__main__":
    main()
