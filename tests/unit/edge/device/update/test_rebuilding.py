"""A device makes a release from the one before and a signed difference, or takes the whole one."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.model.release import Delta, delta_place, digest
from asepsis.core.trust import delta
from asepsis.edge.device.update import place
from asepsis.edge.device.update.keeping import Artefacts
from asepsis.edge.device.update.rebuilding import KEPT_MAX
from asepsis.tools.testing.releases import Vendor
from asepsis.tools.testing.update_world import Quiet, World

OLD = random.Random(1).randbytes(120_000)
NEW = OLD[:50_000] + b"mended" + OLD[50_000:]
METHODS = [delta.Method.HDIFFPATCH, delta.Method.ZSTD]


class Counting(Quiet):
    """Notes what is fetched."""

    def __init__(self, *args: Any, fetched: list[str], **named: Any) -> None:
        self.fetched = fetched
        super().__init__(*args, **named)

    def do_GET(self) -> None:  # noqa: N802 - of the base class
        self.fetched.append(self.path)
        super().do_GET()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(tmp_path_factory.mktemp("begun") / "vendor")


@pytest.fixture
def fetched() -> list[str]:
    return []


@pytest.fixture
def world(begun: Vendor, fetched: list[str], tmp_path: Path) -> Iterator[World]:
    handler = partial(Counting, directory=tmp_path, fetched=fetched)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield World(tmp_path, server.server_address[1], begun)
        server.shutdown()
        thread.join()


def publish(
    world: World,
    counter: int,
    content: bytes,
    *,
    patch: bytes = b"",
    method: delta.Method = delta.Method.ZSTD,
    memory_mib: int = 8,
) -> str:
    """Release, approve and assign an artefact, with a difference from `OLD` if one is given."""
    deltas = [
        (
            Delta(
                old=digest(OLD),
                method=method.value,  # type: ignore[arg-type]
                sha256=digest(patch),
                length=len(patch),
                memory_mib=memory_mib,
            ),
            patch,
        )
    ]
    path = world.vendor.release_after(counter, content, deltas=deltas if patch else [])
    world.assign(path, world.authorise(path))
    return path


def has(world: World, content: bytes) -> bool:
    [one] = place.accepted(world.device)
    return (world.device / "artefacts" / one["file"]).read_bytes() == content


def wholes(fetched: list[str]) -> list[str]:
    return [path for path in fetched if path.endswith(".img")]


@pytest.mark.parametrize("method", METHODS)
def test_a_release_is_made_from_the_one_before(
    world: World, fetched: list[str], method: delta.Method
) -> None:
    """Goal: the confined verifier applies it; the whole artefact is never asked for."""
    publish(world, 1, OLD)
    assert world.take()["done"]
    fetched.clear()
    patch = delta.make(method, old=OLD, new=NEW)
    publish(world, 2, NEW, patch=patch, method=method)
    result = world.take()
    assert result["done"], result
    assert has(world, NEW)
    assert wholes(fetched) == []
    assert [path for path in fetched if path.endswith(".delta")] == [
        f"/acme/public/targets/{delta_place('m5', digest(patch))}"
    ]


def spoilt(world: World, patch: bytes) -> None:
    """Somebody changes the difference on the vendor's server."""
    path = world.vendor.artefacts / delta_place("m5", digest(patch))
    path.write_bytes(bytes((patch[0] ^ 1,)) + patch[1:])


def gone(world: World, patch: bytes) -> None:
    (world.vendor.artefacts / delta_place("m5", digest(patch))).unlink()


def longer(world: World, patch: bytes) -> None:
    path = world.vendor.artefacts / delta_place("m5", digest(patch))
    path.write_bytes(patch + b"x" * 100_000)


def untouched(_world: World, _patch: bytes) -> None:
    """Leave it."""


@pytest.mark.parametrize(
    ("harm", "memory_mib", "known"),
    [
        (spoilt, 8, True),
        (gone, 8, True),
        (longer, 8, True),
        (untouched, 60_000, True),
        (untouched, 8, False),
    ],
    ids=["changed", "missing", "endless", "too much memory", "another artefact before"],
)
def test_where_the_difference_does_not_lead_there_the_whole_one_is_taken(
    world: World,
    fetched: list[str],
    harm: Callable[[World, bytes], None],
    memory_mib: int,
    *,
    known: bool,
) -> None:
    publish(world, 1, OLD if known else OLD[:-1])
    assert world.take()["done"]
    fetched.clear()
    patch = delta.make(delta.Method.ZSTD, old=OLD, new=NEW)
    publish(world, 2, NEW, patch=patch, memory_mib=memory_mib)
    harm(world, patch)
    result = world.take()
    assert result["done"], result
    assert has(world, NEW)
    assert len(wholes(fetched)) == 1


def test_a_signed_difference_to_something_else_is_no_way(world: World) -> None:
    """Goal: the signed hash of the artefact decides, whatever the document promises."""
    publish(world, 1, OLD)
    assert world.take()["done"]
    publish(world, 2, NEW, patch=delta.make(delta.Method.ZSTD, old=OLD, new=NEW[:-1] + b"!"))
    assert world.take()["done"]
    assert has(world, NEW)


def test_artefacts_that_nobody_wants_do_not_fill_the_disk(tmp_path: Path) -> None:
    """Goal: what is assigned stays, and the newest others: what new ones are made from."""
    for number in range(KEPT_MAX + 3):
        path = tmp_path / f"{number}.img"
        path.write_bytes(b"%d" % number)
        os.utime(path, ns=(number, number))
    Artefacts(tmp_path).tidy({tmp_path / "0.img"}, others_max=KEPT_MAX)
    others = [f"{number}.img" for number in range(3, KEPT_MAX + 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.img", *others]
