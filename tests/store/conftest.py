"""Every test here runs twice: on SQLite and on a real PostgreSQL cluster of its own."""

import hmac
import importlib.util
import os
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asepsis.core.errors import SignatureInvalid
from asepsis.hub.store.migrate import migrate
from asepsis.hub.store.store import Store


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tests_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


postgres = _load(Path(__file__).parents[1] / "postgres.py")
START_NS = 1_800_000_000_000_000_000


class ManualClock:
    """Wall time that moves when the test says so."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        """Return nanoseconds since 1970."""
        return self.now_ns

    def advance_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * 1e9)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def cluster() -> Generator[object]:
    if not postgres.available():
        pytest.skip("PostgreSQL is not installed")
    with postgres.running() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state.db'}"
        return
    cluster = request.getfixturevalue("cluster")
    url = cluster.create_database()
    yield url
    cluster.drop_database(url)


class TestSealer:
    """AES-256-GCM under one random key."""

    __test__ = False

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def seal_value(self, table_column: str, plaintext: bytes) -> bytes:
        """Seal."""
        nonce = os.urandom(12)
        return nonce + AESGCM(self._key).encrypt(nonce, plaintext, table_column.encode())

    def open_value(self, table_column: str, sealed: bytes) -> bytes:
        """Open."""
        try:
            return AESGCM(self._key).decrypt(sealed[:12], sealed[12:], table_column.encode())
        except InvalidTag as error:
            raise SignatureInvalid("the value does not open") from error

    def lookup_hash(self, table_column: str, plaintext: bytes) -> bytes:
        """Hash."""
        return hmac.digest(self._key, table_column.encode() + b"\0" + plaintext, "sha256")


@pytest.fixture
def sealer() -> TestSealer:
    return TestSealer()


@pytest.fixture
def open_store(url: str, sealer: TestSealer, clock: ManualClock) -> Generator[Callable[[], Store]]:
    """Return a function that opens one more store on the same database, as a second hub does."""
    stores: list[Store] = []

    def open_one() -> Store:
        stores.append(Store(url, sealer, clock))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    """Return a migrated store."""
    store = open_store()
    migrate(store)
    return store
