"""From a vendor's publication to a device's verifier, over a real hub and signer."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
from release_ward import HARDWARE, OTHER, SIGNING, ReleaseWard

from asepsis.cli.main import main
from asepsis.core.errors import AsepsisError
from asepsis.tools.release import editing
from asepsis.tools.testing.releases import MODEL, Hospital, new_signer


def test_a_release_goes_from_the_vendor_to_the_device(ward: ReleaseWard, tmp_path: Path) -> None:
    """Goal: no step may be left out, and the device accepts what all of them did."""
    path = ward.vendor.release(1, content=b"vitals one " * 9_000)
    ward.bring(without="targets")
    assert ward.import_() == {"named": 1, "ready": 0, "withdrawn": 0}
    assert "not brought" in ward.shown(path)["why_not"]
    ward.bring()
    assert ward.import_() == {"named": 1, "ready": 1, "withdrawn": 0}
    sha256 = ward.shown(path)["sha256"]
    assert "not approved" in ward.shown(path)["why_not"]
    with pytest.raises(AsepsisError, match="rolled out"):
        ward.assign(SIGNING, sha256)
    half = ward.submit(ward.authorise(path, "vendor"))
    assert (len(half["approved_by"]["vendor"]), half["eligible"]) == (1, False)
    assert "hospital" in half["why_not"]
    assert ward.submit(ward.authorise(path, "vendor", "hospital"))["eligible"]
    assert ward.taken(tmp_path) == []  # The director speaks, and says: nothing yet.
    assert ward.assign(SIGNING, sha256)["assigned"] == [sha256]
    assert ward.taken(tmp_path) == [path]
    shown = ward.person.get(f"/api/updates/releases/{sha256}")
    assert shown["conclusions"] == {"510k": "no new submission"}
    assert ward.clear(SIGNING)["assigned"] == []
    assert ward.taken(tmp_path) == []


def test_a_device_gets_its_own_metadata_and_nobody_elses(ward: ReleaseWard) -> None:
    with ward.device() as mine, ward.device(OTHER) as other:
        version = mine.get("/updates/director/timestamp.json").json()["signed"]["version"]
        assert mine.get(f"/updates/director/{version}.targets.json").status_code == 200
        assert other.get(f"/updates/director/{version}.targets.json").status_code == 404
        assert other.get("/updates/director/timestamp.json").status_code == 404
        for strange in ("..%2F..%2Fadmin.token", "%2e%2e", "x.partial", "9999999999.root.json"):
            for folder in ("director", "images/acme/metadata", "images/acme/targets/m5"):
                answer = mine.get(f"/updates/{folder}/{strange}")
                assert answer.status_code in (400, 404), (folder, strange)


def test_artefacts_come_in_ranges(ward: ReleaseWard) -> None:
    content = b"0123456789" * 40_000
    path = ward.vendor.release(2, content=content)
    ward.bring()
    ward.import_()
    sha256 = hashlib.sha256(content).hexdigest()
    name = path.partition("/")[2]
    url = f"/updates/images/acme/targets/m5/{sha256}.{name}"
    with ward.device() as client:
        whole = client.get(url)
        assert whole.content == content
        assert whole.headers["etag"] == f'"{sha256}"'
        rest = client.get(url, headers={"Range": f"bytes={len(content) - 5}-"})
        assert (rest.status_code, rest.content) == (206, b"56789")
        assert rest.headers["content-range"] == f"bytes 399995-399999/{len(content)}"
        beyond = client.get(url, headers={"Range": f"bytes={len(content)}-"})
        assert beyond.status_code == 416
        assert client.get(url, headers={"If-None-Match": f'"{sha256}"'}).status_code == 304
        old = client.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
        assert (old.status_code, len(old.content)) == (200, len(content))
        several = client.get(url, headers={"Range": "bytes=0-1,4-5"})
        assert (several.status_code, len(several.content)) == (200, len(content))


def test_what_the_vendor_withdraws_the_director_forgets(ward: ReleaseWard, tmp_path: Path) -> None:
    """Goal: a device of another model never gets it, and a withdrawn release goes from all."""
    shown = ward.ready(3)
    ward.assign(SIGNING, shown["sha256"])
    ward.list_devices({"device": OTHER, "model": "m6", "hardware": "m6-a"})
    with pytest.raises(AsepsisError, match="m6"):
        ward.assign(OTHER, shown["sha256"])
    with pytest.raises(AsepsisError, match="not assigned"):
        ward.assign("urn:dev:mac:00000000000000ff", shown["sha256"])
    assert ward.taken(tmp_path) == [shown["path"]]
    editing.withdraw(ward.vendor.repository, shown["path"], now=ward.now)
    ward.vendor.sign(ward.vendor.model)
    ward.vendor.publish()
    ward.bring()
    assert ward.import_()["withdrawn"] == 1
    assert "withdrawn" in ward.shown(shown["path"])["why_not"]
    assert ward.taken(tmp_path) == []


def test_what_is_not_the_vendors_is_refused(ward: ReleaseWard, tmp_path: Path) -> None:
    """Goal: a broken web server, or a person who brings other files, changes nothing."""
    before = ward.person.get("/api/updates")["releases"]
    name = "timestamp.json"
    content = json.loads((ward.vendor.repository.public / name).read_bytes())
    content["signed"]["version"] += 1
    forged = tmp_path / name
    forged.write_text(json.dumps(content))
    ward.put_file("metadata", name, forged)
    with pytest.raises(AsepsisError, match="signed"):
        ward.import_()
    assert ward.person.get("/api/updates")["releases"] == before
    ward.bring()
    with pytest.raises(AsepsisError, match="root"):
        ward.person.post("/api/updates/vendors", {"name": "acme", "root": "e30="})
    with pytest.raises(AsepsisError, match=r"longer|name"):
        ward.put_file("metadata", "../x", forged)


def test_a_root_for_another_director_key_is_refused(ward: ReleaseWard, tmp_path: Path) -> None:
    stranger = Hospital(tmp_path / "stranger", new_signer().public_key, now=ward.now)
    with pytest.raises(AsepsisError):
        ward.put_root(stranger.first_root)
    assert ward.person.get("/api/updates")["director_root"] == 1


def test_edits_and_strange_authorisations_are_refused(ward: ReleaseWard) -> None:
    path = ward.vendor.release(5)
    ward.bring()
    ward.import_()
    whole = json.loads(ward.authorise(path, "vendor", "hospital"))
    target = whole["signed"]["targets"][path]
    target["custom"]["asepsis"]["floor"] = 4
    with pytest.raises(AsepsisError, match="approver"):
        ward.submit(json.dumps(whole).encode())
    with pytest.raises(AsepsisError, match="approver"):
        ward.submit(ward.authorise(path))
    assert not ward.shown(path)["eligible"]
    ward.list_devices({"device": OTHER, "model": MODEL, "hardware": HARDWARE})


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_a_release_is_brought_approved_and_assigned(
    ward: ReleaseWard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def play(*words: str | Path, code: int = 0) -> str:
        line = ["asepsis", "release", *map(str, words), "--data", str(ward.made.data)]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert (ended.value.code or 0) == code, told
        return told.out

    path = ward.vendor.release(11, content=b"by hand")
    root, approved = tmp_path / "root.json", tmp_path / "approved.json"
    root.write_bytes(ward.vendor.first_root)
    play("pin", "acme", root, code=1)  # Its root changes by its own chain only.
    play("import", "acme", tmp_path, code=1)  # Nothing is published there.
    told = json.loads(play("import", "acme", ward.vendor.folder / "public", "--json"))
    assert told["ready"] == told["named"] > 0
    assert "not" in play("status")
    approved.write_bytes(ward.authorise(path, "vendor", "hospital"))
    assert "until" in play("submit", approved)
    play("list-device", OTHER, "--model", MODEL, "--hardware", HARDWARE)
    asked = json.loads(play("assign", OTHER, path, "--dry-run", "--json"))
    assert asked["assigned"] == []
    given = json.loads(play("assign", OTHER, path, "--json"))
    assert given["assigned"] == [asked["would_assign"]]
    assert json.loads(play("unassign", OTHER, "--json"))["assigned"] == []
    play("assign", OTHER, "m5/no-such.img", code=1)
    play("director-root", root, code=2)  # A vendor's root directs nobody.
