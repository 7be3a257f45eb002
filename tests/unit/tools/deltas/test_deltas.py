"""Differences lead to the signed artefact or to nothing, and the cheapest way is chosen."""

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core.errors import (
    AsepsisError,
    ContentMismatch,
    FramingError,
    InputError,
    LimitExceeded,
)
from asepsis.core.trust import delta
from asepsis.core.trust.delta import Method
from asepsis.tools.deltas.choosing import Means, Measured, choose
from asepsis.tools.deltas.measuring import WAYS, measure

RNG = random.Random(7)
OLD = RNG.randbytes(60_000)
NEW = OLD[:20_000] + b"a hot fix" + OLD[20_500:] + RNG.randbytes(300)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def applied(method: Method, patch: bytes, *, old: bytes = OLD, new: bytes = NEW) -> bytes:
    return delta.apply(
        method,
        old=old,
        patch=patch,
        patch_sha256=sha256(patch),
        length=len(new),
        sha256=sha256(new),
    )


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: "-".join(filter(None, way)))
def way(request: pytest.FixtureRequest) -> tuple[Method, bytes]:
    method, packer = request.param
    return method, delta.make(method, old=OLD, new=NEW, packer=packer)


def test_a_difference_is_small_and_leads_to_the_new(way: tuple[Method, bytes]) -> None:
    method, patch = way
    assert applied(method, patch) == NEW
    assert len(patch) < 3_000


@settings(max_examples=25, deadline=None)
@given(old=st.binary(max_size=2_000), new=st.binary(max_size=2_000))
@pytest.mark.parametrize(("method", "packer"), WAYS)
def test_any_two_artefacts(method: Method, packer: str, old: bytes, new: bytes) -> None:
    patch = delta.make(method, old=old, new=new, packer=packer)
    assert applied(method, patch, old=old, new=new) == new


def test_what_is_not_signed_is_not_even_decoded(way: tuple[Method, bytes]) -> None:
    method, patch = way
    with pytest.raises(ContentMismatch, match="not the signed one"):
        delta.apply(
            method,
            old=OLD,
            patch=patch + b"x",
            patch_sha256=sha256(patch),
            length=len(NEW),
            sha256=sha256(NEW),
        )


def test_damaged_differences_lead_to_nothing(way: tuple[Method, bytes]) -> None:
    """Goal: also whoever signs a bad difference gets no other artefact through."""
    method, patch = way
    rng = random.Random(11)
    for _ in range(150):
        place = rng.randrange(len(patch))
        changed = bytearray(patch)
        changed[place] ^= 1 << rng.randrange(8)
        try:
            assert applied(method, bytes(changed)) == NEW  # A bit that means nothing.
        except AsepsisError:
            continue
    for cut in (0, 1, 9, len(patch) // 2, len(patch) - 1):
        with pytest.raises(AsepsisError):
            applied(method, patch[:cut])
    with pytest.raises(AsepsisError):
        applied(method, patch, old=OLD[:-1])
    with pytest.raises(FramingError):
        applied(method, patch, new=NEW + b"x")


@given(st.binary(max_size=200))
def test_strange_bytes_are_framing_errors(content: bytes) -> None:
    for head in (b"", b"HDIFF13&zstd\0", b"HDIFF13&bzip2\0"):
        with pytest.raises(FramingError):
            applied(Method.HDIFFPATCH, head + content)
    with pytest.raises(FramingError):
        applied(Method.ZSTD, content)
    with pytest.raises(FramingError):
        applied(Method.FULL, content)


def test_too_large_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "ARTEFACT_BYTES_MAX", 100)
    with pytest.raises(LimitExceeded):
        applied(Method.ZSTD, b"")
    with pytest.raises(LimitExceeded):
        delta.make(Method.ZSTD, old=OLD, new=NEW)


def ways(memory: int) -> list[Measured]:
    fixed = {"make_s": 1.0}
    return [
        Measured(method=Method.HDIFFPATCH, size=10, apply_s=2, memory_bytes=memory, **fixed),
        Measured(method=Method.ZSTD, size=20, apply_s=0.1, memory_bytes=memory // 2, **fixed),
        Measured(method=Method.FULL, size=1_000, apply_s=0, memory_bytes=1, **fixed),
    ]


@pytest.mark.parametrize(
    ("memory", "link", "slower", "best"),
    [
        (100, 1.0, 1.0, Method.HDIFFPATCH),
        (100, 1.0, 50.0, Method.ZSTD),
        (60, 1.0, 1.0, Method.ZSTD),
        (10, 1.0, 1.0, Method.FULL),
        (100, 1e9, 1.0, Method.FULL),
    ],
)
def test_the_cheapest_way_within_the_memory(
    memory: int, link: float, slower: float, best: Method
) -> None:
    means = Means(memory_bytes=memory, link_bytes_per_s=link, slower=slower)
    assert choose(ways(100), means).method is best


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.01, 1e6))
def test_more_memory_never_costs_more(one: int, more: int, link: float) -> None:
    def cost(memory: int) -> float:
        means = Means(memory_bytes=memory, link_bytes_per_s=link)
        best = choose(ways(100), means)
        return best.size / link + best.apply_s

    assert cost(one + more) <= cost(one)


def test_without_the_full_artefact_nothing_is_chosen() -> None:
    means = Means(memory_bytes=1, link_bytes_per_s=1)
    with pytest.raises(InputError):
        choose(ways(100)[:2], means)
    with pytest.raises(InputError):
        Means(memory_bytes=0, link_bytes_per_s=1)


def test_every_way_is_measured(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(OLD)
    new.write_bytes(NEW)
    found = measure(old, new, tmp_path)
    assert [one.method for one in found] == [*(method for method, _ in WAYS), Method.FULL]
    assert all(found[one].stat().st_size == one.size for one in found)
    assert all(one.memory_bytes > 0 and one.apply_s >= 0 for one in found)
    with pytest.raises(FramingError):
        measure(tmp_path / "absent", new, tmp_path)
