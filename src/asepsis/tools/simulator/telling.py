"""How a process of a story speaks: one JSON object a line, for the story that started it."""

import json
import queue
import sys
import threading
from typing import Final

STOP: Final = "stop"
"""What a process reads when the story wants it to end, or is gone."""


def say(event: str, **details: object) -> None:
    """Tell the story what happened."""
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


def listen() -> "queue.Queue[str]":
    """Return the commands that arrive on standard input, one a line; its end means `STOP`.

    Resource handling: starts a daemon thread.
    """
    commands: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            commands.put(line.strip())
        commands.put(STOP)

    threading.Thread(target=read, name="commands", daemon=True).start()
    return commands
