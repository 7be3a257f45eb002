"""No patient data in clear text: planted, run, killed, then searched for in everything written."""

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hub_ward import GATEWAY, OTHER, UNSIGNED, Ward

import postgres
import vitals
from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.origin import sign_batch
from asepsis.core.wire.origin import decode_batch, encode_batch

PLANTING_S = 60
PLANTING_POSTGRESQL_S = 10
NAME = "CANARY^JANE"
SEARCHED = (NAME.encode(), NAME.encode("utf-16-le"), b"CANARY")
IN_HEX = (b"CANARY".hex().encode(),)
"""How a dump or a statement in the log would spell it if it stood in a column of bytes."""
MORE = '[log]\nlevel = "debug"\n[exchange]\nrate_factor = 100\n'
BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
ER7 = "MSH|^~\\&|MON|ICU|EHR|H|20260101120000||ADT^A01|%d|P|2.6\rPID|||1||%s\r"


def numbered(media: str, sequence: int) -> dict[str, str]:
    return {"Content-Type": media, "Asepsis-Epoch": "1", "Asepsis-Sequence": str(sequence)}


def alarm_batch(ward: Ward) -> bytes:
    """Return a signed batch whose alarm text names the patient."""
    bed = ward.bed(OTHER)
    plain = decode_batch(bed.measure(time.time_ns(), time.monotonic_ns())[0])
    event = AlarmEvent(
        condition_id=bytes(16),
        phase=AlarmPhase.ONSET,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=AlarmPriority.HIGH,
        latching=False,
        inactivation=Inactivation.NONE,
        mdc_code=196_652,
        source_handle=0,
        offset_ms=0,
        text=NAME,
    )
    part = encode_batch(plain.header, numerics=plain.numerics(), alarms=[event])
    return sign_batch(bed.origin_key, part)


def plant(ward: Ward, sequence: int) -> None:
    """Send the name on every lane that carries text, well-formed and malformed."""
    gateway = ward.client(GATEWAY)
    body = (ER7 % (sequence, NAME)).encode()
    headers = numbered("application/hl7-v2", sequence)
    assert gateway.post("/hl7v2", content=body, headers=headers).status_code == 200
    assert gateway.post("/hl7v2", content=body[:-9] + b"\x0b", headers=headers).status_code >= 400
    fhir = (
        '{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":'
        '"Device","identifier":[{"system":"urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680",'
        f'"value":"{UNSIGNED[12:]}"}}],"note":[{{"text":"{NAME}"}}]}}}}]}}'
    )
    headers = numbered("application/fhir+json", sequence)
    taken = gateway.post("/fhir", content=fhir.encode(), headers=headers)
    assert taken.status_code == 201, taken.text
    wrong = fhir.replace('"note"', f'"status":"{NAME}","note"')
    refused = gateway.post("/fhir", content=wrong.encode(), headers=headers)
    assert refused.status_code == 400
    assert NAME not in refused.text
    unknown = {"device": UNSIGNED, "events": [{"text": NAME, "phase": NAME}]}
    headers = numbered("application/vnd.asepsis.alarm+json", sequence)
    refused = gateway.post("/alerts", json=unknown, headers=headers)
    assert refused.status_code == 400
    assert NAME not in refused.text


@dataclass
class Scene:
    """Where everything that may be written lies.

    Attributes:
        prepare: Makes a ward.
        temporary: The folder for temporary files.
    """

    prepare: Callable[..., Ward]
    temporary: Path

    def play(self, *, seconds: float, state_url: str = "") -> tuple[Ward, int]:
        """Plant for some time and kill the hub; return the ward and the times it was planted."""
        ward = self.prepare(more=MORE, state_url=state_url)
        hub = ward.start()
        answer = ward.client(OTHER).post("/alerts", content=alarm_batch(ward), headers=BATCH)
        assert answer.status_code == 201
        end, sequence = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            sequence += 1
            plant(ward, sequence)
            time.sleep(0.05)
        hub.kill()
        return ward, sequence

    def check(self, ward: Ward, *, planted: int) -> None:
        """Search every file, then prove that the search would find it."""
        files = (*ward.hospital.folder.rglob("*"), *self.temporary.rglob("*"))
        assert search(path for path in files if path.is_file()) > 50_000
        # The same bytes, opened with the key, hold the name.
        records = vitals.read_journal(ward.hospital, Lane.MESSAGE)
        assert sum(NAME.encode() in record.body for record in records) == planted


def search(paths: Iterable[Path]) -> int:
    """Fail if a canary is in a file; return how many bytes were searched."""
    searched = 0
    for path in paths:
        content = path.read_bytes()
        searched += len(content)
        for canary in SEARCHED:
            assert canary not in content, path
    return searched


@pytest.fixture
def scene(prepared: Callable[..., Ward], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("SQLITE_TMPDIR", str(temporary))
    return Scene(prepared, temporary)


@pytest.mark.slow
@pytest.mark.waits
def test_the_canary_is_nowhere(scene: Scene) -> None:
    """Goal: a minute of planting, kill -9, and no hit in data, WAL, temporary files and logs."""
    ward, planted = scene.play(seconds=PLANTING_S)
    scene.check(ward, planted=planted)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[postgres.Cluster]:
    if not postgres.available():
        pytest.skip("PostgreSQL is not installed")
    # The cluster logs every statement, as an operator who looks for a fault would have it.
    monkeypatch.setitem(postgres.SETTINGS, "log_statement", "all")
    with postgres.running() as cluster:
        yield cluster


def dump(cluster: postgres.Cluster, url: str) -> bytes:
    """Return everything that a database holds, as SQL."""
    name = url.rpartition("@/")[2].partition("?")[0]
    command = [str(postgres.BINARIES / "pg_dump"), "-h", str(cluster.folder), "-U", postgres.USER]
    return subprocess.run([*command, name], capture_output=True, check=True, timeout=60).stdout


def run_sql(cluster: postgres.Cluster, url: str, *statements: str) -> None:
    name = url.rpartition("@/")[2].partition("?")[0]
    with psycopg.connect(
        host=str(cluster.folder), user=postgres.USER, dbname=name, autocommit=True
    ) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def found_in(content: bytes) -> set[bytes]:
    return {canary for canary in (*SEARCHED, *IN_HEX) if canary in content}


@pytest.mark.slow
@pytest.mark.waits
def test_the_canary_is_nowhere_in_postgresql(scene: Scene, cluster: postgres.Cluster) -> None:
    """Goal: the same with the state on PostgreSQL: its tables, indexes, WAL, log and a dump."""
    url = cluster.create_database()
    ward, planted = scene.play(seconds=PLANTING_POSTGRESQL_S, state_url=url)
    scene.check(ward, planted=planted)
    run_sql(cluster, url, "CHECKPOINT")

    def everything() -> bytes:
        files = [path for path in cluster.folder.rglob("*") if path.is_file()]
        return b"\n".join(path.read_bytes() for path in files)

    dumped, written = dump(cluster, url), everything()
    assert found_in(dumped) == set()
    assert found_in(written) == set()
    # Proof that it was searched: the state is there, and a name in clear would have been found.
    assert GATEWAY.encode() in dumped
    assert GATEWAY.encode() in written
    run_sql(
        cluster,
        url,
        "CREATE TABLE control (spoken text, stored bytea)",
        "INSERT INTO control VALUES ('CANARY^JANE', 'CANARY^JANE')",
        "CHECKPOINT",
    )
    assert found_in(dump(cluster, url)) == {NAME.encode(), b"CANARY", *IN_HEX}
    assert {NAME.encode(), b"CANARY"} <= found_in(everything())
