"""A hub, a gateway as a real process, and the reference provider of sdc11073 as a ventilator."""

import contextlib
import datetime as dt
import json
import queue
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from driver_ward import CONSUMER, GATEWAY, HUB, DriverWard, free_port

from asepsis.core.trust.identity import Profile
from asepsis.tools.testing import sdc_mdib, sdc_ventilator
from asepsis.tools.testing.sdc_credentials import SDC_USAGES, Files, SegmentAuthority
from hospital import Hospital, HubProcess, device_name

VENTILATOR = device_name(43)
IDENTITY = "urn:oid:1.3.6.1.4.1.99999.43"


class SdcWard(DriverWard):
    """Everything; processes come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub_port = free_port()
        self.hospital = Hospital(folder / "hospital", more=HUB, port=self.hub_port)
        (self.machine,) = self.hospital.enlist([(GATEWAY, Profile.GATEWAY)], declared=[VENTILATOR])
        (self.reader,) = self.hospital.enlist([(CONSUMER, Profile.CONSUMER)])
        self.data = folder / "gateway"
        now = dt.datetime.now(dt.UTC)
        self.authority = SegmentAuthority(folder / "segment", now=now)
        self.other = SegmentAuthority(folder / "other", now=now, name="Another segment's CA")
        self.own = self.authority.issue("gateway", uri="urn:oid:1.3.6.1.4.1.99999.7")
        self.hub: HubProcess | None = None
        self.gateway: subprocess.Popen[bytes] | None = None
        self.provider: subprocess.Popen[str] | None = None
        self.port = free_port()
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._changed = threading.Condition()
        self._client: httpx.Client | None = None
        self._identity_files()
        self.settings()

    def settings(self, *, more: str = f'identity = "{IDENTITY}"') -> None:
        """Write the gateway's settings."""
        passphrase = self.folder / "passphrase"
        passphrase.write_text("of the tests")
        passphrase.chmod(0o600)
        (self.data / "gateway.toml").write_text(f"""\
[sealing]
source = "passphrase"
passphrase_file = "{passphrase}"
[hub]
clock = "system"
[[sdc]]
name = "ventilator-1"
device = "{VENTILATOR}"
address = "127.0.0.1"
port = {self.port}
path = "{sdc_mdib.PATH}"
ca_file = "{self.authority.file}"
chain_file = "{self.own.chain}"
key_file = "{self.own.key}"
local_address = "127.0.0.1"
{more}
""")

    def issue(
        self, *, uri: str = IDENTITY, usages: tuple[x509.ObjectIdentifier, ...] = SDC_USAGES
    ) -> Files:
        return self.authority.issue("ventilator", uri=uri, address="127.0.0.1", usages=usages)

    def start_provider(self, files: Files | None = None, *, plain: bool = False) -> None:
        """Start the ventilator, with a good certificate if none is given."""
        files = files or self.issue()
        ca = None if plain else self.authority.file
        self.provider, _ = sdc_ventilator.start_process(ca, files, port=self.port)
        threading.Thread(target=self._hear, args=(self.provider,), daemon=True).start()

    def _hear(self, provider: "subprocess.Popen[str]") -> None:
        assert provider.stdout is not None
        with contextlib.suppress(ValueError):
            for line in provider.stdout:
                self.said.put(json.loads(line))

    def tell(self, command: str) -> None:
        assert self.provider is not None
        assert self.provider.stdin is not None
        self.provider.stdin.write(command + "\n")
        self.provider.stdin.flush()

    def _follow(self) -> None:
        path = f"/views/live?device={VENTILATOR}&waveforms=1"
        with contextlib.suppress(httpx.HTTPError), self.client().stream("GET", path) as answer:
            name = ""
            for line in answer.iter_lines():
                if line.startswith("event:"):
                    name = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    told = json.loads(line.removeprefix("data:"))
                    with self._changed:
                        self.seen.append((name, {**told, "seen_ns": time.monotonic_ns()}))
                        self._changed.notify_all()

    def numerics(self, code: int) -> list[dict[str, Any]]:
        return [
            numeric
            for name, told in list(self.seen)
            if name == "numerics"
            for numeric in told["numerics"]
            if numeric["mdc_code"] == code
        ]

    def alarms(self, *, cause: str | None = None) -> list[dict[str, Any]]:
        return [
            told for name, told in list(self.seen) if name == "alarm" and told["cause"] == cause
        ]

    def end_provider(self) -> None:
        """Kill the ventilator."""
        if self.provider is not None:
            self.provider.kill()
            self.provider.wait()
            for pipe in (self.provider.stdin, self.provider.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self.provider = None

    def close(self) -> None:
        self.end_provider()
        if self.gateway is not None and self.gateway.poll() is None:
            self.gateway.kill()
            self.gateway.wait()
        if self.hub is not None and self.hub.process.poll() is None:
            self.hub.stop()
        if self._client is not None:
            self._client.close()
