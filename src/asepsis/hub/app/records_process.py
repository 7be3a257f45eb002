"""The process that keeps the record: `python -m ... <control socket> [uid gid]`.

Started by the hub, see `hub/app/records.py`. Everything is loaded before root is given up: the
hub's user may not be able to read the interpreter.
"""

import os
import socket
import sys

from asepsis.hub.app.records_readers import make_readers
from asepsis.hub.records.process import Process, configure_logs, watch


def main(arguments: list[str]) -> int:
    """Keep the record until the hub has gone; returns the exit code.

    Args:
        arguments: Number of the control socket; user and group to become.
    """
    control = socket.socket(fileno=int(arguments[0]))
    if len(arguments) > 1:
        uid, gid = int(arguments[1]), int(arguments[2])
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    readers = make_readers()
    configure_logs("info")  # Until the hub says how much it wants to hear.
    watch(control, lambda sock: Process(sock, readers).run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
