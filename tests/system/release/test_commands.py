"""`asepsis release` as a vendor uses it: keys in encrypted files and in a token, then a device."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from asepsis.cli.main import main
from asepsis.core.trust.metadata.fields import Release, read_custom
from asepsis.core.trust.metadata.session import Session
from asepsis.tools.testing.releases import FolderSource, MemoryStore, document_for

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
IN_ONE_PROCESS = """
import sys
from asepsis.cli.release import app
for line in sys.stdin.read().splitlines():
    app(line.split("|"), result_action="return_value")
"""


def play(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["asepsis", "release", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


def found_by_a_device(repository: Path, path: str) -> Release:
    public = repository / "public/metadata"
    session = Session(
        store=MemoryStore({"root.json": (public / "1.root.json").read_bytes()}),
        source=FolderSource(public),
        now=datetime.now(UTC),
    )
    target = session.find(path)
    assert target is not None
    return read_custom(target, Release)


def written(folder: Path, artefact: Path) -> tuple[Path, Path]:
    """Write a complete release document and its bill of materials."""
    release = Release(model="m5", component="vitals", version="2.1", counter=3, floor=2)
    whole = document_for(release, artefact.read_bytes(), vendor="acme")
    document, sbom = folder / "release.json", folder / "sbom.json"
    document.write_bytes(whole.content)
    sbom.write_bytes(whole.files[0])
    return document, sbom


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_a_release_document_is_begun_checked_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artefact = tmp_path / "vitals-2.1.img"
    artefact.write_bytes(b"vitals 2.1")
    document, sbom = written(tmp_path, artefact)
    begun = tmp_path / "begun.json"
    words = ["--vendor", "acme", "--model", "m5", "--artefact", f"vitals={artefact}"]
    words += ["--sbom", str(sbom), "--pathway", "510k", "--pathway", "eu-mdr"]
    assert play(monkeypatch, "assess", begun, *words) == 0
    assert json.loads(begun.read_bytes())["components"][0]["length"] == 10
    assert play(monkeypatch, "check", begun) == 1  # Every answer is missing.
    capsys.readouterr()
    assert play(monkeypatch, "check", document, "--file", sbom) == 0
    assert "complete" in capsys.readouterr().out
    assert play(monkeypatch, "show", document) == 0
    assert "QMS-4711" in capsys.readouterr().out
    assert play(monkeypatch, "show", document, "--json") == 0
    assert json.loads(capsys.readouterr().out)["vendor"] == "acme"
    said = json.loads(document.read_bytes())
    del said["assessment"]["pathways"][0]["answers"][0]
    document.write_text(json.dumps(said))
    assert play(monkeypatch, "check", document, "--json") == 1
    assert not json.loads(capsys.readouterr().out)["complete"]
    assert play(monkeypatch, "questions", "eu-mdr") == 0
    assert "2020-3" in capsys.readouterr().out


def add_releases(monkeypatch: pytest.MonkeyPatch, repo: Path, artefact: Path) -> list[str]:
    """Add one release without a document, and one with; returns the words that name it."""
    bare = ["--model", "m5", "--component", "vitals", "--release", "2.0", "--counter", "2"]
    old = artefact.with_name("vitals-2.0.img")
    old.write_bytes(b"vitals 2.0")
    assert play(monkeypatch, "add", repo, old, *bare, "--dry-run") == 0
    assert play(monkeypatch, "add", repo, old, *bare) == 0
    document, sbom = written(artefact.parent, artefact)
    said = ["--document", str(document)]
    assert play(monkeypatch, "add", repo, artefact, *said) == 1  # A file of it was not given.
    assert play(monkeypatch, "add", repo, artefact, *said, "--file", sbom) == 0
    assert play(monkeypatch, "add", repo, artefact, *said, "--file", sbom) == 1
    return said


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_a_vendor_begins_signs_and_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("a long passphrase\n")
    words = ("--passphrase-file", passphrase)
    for name in ("r1", "r2", "online", "m5", "approver"):
        assert play(monkeypatch, "key", tmp_path / name, *words) == 0
    public = {name: f"{tmp_path / name}.pub" for name in ("r1", "r2", "online", "m5", "approver")}
    repo, artefact = tmp_path / "repo", tmp_path / "vitals-2.1.img"
    artefact.write_bytes(b"vitals 2.1")
    begin = ["--name", "acme", "--root", public["r1"], "--root", public["r2"]]
    begin += ["--root-threshold", "2", "--online", public["online"]]
    assert play(monkeypatch, "init", repo, *begin, "--approver", public["approver"]) == 0
    assert play(monkeypatch, "delegate", repo, "m5", "--signer", public["m5"]) == 0
    said = add_releases(monkeypatch, repo, artefact)
    sign = ["sign", repo, *words, "--key", tmp_path / "r1", "--key", tmp_path / "m5"]
    assert play(monkeypatch, *sign) == 0
    publish = ("publish", repo, "--key", tmp_path / "online", *words)
    capsys.readouterr()
    assert play(monkeypatch, *publish) == 2
    assert "lacks" in capsys.readouterr().err
    assert play(monkeypatch, "sign", repo, *words, "--key", tmp_path / "r2") == 0
    assert play(monkeypatch, *publish) == 0
    found = found_by_a_device(repo, "m5/vitals-2.1.img")
    assert (found.counter, found.floor) == (3, 2)

    draft, approved = tmp_path / "draft.json", tmp_path / "approved.json"
    assert play(monkeypatch, "propose", repo, "m5/vitals-2.0.img", "--into", draft) == 1
    assert play(monkeypatch, "propose", repo, "m5/vitals-2.1.img", "--into", draft) == 0
    root = ["--root", repo / "public/metadata/1.root.json", "--party", "vendor", *said]
    wrong = ("approve", draft, "--key", tmp_path / "r1", *words, *root, "--into", approved)
    assert play(monkeypatch, *wrong) == 2
    right = ("approve", draft, "--key", tmp_path / "approver", *words, *root, "--into", approved)
    assert play(monkeypatch, *right) == 0
    assert len(json.loads(approved.read_bytes())["signatures"]) == 1

    capsys.readouterr()
    assert play(monkeypatch, "inspect", repo, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [r["version"] for r in told["roles"]] == [1, 1, 1, 1, 1]
    keyid = next(r["keys"][0] for r in told["roles"] if r["role"] == "m5")
    assert play(monkeypatch, "inspect", repo) == 0
    assert play(monkeypatch, "revoke", repo, keyid[:8]) == 1  # The role would have no key left.
    assert play(monkeypatch, "rotate", repo, "m5", "--gain", public["r1"]) == 0
    assert play(monkeypatch, "revoke", repo, keyid[:8], "--dry-run") == 0
    assert play(monkeypatch, "revoke", repo, keyid[:8]) == 0
    assert play(monkeypatch, "withdraw", repo, "m5/vitals-2.1.img") == 0
    assert play(monkeypatch, "withdraw", repo, "m5/other.img") == 1


@pytest.mark.skipif(not MODULE.exists(), reason="needs the Debian package softhsm2")
def test_the_keys_of_the_root_are_in_a_token(tmp_path: Path) -> None:
    config, pin, store = tmp_path / "softhsm2.conf", tmp_path / "pin", tmp_path / "tokens"
    store.mkdir()
    config.write_text(f"directories.tokendir = {store}\nlog.level = ERROR\n")
    pin.write_text("864209\n")
    environment = os.environ | {"SOFTHSM2_CONF": str(config)}
    tool = shutil.which("softhsm2-util")
    assert tool is not None
    pins = ["--pin", "864209", "--so-pin", "1234"]
    begin = [tool, "--init-token", "--free", "--label", "vault", *pins]
    subprocess.run(begin, check=True, env=environment, capture_output=True, timeout=30)
    uris = [
        f"pkcs11:token=vault;object=root-{n}?module-path={MODULE}&pin-source={pin}" for n in (1, 2)
    ]
    repo, online = tmp_path / "repo", tmp_path / "online"
    init = ["init", repo, "--name", "acme", "--root", uris[0], "--root", uris[1]]
    lines = [
        *(["key", uri] for uri in uris),
        ["key", online],
        [*init, "--root-threshold", "2", "--online", f"{online}.pub"],
        ["sign", repo, "--key", uris[0], "--key", uris[1]],
        ["publish", repo, "--key", online],
    ]
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS],
        input="\n".join("|".join(map(str, line)) for line in lines),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (repo / "public/metadata/timestamp.json").exists()
    assert b"PRIVATE" not in b"".join(p.read_bytes() for p in repo.rglob("*") if p.is_file())
