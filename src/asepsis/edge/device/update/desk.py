"""The desk: what people at the device see of an update, and say to it, over a local socket.

Whoever may open the socket (see `panel`) is a person at the device. Nothing here installs: a word
is one of several conditions, and all others are judged as ever.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import InputError
from asepsis.edge.device.panel import Panel, ask_socket
from asepsis.edge.device.update.agent import Agent
from asepsis.edge.device.update.memory import Held

NAME: Final = "update.sock"
PERSON_CHARS_MAX: Final = 64


class UpdateDesk:
    """Serves the socket.

    Args:
        folder: The device's folder.
        agent: Whom people talk to.

    Raises:
        ConfigError: The socket cannot be made.

    Resource handling: `close` removes the socket.
    """

    def __init__(self, folder: Path, *, agent: Agent) -> None:
        self._agent = agent
        self._socket = Panel(folder, answer=self.answer, name=NAME)

    def step(self) -> None:
        """Take and answer what is there; never waits."""
        self._socket.step(time.monotonic())

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def answer(self, do: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one word and show where things stand then.

        Raises:
            InputError: There is no such word, or nobody says who takes the device out of service.
            SafetyRefusal: Nobody asked, or it was postponed too often.
            TransientError: It cannot be written down.
        """
        if do == "now":
            self._agent.confirm()
        elif do == "later":
            self._agent.postpone()
        elif do == "out-of-service":
            who = str(body.get("who", ""))
            if not 1 <= len(who) <= PERSON_CHARS_MAX or not who.isprintable():
                raise InputError("say who takes the device out of service")
            self._agent.out_of_service(who)
        elif do == "in-service":
            self._agent.out_of_service("")
        elif do != "status":
            raise InputError(
                f"the desk knows no {do[:40]!r}",
                hint="status, now, later, out-of-service, in-service",
            )
        return self._status()

    def _status(self) -> dict[str, Any]:
        memory = self._agent.memory
        return {
            "update": _shown(memory.held) if memory.held else None,
            "asks": self._agent.asks,
            "may_postpone": self._agent.consent.may_postpone,
            "out_of_service": memory.out_of_service,
            "ended": {name: outcome.value for name, outcome in memory.ended.items()},
            "after_next_start": [f"{one.component} {one.version}" for one in memory.debts],
        }


def ask_desk(folder: Path, do: str, **body: Any) -> dict[str, Any]:
    """Say one word to the desk of a running device and return its answer.

    Raises:
        Unavailable: No device runs there with updates on.
        AsepsisError: What the device answered.
    """
    return ask_socket(
        folder, NAME, do, body, hint="start it: asepsis device run --updates FILE --folder ..."
    )


def _shown(held: Held) -> dict[str, Any]:
    return {
        "component": held.target.component,
        "version": held.target.version,
        "release": held.target.release,
        "outcome": held.outcome.value,
        "waits_for": held.waits_for.value if held.waits_for else "",
        "reason": held.reason,
        "tests": [
            {
                "name": test.name,
                "measured": test.measured if test.measured == test.measured else None,
                "low": test.low,
                "high": test.high,
                "unit": test.unit,
                "passed": test.passed,
            }
            for test in held.tests
        ],
    }
