"""A legacy sender as a process: `python -m asepsis.tools.simulator.legacy_process ...`.

    monitor --port P --device urn:dev:mac:... [--kind monitor|ventilator|pump] [--seed N]
            [--application MON] [--facility ICU] [--host H] [--source ADDRESS] [--ca FILE]
            [--zone IANA] [--every-s 1.0]
    adt     --port P [--application ADT] [--facility HIS] [--host H] [--source ADDRESS] [--ca FILE]

`monitor` sends one PCD-01 message every `--every-s` seconds. Its commands, one a line on standard
input: `high` and `normal` (heart rate), `pause` and `go` (measures nothing meanwhile), `stop`.

`adt` sends one message for each JSON line on standard input and ends at `stop` or the end of it:

    {"event": "A01", "patient": "4711", "authority": "HOSP", "name": ["DOE", "JANE"],
     "birth_date": "19700101", "place": ["ICU", "1", "2", "HOSP"], "prior": ["ICU", "1", "1"]}

`event` is A01 (admit), A02 (transfer, with `prior`), A03 (discharge), A11, A12 or A13 (they are
cancelled); `place` is point of care, room, bed and perhaps facility (PV1-3), `prior` PV1-6.

Both keep a message until it is acknowledged, connect again, and tell, one JSON object a line:
`connected`, `disconnected`, `acknowledged` and `refused` (with `control_id` and `code`),
`ended`.

Source: IHE PCD-01; HL7 v2.6 chapter 3; MLLP Release 1.
"""

import argparse
import queue
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from asepsis.core.errors import InputError
from asepsis.core.wire.hl7_build import Writer, join_segments
from asepsis.tools.simulator.legacy_monitor import (
    ACCEPTED,
    KINDS,
    Control,
    LegacyDevice,
    MllpSender,
    header,
    stamp,
)
from asepsis.tools.simulator.telling import STOP, listen, say

RETRY_S: Final = 0.5
MAC: Final = "urn:dev:mac:"
STRUCTURES: Final = {
    "A01": "ADT_A01",
    "A02": "ADT_A02",
    "A03": "ADT_A03",
    "A11": "ADT_A09",
    "A12": "ADT_A12",
    "A13": "ADT_A01",
}
"""MSH-9.3 of each event."""


class AdtOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ADT message to be sent; the fields are those of the module's text."""

    event: str
    patient: str
    authority: str = ""
    name: tuple[str, str] = ("", "")
    birth_date: str = ""
    place: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()


@dataclass(slots=True)
class Teller:
    """Tells what becomes of messages and of the connection.

    Attributes:
        sender: Sends them.
    """

    sender: MllpSender
    _connected: bool = False

    def deliver(self) -> bool:
        """Send what waits until nothing does; False if nobody answers."""
        while self.sender.waiting:
            control, code = self.sender.exchange()
            self._tell_connection()
            if not code:
                return False
            event = "acknowledged" if code in ACCEPTED else "refused"
            say(event, control_id=control, code=code)
        return True

    def _tell_connection(self) -> None:
        if self.sender.connected != self._connected:
            self._connected = self.sender.connected
            say("connected" if self._connected else "disconnected")


def adt_message(order: AdtOrder, sender: tuple[str, str], *, control: str, at: str) -> bytes:
    """Return one ADT message.

    Raises:
        InputError: An unknown event, or text that cannot be written.

    Source: HL7 v2.6 chapter 3.3 (A01, A02, A03, A11, A12, A13).
    """
    writer = Writer()
    structure = STRUCTURES.get(order.event)
    if structure is None:
        raise InputError("an ADT event that this sender does not know")
    segments = [
        header(writer, sender, ("ADT", order.event, structure), control=control, at=at),
        writer.segment("EVN", {2: at}),
        writer.segment(
            "PID",
            {
                1: "1",
                3: (order.patient, "", "", order.authority, "MR"),
                5: order.name,
                7: order.birth_date,
            },
        ),
        writer.segment("PV1", {1: "1", 2: "I", 3: order.place, 6: order.prior, 44: at}),
    ]
    return join_segments(segments)


def run_monitor(given: argparse.Namespace, sender: MllpSender) -> None:
    """Measure and send until told to stop."""
    device = LegacyDevice(
        given.kind,
        eui64=given.device.removeprefix(MAC),
        sender=(given.application, given.facility),
        rng=Random(given.seed),  # noqa: S311 - simulation, not a secret
    )
    teller, commands, zone = Teller(sender), listen(), ZoneInfo(given.zone)
    measuring = True
    due_s = time.monotonic()
    while True:
        command = _command(commands, due_s - time.monotonic())
        if command == STOP:
            return
        if command is not None:
            device.high = command == "high" or (device.high and command != "normal")
            measuring = command == "go" or (measuring and command != "pause")
            continue
        if measuring:
            sender.waiting.append(device.message(datetime.fromtimestamp(time.time(), zone)))
        teller.deliver()
        due_s = max(due_s + given.every_s, time.monotonic() - given.every_s)


def run_adt(given: argparse.Namespace, sender: MllpSender) -> None:
    """Send what is ordered until told to stop."""
    teller, commands, control = Teller(sender), listen(), Control()
    zone = ZoneInfo(given.zone)
    while True:
        line = _command(commands, RETRY_S if sender.waiting else None)
        if line == STOP:
            return
        if line is not None:
            order = msgspec.json.decode(line, type=AdtOrder)
            now = datetime.fromtimestamp(time.time(), zone)
            number = control.next(now)
            name = (given.application, given.facility)
            message = adt_message(order, name, control=number, at=stamp(now))
            sender.waiting.append((number, message))
        teller.deliver()


def _command(commands: "queue.Queue[str]", wait_s: float | None) -> str | None:
    """Return the next command, or None after so long; without a wait only a command ends it."""
    try:
        return commands.get(timeout=None if wait_s is None else max(wait_s, 0.001))
    except queue.Empty:
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A legacy HL7 v2 sender.")
    roles = parser.add_subparsers(dest="role", required=True)
    for role, application, facility in (("monitor", "MON", "ICU"), ("adt", "ADT", "HIS")):
        one = roles.add_parser(role)
        one.add_argument("--host", default="127.0.0.1")
        one.add_argument("--port", type=int, required=True)
        one.add_argument("--source", default="")
        one.add_argument("--ca", default="")
        one.add_argument("--zone", default="UTC")
        one.add_argument("--application", default=application)
        one.add_argument("--facility", default=facility)
        if role == "monitor":
            one.add_argument("--device", required=True)
            one.add_argument("--kind", choices=sorted(KINDS), default="monitor")
            one.add_argument("--seed", type=int, default=1)
            one.add_argument("--every-s", type=float, default=1.0)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run one legacy sender; return the exit code."""
    given = _parser().parse_args(arguments)
    tls = ssl.create_default_context(cafile=given.ca) if given.ca else None
    sender = MllpSender((given.host, given.port), source=given.source, tls=tls)
    try:
        if given.role == "monitor":
            run_monitor(given, sender)
        else:
            run_adt(given, sender)
    finally:
        sender.close()
    say("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
