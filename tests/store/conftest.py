"""Every test here runs twice: on SQLite and on a real PostgreSQL cluster of its own."""

import importlib.util
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType

import pytest

from asepsis.core.trust.sealing import ColumnSealer, throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
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


@pytest.fixture
def sealer() -> ColumnSealer:
    return ColumnSealer(throw_away_kek(), aead=CryptographyAead())


@pytest.fixture
def open_store(
    url: str, sealer: ColumnSealer, clock: ManualClock
) -> Generator[Callable[[], Store]]:
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
