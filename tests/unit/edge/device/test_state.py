"""The network compartment's folder: what it is given, and what it may not trick us into."""

import os
from pathlib import Path

import pytest

from asepsis.core.errors import NotFound
from asepsis.core.trust.sealing import CREDENTIAL_NAME
from asepsis.edge.device.state import code_link, prepare
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital, IdentityFolder


@pytest.fixture
def folder(tmp_path: Path) -> IdentityFolder:
    made = IdentityFolder(tmp_path / "device")
    made.create()
    made.key("tls")
    made.key("origin")
    (made.path / "tls.pem").write_text("certificate of enrolment")
    made.finish("urn:dev:mac:0012210000000001", Hospital(Endpoint("h", 1), Endpoint("h", 2)), b"r")
    return made


def test_it_gets_the_tls_identity_and_never_the_origin_key(folder: IdentityFolder) -> None:
    state = prepare(folder, user=None)
    assert {path.name for path in state.iterdir()} == {
        "tls.key", "tls.pem", "root.der", "identity.json", CREDENTIAL_NAME,
    }  # fmt: skip
    assert (state / "tls.key").read_bytes() == (folder.path / "tls.key").read_bytes()
    origin = folder.origin_key_path.read_bytes()
    assert all(path.read_bytes() != origin for path in state.iterdir())
    assert state.stat().st_mode & 0o077 == 0


def test_a_renewed_certificate_stays_and_a_new_enrolment_replaces_everything(
    folder: IdentityFolder,
) -> None:
    state = prepare(folder, user=None)
    (state / "tls.pem").write_text("renewed")
    sealing_key = (state / CREDENTIAL_NAME).read_bytes()
    prepare(folder, user=None)
    assert (state / "tls.pem").read_text() == "renewed"
    folder.finish(
        "urn:dev:mac:0012210000000001", Hospital(Endpoint("h", 3), Endpoint("h", 4)), b"q"
    )
    prepare(folder, user=None)
    assert (state / "tls.pem").read_text() == "certificate of enrolment"
    assert (state / "root.der").read_bytes() == b"q"
    assert (state / CREDENTIAL_NAME).read_bytes() == sealing_key


def test_links_and_pipes_that_an_attacker_left_lead_nowhere(
    folder: IdentityFolder, tmp_path: Path
) -> None:
    """Goal: the supervisor, perhaps root, writes into a folder that somebody else owned."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    state = prepare(folder, user=None)
    (state / "tls.key").unlink()
    (state / "tls.key").symlink_to(victim)
    (state / "tls.key.new").symlink_to(victim)
    (state / "identity.json.new").mkdir()
    (state / "identity.json").unlink()
    (state / "identity.json").mkdir()
    (state / "spool").mkdir()
    (state / "spool" / "deep").symlink_to(tmp_path)
    os.mkfifo(state / "root.der.new")
    prepare(folder, user=None)
    assert victim.read_text() == "precious"
    assert not any(path.is_symlink() or path.is_fifo() for path in state.rglob("*"))
    assert (state / "tls.key").read_bytes() == (folder.path / "tls.key").read_bytes()


def test_a_device_that_is_not_enrolled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        prepare(IdentityFolder(tmp_path), user=None)


def test_the_folder_of_code_holds_one_link(tmp_path: Path) -> None:
    package = tmp_path / "asepsis"
    package.mkdir()
    for _ in range(2):
        link = code_link(tmp_path, package)
        assert [path.name for path in link.iterdir()] == ["asepsis"]
        assert (link / "asepsis").resolve() == package
