"""npm `fhir` and fhirkit-rs judge the audit events, rsyslog takes the audit messages.

rsyslog with its GnuTLS driver is a real audit repository; it counts octets, checks the frames and
writes what it was given.
"""

import asyncio
import contextlib
import datetime as dt
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree

from asepsis.core.trust.sealing import ColumnSealer, throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.views import fhir
from asepsis.hub.audit.views.forwarding import AuditForwarder, AuditRepository
from asepsis.hub.store.leases import LeasedTask
from asepsis.hub.store.migrate import migrate
from asepsis.hub.store.store import Store

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "unit" / "hub" / "audit"), str(ROOT / "interop")]
from audit_entries import HUB, entries, views  # noqa: E402 - found by the path above
from test_fhir_peers import (  # noqa: E402 - as above
    fhir_resources_findings,
    fhirkit_findings,
    npm_findings,
)

CONFIGURATION = """
global(workDirectory="{folder}" DefaultNetstreamDriver="gtls"
  DefaultNetstreamDriverCAFile="{folder}/ca.pem"
  DefaultNetstreamDriverCertFile="{folder}/server.pem"
  DefaultNetstreamDriverKeyFile="{folder}/server.key" maxMessageSize="64k")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="plain" type="string"
  string="%hostname% %app-name% %msgid% %structured-data% %msg%\\n")
action(type="omfile" file="{folder}/taken.log" template="plain")
"""


def test_audit_events_are_valid_to_others() -> None:
    resources = [json.dumps(fhir.event(view, hub=HUB)).encode() for view in views()]
    resources.append(json.dumps(fhir.bundle([json.loads(r) for r in resources], links={
        "self": "/fhir/AuditEvent"})).encode())  # fmt: skip
    for text, found in zip(resources, npm_findings(resources), strict=True):
        assert found == [], text
        assert fhirkit_findings(text) == [], text
        assert fhir_resources_findings(text) == [], text


class Repository:
    """rsyslog in a folder of its own, started and stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        write_certificates(folder)
        (folder / "rsyslog.conf").write_text(CONFIGURATION.format(folder=folder, port=self.port))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
        assert program
        self.process = subprocess.Popen(
            [program, "-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]
        )
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise AssertionError("rsyslog does not listen")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def taken(self) -> list[str]:
        path = self.folder / "taken.log"
        return path.read_text().splitlines() if path.exists() else []

    def wait(self, count: int) -> list[str]:
        deadline = time.monotonic() + 15
        while len(self.taken()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.taken()


def write_certificates(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    for file in ("ca.pem", "server.pem"):
        (folder / file).write_bytes(pem)
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.fixture
def repository() -> Iterator[Repository]:
    if shutil.which("rsyslogd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("rsyslog is not installed")
    with tempfile.TemporaryDirectory(prefix="asepsis-audit-") as name:
        Path(name).chmod(0o755)
        made = Repository(Path(name))
        yield made
        made.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    sealer = ColumnSealer(throw_away_kek(), aead=CryptographyAead())
    made = Store(f"sqlite:///{tmp_path}/state.db", sealer, time.time_ns)
    migrate(made)
    yield made
    made.close()


def write_acts(store: Store) -> int:
    audit = AuditLog(store.clock)
    with store.unit_of_work() as connection:
        for entry in entries():
            detail = json.loads(entry.detail)
            audit.note(
                connection, actor=entry.actor, action=entry.action, subject=entry.subject, **detail
            )
    return len(list(entries()))


def test_a_repository_gets_every_entry_also_after_it_was_away(
    store: Store, repository: Repository
) -> None:
    """Goal: at least once, in order, each well-formed, behind a cursor that a restart keeps."""
    count = write_acts(store)
    where = AuditRepository("localhost", repository.port, ca_file=repository.folder / "ca.pem")

    def forward() -> AuditForwarder:
        made = AuditForwarder(store, where, name="arr", hub=HUB, holder="test")
        assert isinstance(made.task, LeasedTask)
        asyncio.run(made.task.step())
        return made

    assert forward().waiting, "nobody is there yet"
    repository.start()
    assert not forward().waiting
    assert len(repository.wait(count)) == count
    forward()
    repository.stop()
    write_acts(store)
    assert forward().waiting
    repository.start()
    forward()
    lines = repository.wait(2 * count)
    assert [f'[audit@32473 index="{n}"]' for n in range(2 * count)] == [
        line.split(" ", 3)[3].partition("]")[0] + "]" for line in lines
    ]
    for line in lines:
        assert line.startswith(f"{HUB} asepsis DICOM+RFC3881 ")
        text = line.partition("] ")[2].lstrip("\ufeff \u00ef\u00bb\u00bf")
        assert etree.fromstring(text.encode()).tag == "AuditMessage"


def test_a_stranger_in_place_of_the_repository_gets_nothing(
    store: Store, repository: Repository, tmp_path: Path
) -> None:
    write_acts(store)
    write_certificates(tmp_path)
    repository.start()
    where = AuditRepository("localhost", repository.port, ca_file=tmp_path / "ca.pem")
    forwarder = AuditForwarder(store, where, name="arr", hub=HUB, holder="test")
    asyncio.run(forwarder.task.step())
    assert forwarder.waiting
    assert repository.taken() == []
