"""`asepsis driver`: drivers of vendors' own protocols: list, check, record, replay, begin one."""

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Final

import msgspec
from cyclopts import App, Parameter

from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import InputError
from asepsis.core.model.identity import DeviceId
from asepsis.edge.gateway.drivers import recording
from asepsis.edge.gateway.drivers.catalogue import DRIVERS, Plan, find
from asepsis.edge.gateway.drivers.line import Talk
from asepsis.edge.gateway.drivers.sdk import Driver, LineSettings, Transport
from asepsis.edge.gateway.drivers.settings import DriverEntry
from asepsis.edge.gateway.drivers.transports import Line, open_line
from asepsis.tools.testing import driver_skeleton
from asepsis.tools.testing.driver_check import PeerMaker, check_driver
from asepsis.tools.testing.intellivue_monitor import Monitor
from asepsis.tools.testing.medibus_ventilator import Ventilator

app: Final = App(name="driver", help="Speak vendors' own protocols to devices behind a gateway.")
NOBODY: Final = DeviceId("urn:dev:mac:0000000000000000")
PEERS: Final[dict[str, PeerMaker]] = {"intellivue": Monitor, "medibus": Ventilator}
EXIT_FAILING: Final = 1
DriverName = Annotated[str, Parameter(help="Name of a driver, or the path of a driver's own file.")]


def _driver(name: str) -> Driver:
    path = name.endswith(".py")
    return find("" if path else name, name if path else "", folder=Path())


@app.command(name="list")
def list_(*, json: bool = False) -> None:
    """Show the drivers that are shipped, and which document each follows."""
    rows = [
        (d.name, d.transport.value, len(d.metrics), f"{d.document}, {d.edition}", d.unverified)
        for d in DRIVERS.values()
    ]
    columns = ("driver", "transport", "metrics", "follows", "unverified")
    if json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    show_table("Drivers", columns, rows)


@app.command
def check(
    driver: DriverName,
    *,
    peer: Annotated[
        Path | None, Parameter(help="Python file with make_peer(), for a driver of your own.")
    ] = None,
    seed: Annotated[int, Parameter(help="Of the hostile bytes; the same makes the same.")] = 1,
    json: bool = False,
) -> int:
    """Run the check that every driver passes: hostile bytes, silence, recovery, mapping, limits."""
    chosen = _driver(driver)
    failing = check_driver(chosen, _peer(driver, peer), rng=Random(seed))  # noqa: S311 - repeatable
    if json:
        show_json([{"check": one.check, "why": one.why} for one in failing])
    else:
        for one in failing:
            console.print(f"{one.check}: {one.why}", markup=False)
        console.print(f"{chosen.name}: {'does not conform' if failing else 'conforms'}")
    return EXIT_FAILING if failing else 0


@app.command
def new(
    name: Annotated[str, Parameter(help="Lower-case letters, digits and underscores.")],
    *,
    folder: Annotated[Path, Parameter(help="Where it is written.")] = Path(),
) -> None:
    """Write a driver that works, and tests that pass; docs/howto/write-a-driver.md goes on."""
    for path in driver_skeleton.write(name, folder):
        console.print(f"wrote {path}", markup=False)
    console.print(f"try: asepsis driver check {name}.py --peer test_{name}.py", markup=False)


@app.command
def capture(
    driver: DriverName,
    *,
    to: Annotated[Path, Parameter(help="New file; it may name a patient, so it is mode 0600.")],
    address: Annotated[str, Parameter(help="Of a device that speaks datagrams.")] = "",
    port: Annotated[int, Parameter(help="Its port; 0 takes the usual one.")] = 0,
    line: Annotated[str, Parameter(help="Path of a serial line.")] = "",
    seconds: Annotated[float, Parameter(help="How long.")] = 60.0,
) -> None:
    """Talk to a device and keep the whole session; nothing goes to a hub."""
    chosen = _driver(driver)
    opened = open_line(_plan(chosen, address=address, port=port, line=line))
    end_s = time.monotonic() + seconds
    with recording.create(to, chosen, wall_ns=time.time_ns()) as file:
        kept = _UntilLine(recording.RecordedLine(opened, file), end_s)
        talk = Talk(chosen.make(), kept, report=lambda _: True)
        kept.talk = talk
        try:
            talk.run()
        finally:
            kept.close()
    console.print(f"kept in {to}", markup=False)


@app.command
def replay(
    file: Annotated[Path, Parameter(help="From `asepsis driver capture`.")],
    /,
    *,
    driver: DriverName,
) -> None:
    """Let a driver live through a recorded session again, and show what it understands."""
    encoder = msgspec.json.Encoder()
    for at_ns, output in recording.replay(_driver(driver), recording.read(file)):
        told = encoder.encode(output).decode()
        console.print(f"{at_ns / 1e9:10.3f} {told}", markup=False, soft_wrap=True)


class _UntilLine:
    """A line that ends a talk after a while."""

    def __init__(self, line: Line, end_s: float) -> None:
        self._line = line
        self._end_s = end_s
        self.talk: Talk | None = None
        self.strangers = 0

    def wait(self, timeout_s: float) -> Sequence[bytes]:
        found = self._line.wait(timeout_s)
        if self.talk is not None and time.monotonic() >= self._end_s:
            self.talk.stopping = True
        return found

    def send(self, data: bytes) -> None:
        self._line.send(data)

    def close(self) -> None:
        self._line.close()


def _plan(driver: Driver, *, address: str, port: int, line: str) -> Plan:
    wanted = "address" if driver.transport is Transport.UDP else "line"
    if not (address if wanted == "address" else line):
        raise InputError(f"{driver.name} needs --{wanted}")
    entry = DriverEntry(name="capture", device=NOBODY.uri, address=address, port=port, line=line)
    return Plan(entry=entry, driver=driver, device=NOBODY, line=driver.line or LineSettings())


def _peer(driver: str, path: Path | None) -> PeerMaker:
    if path is None:
        if driver not in PEERS:
            raise InputError(f"no peer of {driver} is shipped", hint="--peer test_NAME.py")
        return PEERS[driver]
    spec = importlib.util.spec_from_file_location(f"peer_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return module.make_peer
    except AttributeError as error:
        raise InputError(f"{path} has no make_peer()") from error
