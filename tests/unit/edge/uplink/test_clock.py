"""Trusted time: authenticated, and never below what was trusted before."""

from pathlib import Path

import pytest

from asepsis.core.errors import TrustError
from asepsis.edge.uplink.clock import TrustedClock

BUILD_NS = 1_767_225_600 * 10**9
DAY_NS = 86_400 * 10**9


class Monotonic:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.ns = 5_000_000_000

    def __call__(self) -> int:
        return self.ns


def clock_at(path: Path, monotonic: Monotonic) -> TrustedClock:
    return TrustedClock(path, boot_id=bytes(16), monotonic=monotonic, build_ns=BUILD_NS)


def test_a_device_without_time_says_so_and_runs_from_its_build_time(tmp_path: Path) -> None:
    monotonic = Monotonic()
    clock = clock_at(tmp_path / "t", monotonic)
    monotonic.ns += 7
    assert not clock.instant().synchronised
    assert clock.now_ns() == BUILD_NS + 7


def test_signed_time_is_taken_at_half_the_round_trip(tmp_path: Path) -> None:
    monotonic = Monotonic()
    clock = clock_at(tmp_path / "t", monotonic)
    asked_ns = monotonic.ns
    monotonic.ns += 40_000_000
    clock.accept(BUILD_NS + DAY_NS, asked_monotonic_ns=asked_ns)
    assert clock.now_ns() == BUILD_NS + DAY_NS + 20_000_000
    assert clock.instant().uncertainty_ms == 20


def test_uncertainty_grows_with_the_drift(tmp_path: Path) -> None:
    monotonic = Monotonic()
    clock = clock_at(tmp_path / "t", monotonic)
    clock.accept(BUILD_NS + DAY_NS, asked_monotonic_ns=monotonic.ns)
    first_ms = clock.instant().uncertainty_ms
    monotonic.ns += 1_000 * 10**9
    assert clock.instant().uncertainty_ms == first_ms + 100


def test_time_below_the_floor_is_refused_also_after_a_reboot(tmp_path: Path) -> None:
    """Goal: a replayed or set-back time cannot revive an expired certificate."""
    monotonic = Monotonic()
    clock_at(tmp_path / "t", monotonic).accept(
        BUILD_NS + 10 * DAY_NS, asked_monotonic_ns=monotonic.ns
    )
    rebooted = clock_at(tmp_path / "t", monotonic)
    assert rebooted.now_ns() >= BUILD_NS + 10 * DAY_NS
    with pytest.raises(TrustError):
        rebooted.accept(BUILD_NS + 9 * DAY_NS, asked_monotonic_ns=monotonic.ns)
    assert not rebooted.synchronised


def test_a_damaged_floor_file_does_not_stop_the_device(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\xff\x00")
    assert clock_at(tmp_path / "t", Monotonic()).now_ns() == BUILD_NS


def test_no_time_is_older_than_the_software(tmp_path: Path) -> None:
    monotonic = Monotonic()
    with pytest.raises(TrustError):
        clock_at(tmp_path / "t", monotonic).accept(
            BUILD_NS - DAY_NS, asked_monotonic_ns=monotonic.ns
        )
