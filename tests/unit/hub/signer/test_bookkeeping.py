"""Goal: log, rates, refusals and seal hold under torn writes, floods, full disks and edits."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ChainBroken, ConfigError, RateLimited
from asepsis.core.trust import answers, signer_values
from asepsis.core.trust import requests as typed
from asepsis.hub.signer import sealed
from asepsis.hub.signer.entries import Alarmed
from asepsis.hub.signer.keystore import SealedKeyStore
from asepsis.hub.signer.log import SignerLog
from asepsis.hub.signer.rates import HOUR_NS, MINUTE_NS, check_rate
from asepsis.hub.signer.service import ADMIN_REQUESTS, HUB_REQUESTS

DEVICE = "urn:dev:mac:0011223344556677"
Keys = Callable[[], ec.EllipticCurvePrivateKey]


def write_log(path: Path, count: int) -> list[bytes]:
    log = SignerLog(path, lock_wait_s=0)
    list(log.replay())
    for number in range(count):
        log.append([Alarmed(code="c", text=str(number))], at_ns=number)
    log.close()
    return path.read_bytes().splitlines(keepends=True)


def read_log(path: Path) -> list[str]:
    log = SignerLog(path, lock_wait_s=0)
    try:
        return [record.entry.text for record in log.replay() if isinstance(record.entry, Alarmed)]
    finally:
        log.close()


@given(cut=st.integers(0, 10_000))
def test_a_torn_last_line_is_cut_off(tmp_path_factory: Any, cut: int) -> None:
    """Goal: whatever length survives, whole lines count and the log goes on from there."""
    path = tmp_path_factory.mktemp("log") / "log"
    lines = write_log(path, 3)
    whole = b"".join(lines)
    keep = cut % (len(whole) + 1)
    path.write_bytes(whole[:keep])
    complete = whole[:keep].count(b"\n")
    assert read_log(path) == [str(number) for number in range(complete)]
    assert path.stat().st_size == len(b"".join(lines[:complete]))


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_changed_byte_is_found(tmp_path_factory: Any, at: int, flip: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    whole = bytearray(b"".join(write_log(path, 3)))
    lines = bytes(whole).splitlines(keepends=True)
    inside = len(lines[0]) + len(lines[1])  # The last line has no successor that proves it.
    whole[at % inside] ^= flip
    path.write_bytes(bytes(whole))
    with pytest.raises(ChainBroken):
        read_log(path)


def test_removed_and_swapped_lines_are_found(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = write_log(path, 4)
    for order in ((0, 2, 3), (1, 2, 3), (0, 2, 1, 3), (0, 0, 1)):
        path.write_bytes(b"".join(lines[number] for number in order))
        with pytest.raises(ChainBroken):
            read_log(path)


def test_the_log_has_one_holder(tmp_path: Path) -> None:
    first = SignerLog(tmp_path / "log", lock_wait_s=0)
    with pytest.raises(ConfigError):
        SignerLog(tmp_path / "log", lock_wait_s=0)
    first.close()


def test_a_full_disk_refuses_and_leaves_the_log_whole(
    bench: Any, key_maker: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: nothing is issued that could not be logged, and it goes on when there is space."""
    proof, key = bench.expect(DEVICE), key_maker()
    real = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        real(fd, data[: len(data) // 2], offset)
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "pwrite", full)
    answer = bench.ask(key, proof)
    assert isinstance(answer, answers.Refused)
    assert answer.code == "ASP-403"
    monkeypatch.setattr(os, "pwrite", real)
    assert bench.status().certificates == 0
    assert isinstance(bench.ask(key, proof), answers.Issued)
    bench.restart()
    assert bench.status().certificates == 1


def test_a_failed_sync_ends_the_process(
    bench: Any, key_maker: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: after a failed fsync nobody knows what the disk holds; only a new start does."""
    proof = bench.expect(DEVICE)

    def fails(fd: int) -> None:
        raise OSError(errno.EIO, f"descriptor {fd} lost its pages")

    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(SystemExit):
        bench.ask(key_maker(), proof)


def test_renewals_have_a_rate_of_their_own_and_survive_restart(bench: Any) -> None:
    device = bench.enrol(DEVICE)
    limits = signer_values.Limits(renewals_per_minute=2)
    bench.signer.admin_request(typed.LimitsRequest(limits=limits))
    current = device.renewal
    for _ in range(2):
        bench.pass_days(0.0001)
        answer = bench.ask(device.key, current)
        assert isinstance(answer, answers.Issued)
        current = typed.RenewalProof(current_cert_der=answer.chain_der[0])
    bench.restart()
    answer = bench.ask(device.key, current)
    assert isinstance(answer, answers.Refused)
    assert (answer.code, answer.retry_after_s >= 1) == ("ASP-402", True)
    bench.now_ns += answer.retry_after_s * 10**9
    assert isinstance(bench.ask(device.key, current), answers.Issued)


@given(
    at=st.lists(st.integers(0, 2 * HOUR_NS), max_size=60),
    now_ns=st.integers(HOUR_NS, 2 * HOUR_NS),
    new=st.booleans(),
)
def test_waiting_as_long_as_told_is_enough(at: list[int], now_ns: int, *, new: bool) -> None:
    """Goal: Retry-After is true: after it, that window has room."""
    issued = sorted((moment, "n", new) for moment in at if moment <= now_ns)
    limits = signer_values.Limits(
        new_per_minute=3, new_per_hour=9, renewals_per_minute=4, renewals_per_hour=12
    )
    for _ in range(4):
        try:
            check_rate(issued, limits=limits, name="x", new=new, now_ns=now_ns)
        except RateLimited as error:
            now_ns += error.retry_after_s * 10**9
        else:
            inside = [one for one in issued if one[0] > now_ns - MINUTE_NS]
            assert len(inside) < (3 if new else 4)
            return
    pytest.fail("waiting did not help")


def test_a_flood_of_refusals_is_counted_and_does_not_fill_the_disk(
    bench: Any, key_maker: Keys
) -> None:
    unknown = typed.TokenProof(id="0" * 16, secret="x")
    key = key_maker()
    for _ in range(1_000):
        bench.ask(key, unknown, csr_der=b"")
    assert bench.status().refusals == 1_000
    assert (bench.folder / "signer.log").read_bytes().count(b'"type":"refused"') == 300
    assert bench.alarms() == ["token-refused"]
    bench.restart()
    assert bench.status().refusals == 1_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "urn:dev:mac:UPPER"},
        {"profile": "server"},
        {"profile": "nonsense"},
        {"lease_ms": 10_001},
        {"lease_ms": 0},
        {"renewal_window_days": 3_651},
        {"idevid_serial": "PM-1"},
        {"declared": (DEVICE,)},
        {"profile": "gateway"},
    ],
)
def test_a_listing_out_of_range_is_refused(bench: Any, wrong: dict[str, Any]) -> None:
    wanted = signer_values.Expectation(**({"id": "", "name": DEVICE, "profile": "device"} | wrong))
    answer = bench.signer.admin_request(typed.ExpectRequest(expectation=wanted))
    assert isinstance(answer, answers.Refused)
    assert answer.code == "ASP-100"


def test_listings_are_shown_and_withdrawn(bench: Any, key_maker: Keys) -> None:
    proof = bench.expect(DEVICE)
    listed = bench.signer.admin_request(typed.ListRequest())
    assert [one.name for one in listed.expectations] == [DEVICE]
    assert bench.signer.admin_request(typed.WithdrawRequest(id=proof.id)) == answers.Done()
    assert isinstance(
        bench.signer.admin_request(typed.WithdrawRequest(id=proof.id)), answers.Refused
    )
    answer = bench.ask(key_maker(), proof)
    assert isinstance(answer, answers.Refused)
    assert answer.code == "ASP-208"


def test_no_request_of_the_hub_lists_and_none_of_the_operator_issues() -> None:
    listing = {typed.ExpectRequest, typed.ReleaseRequest, typed.TrustMakerRequest,
               typed.LimitsRequest, typed.ForgetTreeHeadRequest}  # fmt: skip
    assert not listing & set(HUB_REQUESTS)
    assert typed.IssueRequest not in ADMIN_REQUESTS
    assert set(HUB_REQUESTS) == set(typed.HubRequest.__args__)
    assert set(ADMIN_REQUESTS) == set(typed.AdminRequest.__args__)


def test_a_seal_opens_with_its_secret_and_unchanged_only(tmp_path: Path) -> None:
    secret = sealed.SealSecret(b"sixteen bytes or more", "test")
    SealedKeyStore.create(tmp_path, secret=secret)
    with pytest.raises(ConfigError):
        SealedKeyStore.create(tmp_path, secret=secret)
    path = tmp_path / "keys.sealed"
    content = path.read_bytes()
    with pytest.raises(ConfigError):
        SealedKeyStore.open(tmp_path, secret=sealed.SealSecret(b"another secret...", "test"))
    for at in (0, 5, 25, 40, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(ConfigError):
            SealedKeyStore.open(tmp_path, secret=secret)
    path.write_bytes(content[:20])
    with pytest.raises(ConfigError):
        SealedKeyStore.open(tmp_path, secret=secret)


def test_where_the_secret_comes_from(tmp_path: Path) -> None:
    named, credentials = tmp_path / "named", tmp_path / "credentials"
    credentials.mkdir()
    named.write_bytes(b"0123456789abcdef")
    (credentials / "asepsis-signer").write_bytes(b"fedcba9876543210")
    found = sealed.find_secret(secret_file=named, credentials=credentials)
    assert found is not None
    assert found.value == b"0123456789abcdef"
    found = sealed.find_secret(secret_file=None, credentials=credentials)
    assert found is not None
    assert found.origin == "a systemd credential"
    assert sealed.find_secret(secret_file=None, credentials=None) is None
    local = sealed.local_secret(tmp_path)
    assert local.value == sealed.local_secret(tmp_path).value
    named.write_bytes(b"short")
    for path in (named, tmp_path / "absent"):
        with pytest.raises(ConfigError):
            sealed.find_secret(secret_file=path, credentials=None)
