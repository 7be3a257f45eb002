"""No patient's word in clear: not in the files, the log, temporary files or messages."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CANARY = b"CANARY^JANE"

WRITER = """
import logging, os, sqlite3, sys, time
from pathlib import Path
from asepsis.core.errors import AsepsisError
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Link
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.trust.sealing import ColumnSealer, throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys

logging.basicConfig(level=logging.DEBUG)
folder, kek, aead = Path(sys.argv[1]), throw_away_kek(), CryptographyAead()
journal = SqliteJournal(
    folder / "journal",
    cipher=DayKeys(folder / "keys", kek=kek, aead=aead),
    lanes=dict.fromkeys(Lane, LaneBudget(bytes_max=1 << 27, age_s=0)),
    clock=time.time_ns,
    limits=JournalLimits(wal_bytes_max=1 << 18, reserve_bytes=1 << 16),
)
journal.register("charts", {Lane.MESSAGE: True})
columns = sqlite3.connect(folder / "columns.db", isolation_level=None)
columns.execute("PRAGMA journal_mode=WAL")
columns.execute("CREATE TABLE patient (name BLOB, lookup BLOB)")
sealer = ColumnSealer(kek, aead=aead)
said = False
for n in range(1, 1 << 40):
    body = b"PID|1||4711||CANARY^JANE" * (n % 300)
    for lane in Lane:
        account = Account.WAVEFORM if lane is Lane.WAVEFORM else Account.MESSAGE
        record = Append(
            lane=lane, account=account, producer=lane.value, epoch=1, sequence=n, kind="oru",
            body=body, received_at_ns=time.time_ns(), link=None,
        )
        try:
            journal.submit(record).result()
            journal.submit(record).result()  # A duplicate.
        except AsepsisError as error:
            logging.warning("refused: %s", error)
    if n % 50 == 0:
        held = journal.pull("charts", Lane.MESSAGE, records_max=50)
        journal.commit("charts", Lane.MESSAGE, held[-1].position)
        journal.expire(time.time_ns())
    columns.execute("INSERT INTO patient VALUES (?, ?)",
        (sealer.seal_value("patient.name", b"CANARY^JANE"),
         sealer.lookup_hash("patient.name", b"CANARY^JANE")))
    if not said and n == 100:
        print("working", flush=True)
        said = True
"""


def test_a_planted_name_is_nowhere_after_a_kill(tmp_path: Path) -> None:
    """Goal: plant a name in every lane and a column, kill -9, search every byte."""
    data, temporary, log = tmp_path / "data", tmp_path / "tmp", tmp_path / "log"
    data.mkdir()
    temporary.mkdir()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(data)],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=temporary,
            env=os.environ | {"TMPDIR": str(temporary), "SQLITE_TMPDIR": str(temporary)},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n", log.read_bytes().decode()
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            _no_hits(data, temporary, log)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    searched = _no_hits(data, temporary, log)
    assert searched > 1 << 20, "the search must have seen the data"


def _no_hits(*places: Path) -> int:
    searched = 0
    for place in places:
        for path in [place, *place.rglob("*")]:
            try:
                content = path.read_bytes()
            except (IsADirectoryError, FileNotFoundError):
                continue
            assert CANARY not in content, path
            assert b"4711||CANARY" not in content, path
            searched += len(content)
    return searched
