"""A real, throw-away PostgreSQL 15 cluster for tests, on a Unix socket and no network at all.

`initdb` refuses to run as root, so root starts it as an unprivileged user.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

BINARIES = Path("/usr/lib/postgresql/15/bin")
USER = "asepsis"
# Durability of the cluster itself is PostgreSQL's business; these tests ask about our rules.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}


class Cluster:
    """A running cluster.

    Args:
        folder: Holds the data and the socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create_database(self) -> str:
        """Make an empty database and return its URL for `Store`."""
        name = f"t{uuid4().hex}"
        with psycopg.connect(
            host=str(self.folder), user=USER, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        name = url.rpartition("@/")[2].partition("?")[0]
        with psycopg.connect(
            host=str(self.folder), user=USER, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def available() -> bool:
    """Whether PostgreSQL 15 is installed (`tests/setup.sh` does so where it may)."""
    return (BINARIES / "initdb").exists()


@contextmanager
def running() -> Generator[Cluster]:
    """Start a cluster in a temporary folder; stop and remove it afterwards."""
    # A short path: a Unix socket's name has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="asepsis-pg-", dir="/tmp"))
    data = folder / "data"
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, *_unprivileged())
        _run("initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        options = " ".join(f"-c {key}={value}" for key, value in SETTINGS.items())
        options = options.replace("listen_addresses=", "listen_addresses=''") + f" -k {folder}"
        _run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield Cluster(folder)
        finally:
            _run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    message = "no unprivileged user to run PostgreSQL as"
    raise RuntimeError(message)


def _run(program: str, *arguments: str) -> None:
    identity: dict[str, object] = {}
    if os.geteuid() == 0:
        uid, gid = _unprivileged()
        identity = {"user": uid, "group": gid, "extra_groups": []}
    subprocess.run(
        [str(BINARIES / program), *arguments],
        check=True,
        # A server keeps what it inherits: no pipe, or we would wait for its end.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        timeout=60,
        **identity,  # type: ignore[call-overload]
    )
