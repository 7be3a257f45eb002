"""A legacy device with a ledger: `python -m asepsis.tools.simulator.mllp_process ORDER`.

It is the device of `legacy_monitor`, once a second, with a line in the ledger for each message that
it made and each that was acknowledged. Commands: `high` and `normal` (heart rate), `stop`.
"""

import argparse
import queue
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from asepsis.tools.simulator import ledger
from asepsis.tools.simulator.legacy_monitor import ACCEPTED, LegacyDevice, MllpSender
from asepsis.tools.simulator.orders import Order
from asepsis.tools.simulator.telling import STOP, listen, say

SENDER: Final = ("MON", "DEMO")
"""MSH-3 and MSH-4 of every legacy device of the ward; its address tells them apart."""
PERIOD_S: Final = 1.0
ANSWERS_S: Final = 20.0
"""Longest wait at the end for acknowledgements, seconds."""
MAC: Final = "urn:dev:mac:"


class LegacySender:
    """Measures once a second, sends, and keeps the ledger.

    Args:
        order: Name, ledger, seed and the gateway's port; `host` is the address it comes from.
    """

    def __init__(self, order: Order) -> None:
        self._device = LegacyDevice(
            order.profile,
            eui64=order.name.removeprefix(MAC),
            sender=SENDER,
            rng=Random(order.seed),  # noqa: S311 - simulation, not a secret
        )
        self._sender = MllpSender(("127.0.0.1", order.clinical_port), source=order.host)
        self._ledger = ledger.LedgerWriter(Path(order.ledger))
        self._connected = False

    def run(self) -> None:
        """Measure and send until told to stop."""
        commands = listen()
        due_s = time.monotonic()
        try:
            while (command := _next(commands, due_s)) != STOP:
                if command:
                    self._device.high = command == "high"
                    continue
                due_s += PERIOD_S
                _, message = self._device.message(datetime.fromtimestamp(time.time(), UTC))
                self._ledger.write(ledger.MADE, ledger.message_key(message))
                # Sent in its turn: what is not acknowledged stays at the head of the queue.
                self._sender.waiting.append(("", message))
                self._deliver()
            deadline_s = time.monotonic() + ANSWERS_S
            while self._sender.waiting and time.monotonic() < deadline_s:
                self._deliver()
                time.sleep(0.2)
        finally:
            self._sender.close()
            self._ledger.close()

    def _deliver(self) -> None:
        while self._sender.waiting:
            _, message = self._sender.waiting[0]
            _, code = self._sender.exchange()
            if self._connected != self._sender.connected:
                self._connected = self._sender.connected
                say("connected", now=self._connected)
            if not code:
                return
            mark = ledger.ACKED if code in ACCEPTED else ledger.REFUSED
            self._ledger.write(mark, ledger.message_key(message))


def _next(commands: "queue.Queue[str]", due_s: float) -> str:
    try:
        return commands.get(timeout=max(0.001, due_s - time.monotonic()))
    except queue.Empty:
        return ""


def main() -> int:
    """Run one legacy device."""
    parser = argparse.ArgumentParser(description="A legacy device with a ledger.")
    parser.add_argument("order", type=Path, help="JSON file written by the story")
    LegacySender(Order.load(parser.parse_args().order)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
