"""A session without hub and confinement: the ventilator, a cable in threads, and what is told."""

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from driver_ward import wait_for

from asepsis.core.errors import Unavailable
from asepsis.edge.gateway.drivers.sdk import Conditions, Linked, Samples, Values
from asepsis.edge.gateway.sdc import bounded
from asepsis.edge.gateway.sdc.cable import Cable, CableClient
from asepsis.edge.gateway.sdc.credentials import proof
from asepsis.edge.gateway.sdc.plans import SdcPlan, sdc_plans
from asepsis.edge.gateway.sdc.session import Ports, Session
from asepsis.edge.gateway.sdc.settings import SdcEntry
from asepsis.edge.gateway.sdc.sink import Sink
from asepsis.tools.testing import sdc_mdib
from asepsis.tools.testing.sdc_credentials import Files, SegmentAuthority
from hospital import device_name

IDENTITY = "urn:oid:1.3.6.1.4.1.99999.43"


def plan_for(authority: SegmentAuthority, own: Files, port: int, **changes: Any) -> SdcPlan:
    """Return the plan of a ventilator on loopback."""
    entry = {
        "name": "ventilator-1",
        "device": device_name(43),
        "address": "127.0.0.1",
        "port": port,
        "path": sdc_mdib.PATH,
        "ca_file": str(authority.file),
        "chain_file": str(own.chain),
        "key_file": str(own.key),
        "local_address": "127.0.0.1",
    }
    changes = changes or {"identity": IDENTITY}
    (plan,) = sdc_plans([msgspec.convert({**entry, **changes}, SdcEntry)], folder=Path("/"))
    return plan


class Wire:
    """A cable in threads of this process."""

    def __init__(self, plan: SdcPlan) -> None:
        self.plan = plan
        ask, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arrivals, taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ends = (ask, asked, arrivals, taken)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(0.2)
        place = (plan.entry.address, plan.entry.port)
        cable = Cable(
            proof(plan),
            connect=lambda: socket.create_connection(place, 3),
            listening=self.listening,
            arrivals=taken,
        )
        self._thread = threading.Thread(target=cable.run, args=(asked,), daemon=True)
        self._thread.start()
        self.client = CableClient(ask)
        self.port = self.listening.getsockname()[1]
        self.sink = Sink(arrivals, base_url=f"https://127.0.0.1:{self.port}/")
        self.sink.start()

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        wait_for(lambda: self.sink.has_ended)
        for end in self._ends:
            end.close()


class Heard:
    """One session and what it tells."""

    def __init__(self, wire: Wire) -> None:
        self._changed = threading.Condition()
        self.told: list[Any] = []
        self.ended = ""
        self._stopping = False
        way = bounded.Way(wire.plan.netloc, wire.plan.local, wire.client.dial)
        url = f"https://{wire.plan.netloc}/{wire.plan.entry.path}"
        self._session = Session(Ports(way, wire.sink, url, self._take))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._session.run(stopping=lambda: self._stopping)
            ended = "released"
        except Unavailable as error:
            ended = str(error)
        with self._changed:
            self.ended = ended
            self._changed.notify_all()

    def _take(self, told: Sequence[Any], at_ns: int) -> None:
        assert at_ns > 0
        with self._changed:
            self.told += told
            self._changed.notify_all()

    def until(self, found: Callable[[], object], *, seconds: float = 10) -> None:
        with self._changed:
            assert self._changed.wait_for(found, seconds), (self.ended, self.told[-3:])

    def of(self, kind: type) -> list[Any]:
        return [one for one in list(self.told) if isinstance(one, kind)]

    def value(self, code: int) -> Any:
        found = [v for told in self.of(Values) for v in told.values if v.code == code]
        return found[-1] if found else None

    def active(self) -> list[str]:
        lists = self.of(Conditions)
        return [one.key for one in lists[-1].active] if lists else []

    def running(self) -> "Heard":
        self.until(lambda: self.ended or (self.of(Linked) and self.of(Samples)))
        assert not self.ended
        return self

    def end(self) -> str:
        self._stopping = True
        self._thread.join(10)
        return self.ended
