"""`asepsis image attest` and `asepsis devices attestation`, as a person and a device use them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from attested_ward import MODEL, SECURE, AttestedWard
from hub_ward import SIGNING

from asepsis.cli import output
from asepsis.cli.main import assembled
from asepsis.core.errors import AsepsisError
from asepsis.core.trust.tpm import extend
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import extend_pcr
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.tools.imagebuild.uki import MEASURED, make_uki, sections
from asepsis.tools.testing.software_tpm import SoftwareTpm

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command in this process, as an interpreter takes long to start."""
    for sink in (output.console, output.problems):
        monkeypatch.setattr(sink, "_width", 300)

    def call(*words: str, status: int = 0) -> str:
        try:
            assembled()(list(words))
            ended: object = 0
        except SystemExit as end:
            ended = end.code or 0
        except AsepsisError as error:
            ended = output.show_error(error)
        said = capsys.readouterr()
        assert ended == status, said
        return said.out + said.err

    return call


def enrolled(ward: AttestedWard, name: str, folder: Path) -> Path:
    """Return the folder of a device, as enrolment leaves it."""
    assert ward.ward.hub is not None
    files = ward.ward.machines[name].files
    identity = IdentityFolder(folder)
    identity.create()
    shutil.copy(files.key_path, folder / "tls.key")
    shutil.copy(files.chain_path, folder / "tls.pem")
    port = ward.ward.hub.ready["listeners"]["clinical"]["port"]
    end = Endpoint("localhost", port)
    identity.finish(name, Hospital(end, end), ward.ward.hospital.root_der)
    return folder


def built(folder: Path) -> Path:
    """Make a unified kernel image of small parts."""
    parts = {name: folder / name[1:] for name in (".osrel", ".cmdline", ".linux", ".initrd")}
    for name, path in parts.items():
        path.write_bytes(name.encode() * 600)
    target = folder / "image.efi"
    make_uki(target, parts, epoch=0)
    return target


def start(software: SoftwareTpm, image: Path) -> None:
    """Measure what firmware and stub measure of an image."""
    found = sections(image.read_bytes())
    with Tpm(software.path) as tpm:
        extend_pcr(tpm, 7, SECURE)
        for name in MEASURED:
            if name in found:
                extend_pcr(tpm, 11, hashlib.sha256(name.encode() + b"\0").digest())
                extend_pcr(tpm, 11, hashlib.sha256(found[name][1]).digest())


def test_the_commands_bring_a_device_from_its_image_to_verified(
    ward: AttestedWard, software: SoftwareTpm, tmp_path: Path, run: Run
) -> None:
    """Goal: what docs/howto/attest-a-device.md says works as it says."""
    data = ("--data", str(ward.ward.hospital.data))
    image, folder = built(tmp_path), enrolled(ward, SIGNING, tmp_path / "device")
    tpm = ("--tpm", str(software.path), "--log", str(tmp_path / "measured.jsonl"))
    hub = ("devices", "attestation")
    release = (*hub, "release", str(image), "--model", MODEL, "--name", "5", "--number", "5")
    pcr7 = ("--secure-boot", extend(bytes(32), SECURE).hex())
    assert "registers" in run(*release, *pcr7, "--part", str(image), *data)
    ek = json.loads(run("image", "attest", "--show-key", *tpm, "--json"))["ek_sha256"]
    assert "not attested" in run(*hub, "open", SIGNING, "--ek", ek, "--dry-run", *data)
    assert "waits" in run(*hub, "open", SIGNING, "--ek", ek, *data)
    start(software, image)
    device = ("image", "attest", "--device", str(folder), *tpm)
    assert json.loads(run(*device, "--bind", "--json"))["verified"] == "booted"
    said = run(*hub, *data)
    assert "booted verified: 5" in said
    assert "recorded by administrator" in said
    assert "would end: 5" in run(*hub, "floor", "6", "--model", MODEL, "--dry-run", *data)
    page = ward.person._http.get(f"/devices/{quote(SIGNING, safe='')}").text  # noqa: SLF001 - a browser
    assert "booted verified: 5" in page
    assert "TPM as recorded by administrator" in page
    run(*hub, "forget-release", "5", "--model", MODEL, *data)
    assert "known release" in run(*device, status=1)
    assert "NOT VERIFIED" in run(*hub, *data)
    assert run(*hub, "end", SIGNING, *data)
    assert "ASP-5" in run("image", "attest", "--device", str(folder), "--tpm", "/none", status=5)
