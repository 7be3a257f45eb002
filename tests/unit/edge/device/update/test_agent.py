"""The agent as two processes, against repositories that are honest and others that are not."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from asepsis.core import errors
from asepsis.edge.device.update.__main__ import main
from asepsis.edge.device.update.fetching import Fetcher, Place, Repository
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.talk import IMAGE, Kind
from asepsis.tools.testing.releases import Vendor

BIG = bytes(range(256)) * 1_024
"""256 KiB, several parts."""


def honest(path: str, content: bytes) -> bytes:
    del path
    return content


class Server(ThreadingHTTPServer):
    """Static files, spoiled as the test says."""

    folder: Path
    spoil: Callable[[str, bytes], bytes]
    asked: list[tuple[str, str]]
    cut: int
    status: int


class Answering(BaseHTTPRequestHandler):
    """Answers with whole files and with their ends."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range", "")))
        path = self.server.folder / self.path.lstrip("/")
        if self.server.status != 200 or not path.is_file():
            self.send_error(self.server.status if self.server.status != 200 else 404)
            return
        content = self.server.spoil(self.path, path.read_bytes())
        begin = int(self.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        rest = content[begin:]
        if self.server.cut and "targets" in self.path and len(rest) > self.server.cut:
            rest = rest[: self.server.cut]
        self.wfile.write(rest)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    """A vendor whose metadata is of now: the agent takes this machine's clock."""
    folder = tmp_path_factory.mktemp("vendor") / "vendor"
    vendor = Vendor(folder, now=datetime.now(UTC).replace(microsecond=0))
    vendor.release(1, content=BIG)
    return vendor


@pytest.fixture
def server(vendor: Vendor) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    server.folder, server.asked, server.cut, server.status = vendor.folder / "public", [], 0, 200
    server.spoil = honest
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Agent:
    """The commands, as tuf-conformance gives them."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.metadata, self.targets = folder / "metadata", folder / "artefacts"
        self.incoming = folder / "incoming"
        for made in (self.targets, self.incoming):
            made.mkdir()
        self._url = f"http://127.0.0.1:{server.server_address[1]}"

    def __call__(self, command: str, *more: str) -> int:
        where = ["--metadata-dir", str(self.metadata), "--metadata-url", f"{self._url}/metadata"]
        return main([*where, *more, command])

    def init(self, root: Path) -> int:
        return main(["--metadata-dir", str(self.metadata), "init", str(root)])

    def download(self, path: str) -> int:
        places = ["--target-base-url", f"{self._url}/targets", "--target-dir", str(self.targets)]
        places += ["--incoming-dir", str(self.incoming)]
        return self("download", *places, "--target-name", path)


@pytest.fixture
def agent(tmp_path: Path, server: Server, vendor: Vendor) -> Agent:
    agent = Agent(tmp_path, server)
    assert agent.init(vendor.repository.public / "1.root.json") == 0
    return agent


def test_an_artefact_is_fetched_once(agent: Agent, server: Server) -> None:
    assert agent.download("m5/vitals-1.img") == 0
    assert [path.read_bytes() for path in agent.targets.iterdir()] == [BIG]
    assert sorted(path.name for path in agent.metadata.iterdir()) == [
        "m5.json",
        "root.json",
        "snapshot.json",
        "targets.json",
        "timestamp.json",
    ]
    server.asked.clear()
    assert agent.download("m5/vitals-1.img") == 0
    assert not [path for path, _ in server.asked if "targets/" in path]


def test_a_cut_download_goes_on_where_it_ended(agent: Agent, server: Server) -> None:
    server.cut = 100_000
    assert agent.download("m5/vitals-1.img") == 0
    ranges = [asked for path, asked in server.asked if "targets/" in path]
    assert ranges == ["", "bytes=100000-", "bytes=200000-"]
    assert [path.read_bytes() for path in agent.targets.iterdir()] == [BIG]


def test_a_tampered_artefact_is_not_kept_and_fetched_anew(agent: Agent, server: Server) -> None:
    server.spoil = lambda path, content: content[::-1] if "targets/" in path else content
    assert agent.download("m5/vitals-1.img") == 1
    assert list(agent.targets.iterdir()) == []
    server.spoil = honest
    assert agent.download("m5/vitals-1.img") == 0


def test_endless_data_is_cut_off(agent: Agent, server: Server) -> None:
    server.spoil = lambda path, content: content + bytes(1 << 20) if "1.img" in path else content
    assert agent.download("m5/vitals-1.img") == 1
    assert list(agent.targets.iterdir()) == []
    assert all(path.stat().st_size <= len(BIG) for path in agent.incoming.iterdir())


@pytest.mark.parametrize("status", [302, 500])
def test_a_repository_that_does_not_answer_changes_nothing(
    agent: Agent, server: Server, status: int
) -> None:
    assert agent("refresh") == 0
    before = {path.name: path.read_bytes() for path in agent.metadata.iterdir()}
    server.status = status
    assert agent("refresh") == 1
    assert {path.name: path.read_bytes() for path in agent.metadata.iterdir()} == before


def test_what_nobody_signed_is_not_fetched(agent: Agent, server: Server) -> None:
    assert agent.download("m5/vitals-9.img") == 1
    assert not [path for path, _ in server.asked if "targets/" in path]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "//host/x", "http://", "http://h:port/"])
def test_only_http_is_fetched(url: str) -> None:
    with pytest.raises(errors.ConfigError):
        Place.parse(url)


def test_a_slow_repository_is_given_up(server: Server, tmp_path: Path) -> None:
    """Goal: a slow retrieval attack ends; the clock is the test's."""
    seconds = iter(range(0, 10_000, 60))
    place = Place.parse(f"http://127.0.0.1:{server.server_address[1]}/metadata")
    fetcher = Fetcher(
        repositories={IMAGE: Repository(place)},
        incoming=tmp_path,
        now_s=lambda: float(next(seconds)),
    )
    asked, answers = tmp_path / "asked", tmp_path / "answers"
    question = json.dumps({"from": IMAGE, "name": "timestamp.json", "bytes": 16_384}).encode()
    result = json.dumps({"done": False}).encode()
    asked.write_bytes(
        b"".join(
            kind.value + len(body).to_bytes(4, "big") + body
            for kind, body in ((Kind.METADATA, question), (Kind.RESULT, result))
        )
    )
    with asked.open("rb") as reading, answers.open("wb") as writing:
        fetcher.serve(reading, writing)
    assert b"too slow" in answers.read_bytes()


def test_the_fetcher_loads_no_code_that_knows_a_signature() -> None:
    """Goal: the process with a network has no parser of metadata and no key."""
    listed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, asepsis.edge.device.update.__main__; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"tuf", "securesystemslib", "cryptography", "urllib3", "msgspec"} & set(listed)


def test_floors_never_sink_and_a_lost_file_installs_nothing(tmp_path: Path) -> None:
    floors = Floors(tmp_path)
    with pytest.raises(errors.TrustError):
        floors.of("vitals")
    floors.create()
    floors.verified("vitals", 7)
    floors.verified("vitals", 3)
    floors.create()
    assert (floors.of("vitals"), floors.of("display")) == (7, 0)
    for spoiled in (b"", b"[]", b'{"vitals": -1}', b'{"vitals": true}', b'{"vitals": "7"}'):
        (tmp_path / "floors.json").write_bytes(spoiled)
        with pytest.raises(errors.TrustError):
            floors.of("vitals")


TRY = """
import json, os, socket, sys
from pathlib import Path
from asepsis.edge.device.update import verifying
own, foreign = Path(sys.argv[1]), Path(sys.argv[2])
verifying.rehearse()
verifying.give_up(readable=own, writable=(own,))
tried = {
    "socket": lambda: socket.socket(),
    "pair": lambda: socket.socketpair(),
    "program": lambda: os.execv("/bin/true", ["true"]),
    "child": lambda: os.fork(),
    "read": lambda: foreign.read_bytes(),
    "write": lambda: foreign.write_bytes(b"x"),
}
said = {}
for name, attempt in tried.items():
    try:
        attempt()
        said[name] = "done"
    except OSError as error:
        said[name] = type(error).__name__
(own / "kept").write_bytes(b"x")
print(json.dumps(said))
"""


def test_the_verifier_has_no_network_and_no_file_but_its_own(tmp_path: Path) -> None:
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    own.mkdir()
    foreign.write_bytes(b"secret")
    command = [sys.executable, "-c", TRY, str(own), str(foreign)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout).values()) == {"PermissionError"}
    assert (foreign.read_bytes(), (own / "kept").read_bytes()) == (b"secret", b"x")
