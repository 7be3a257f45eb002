"""What a device keeps about itself: whole or absent, private, and never a lower boot epoch."""

import json
import ssl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core.errors import ConfigError, NotFound, TransientError
from asepsis.core.trust.der import SEQUENCE, element
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.files import read_state, write_durably
from asepsis.edge.uplink.folder import Hospital, IdentityFolder

NAME = "urn:dev:mac:0000000000000001"
HOSPITAL = Hospital(Endpoint("hub.example", 8443), Endpoint("10.0.0.1", 8444))
CHAIN = [element(SEQUENCE, bytes([n]) * 200) for n in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> IdentityFolder:
    made = IdentityFolder(tmp_path / "device")
    made.create()
    return made


def test_a_folder_is_its_owners_only(folder: IdentityFolder) -> None:
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert not folder.enrolled
    folder.create()


def test_a_path_that_is_taken_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError):
        IdentityFolder(tmp_path / "file").create()


def test_a_finished_enrolment_comes_back(folder: IdentityFolder) -> None:
    with pytest.raises(NotFound):
        folder.load()
    folder.finish(NAME, HOSPITAL, b"root")
    assert folder.enrolled
    assert folder.load() == (NAME, HOSPITAL, b"root")
    assert {p.stat().st_mode & 0o777 for p in folder.path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "null",
        "[" * 50_000,
        json.dumps({"name": NAME}),
        '{"clinical": 5, "name": ""}',
    ],
    ids=lambda text: text[:9],
)
def test_a_damaged_record_is_no_enrolment(folder: IdentityFolder, text: str) -> None:
    folder.finish(NAME, HOSPITAL, b"root")
    (folder.path / "identity.json").write_text(text)
    with pytest.raises(NotFound):
        folder.load()


def test_a_key_is_made_once_and_private(folder: IdentityFolder) -> None:
    """Goal: REQ-ID-004; a repeated enrolment asks for the same key."""
    first = folder.key("tls").spki_der
    assert folder.key("tls").spki_der == first
    assert folder.key("origin").spki_der != first
    assert (folder.path / "tls.key").stat().st_mode & 0o077 == 0


def test_the_leaf_is_the_first_of_the_chain(folder: IdentityFolder) -> None:
    with pytest.raises(NotFound):
        folder.leaf("tls")
    folder.store_chain("tls", CHAIN)
    assert folder.leaf("tls") == CHAIN[0]


@given(st.integers(0, 400))
def test_a_chain_that_was_cut_off_is_a_leaf_or_none(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    folder = IdentityFolder(tmp_path_factory.mktemp("device", numbered=True))
    text = "".join(map(ssl.DER_cert_to_PEM_cert, CHAIN))
    (folder.path / "tls.pem").write_text(text[:length])
    try:
        assert folder.leaf("tls") == CHAIN[0]
    except NotFound:
        assert length < len(ssl.DER_cert_to_PEM_cert(CHAIN[0]))


@pytest.mark.parametrize("data", [b"\xff\xfe", b"-----END CERTIFICATE-----", b"x" * 70_000])
def test_noise_is_no_chain(folder: IdentityFolder, data: bytes) -> None:
    (folder.path / "tls.pem").write_bytes(data)
    with pytest.raises(NotFound):
        folder.leaf("tls")


@settings(deadline=None)  # Every epoch is flushed to the disk.
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=8))
def test_boot_epochs_only_rise(tmp_path_factory: pytest.TempPathFactory, clocks: list[int]) -> None:
    """Goal: REQ-ORG-005, whatever the clock of each boot says."""
    folder = IdentityFolder(tmp_path_factory.mktemp("device", numbered=True))
    epochs = [folder.next_epoch(wall_s=clock) for clock in clocks]
    assert epochs == sorted(set(epochs))
    assert all(e >= max(1, clock) for e, clock in zip(epochs, clocks, strict=True))


def test_an_epoch_rises_over_a_restored_folder(folder: IdentityFolder) -> None:
    """Goal: REQ-ORG-005: time keeps epochs rising where a counter came back from a backup."""
    backup = folder.next_epoch(wall_s=1_000)
    later = [folder.next_epoch(wall_s=1_000 + n) for n in range(100, 200)]
    write_durably(folder.path / "epoch.json", json.dumps({"epoch": backup}).encode())
    assert folder.next_epoch(wall_s=2_000) > max(later)


@pytest.mark.parametrize("text", ["", "{", '{"epoch": null}', '{"epoch": "x"}', "[1]", '"'])
def test_a_damaged_epoch_file_does_not_stop_the_device(folder: IdentityFolder, text: str) -> None:
    (folder.path / "epoch.json").write_text(text)
    assert folder.next_epoch(wall_s=77) == 77


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_durably(path, b'{"a": 1}')
    (tmp_path / "state.new").mkdir()
    with pytest.raises(TransientError):
        write_durably(path, b'{"a": 2}')
    assert read_state(path) == {"a": 1}
