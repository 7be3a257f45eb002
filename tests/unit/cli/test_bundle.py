"""`asepsis bundle` as people use it: made at a desk, applied at a device, receipts brought back."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.cli.main import main
from asepsis.edge.device.update import bundle_memory, place
from asepsis.tools.release.approving import approve, propose, root_of
from asepsis.tools.testing.releases import Hospital, Vendor, new_signer

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
NAME = "urn:dev:mac:0011223344556677"
NOW = datetime.fromtimestamp(int(time.time()), UTC)


def play(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["asepsis", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a vendor, an offline role and a device, with their files."""
    folder = tmp_path_factory.mktemp("bundles")
    vendor, key = Vendor(folder / "acme", now=NOW), new_signer()
    offline = Hospital(folder / "offline", key.public_key, now=NOW)
    path = vendor.release(5)
    content = propose(vendor.repository, path, models=(), floor=0, days=30, now=NOW)
    for party, signer, root in (
        ("vendor", vendor.approver, vendor.first_root),
        ("hospital", offline.approver, offline.first_root),
    ):
        content = approve(content, signer, root=root_of(root, party), party=party)
    found = {name: folder / name for name in ("approved.json", "key.pem", "device", "origin.key")}
    found["approved.json"].write_bytes(content)
    found["key.pem"].write_bytes(key.private_bytes)
    place.begin(
        found["device"],
        director_root=offline.first_root,
        vendor_roots={"acme": vendor.first_root},
    )
    bundle_memory.begin(found["device"], offline_root=offline.first_root)
    found["origin.pem"] = _origin(found["origin.key"])
    return found | {
        "vendor": vendor.folder / "public",
        "offline": offline.repository.public,
        "path": Path(path),
        "folder": folder,
    }


def _origin(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW)
    into = path.with_suffix(".pem")
    signed = made.sign(key, hashes.SHA256())
    into.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return into


def make(files: dict[str, Path], name: str, *more: str) -> tuple[str | Path, ...]:
    return (
        "bundle", "make", files["folder"] / name, "--offline", files["offline"],
        "--key", files["key.pem"], "--vendor", f"acme={files['vendor']}",
        "--target", f"acme={files['path']}={files['approved.json']}", *more,
    )  # fmt: skip


def test_from_the_desk_to_the_device_and_back(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made, receipt = files["folder"] / "ward.bundle", files["folder"] / "receipt.bin"
    assert play(monkeypatch, *make(files, made.name, "--device", f"{NAME}=m5-rev-b")) == 0
    capfd.readouterr()
    assert play(monkeypatch, "bundle", "inspect", made, "--device", NAME, "--json") == 0
    shown: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert shown["damaged"] == []
    assert shown["prepared"] == f"{NOW:%Y-%m-%d}"
    apply = (
        "bundle", "apply", made, "--folder", files["device"], "--device", NAME,
        "--hardware", "m5-rev-b", "--model", "m5", "--vendor", "acme",
        "--origin-key", files["origin.key"],
    )  # fmt: skip
    assert play(monkeypatch, *apply) == 3
    assert "date" in capfd.readouterr().err
    assert play(monkeypatch, *apply, "--confirm-date", "2020-01-01") == 2
    clock = files["folder"] / "time.json"
    clock.write_text(json.dumps({"floor_ns": (int(NOW.timestamp()) + 3 * 86_400) * 10**9}))
    said = ("--confirm-date", f"{NOW:%Y-%m-%d}")
    assert play(monkeypatch, *apply, *said, "--clock", clock) == 2
    assert play(monkeypatch, *apply, *said, "--receipt", receipt) == 0
    assert "m5/" in capfd.readouterr().out
    assert play(monkeypatch, *apply, "--trusted-time") == 1
    reconcile = ("bundle", "reconcile", receipt, "--bundle", made)
    origin = ("--origin", f"{NAME}={files['origin.pem']}", "--json")
    capfd.readouterr()
    assert play(monkeypatch, *reconcile, *origin) == 0
    [row] = json.loads(capfd.readouterr().out)
    assert (row["device"], row["taken"], len(row["releases"])) == (NAME, True, 1)
    receipt.write_bytes(receipt.read_bytes()[:-1] + b"\0")
    assert play(monkeypatch, *reconcile, *origin) == 2


def test_mistakes_are_said(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for more in (("--device", NAME), ("--device", f"{NAME}=m5=x"), ("--device", f"{NAME}=m5",
                 "--days", "15")):  # fmt: skip
        assert play(monkeypatch, *make(files, "bad.bundle", *more)) == 1
    assert play(monkeypatch, "bundle", "inspect", files["approved.json"]) == 1
    assert "ASP-1" in capfd.readouterr().err
