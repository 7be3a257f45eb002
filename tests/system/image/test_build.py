"""The image: the same bytes twice, small, nothing in it that the recipe does not name."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from asepsis.core.errors import SignatureInvalid
from asepsis.edge.device.manifest import VERIFIER, whole
from asepsis.tools.imagebuild import uki
from asepsis.tools.imagebuild.build import CMDLINE, KEYS, REPORT, ROOT, SBOM, SIGNED, UKI
from asepsis.tools.imagebuild.rootfs import Root, verify_root

pytestmark = [pytest.mark.slow, pytest.mark.waits, pytest.mark.root, pytest.mark.timeout(420)]
MIB = 1 << 20


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listing(image: Path) -> list[list[str]]:
    """Return mode, owner and name of every file, as unsquashfs reads them."""
    command = ["unsquashfs", "-lln", str(image / ROOT)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line.split(None, 5) for line in done.stdout.splitlines()]
    return [[f[0], f[1], f[5]] for f in lines if len(f) == 6 and f[5].startswith("squashfs-root")]


def test_two_builds_give_the_same_bytes(
    image: Path, tmp_path: Path, rebuild: Callable[[Path], dict[str, Any]]
) -> None:
    """Goal: whoever doubts an image builds it again."""
    again = rebuild(tmp_path / "again")
    for name in (ROOT, UKI, SBOM, CMDLINE, REPORT):
        assert sha256(tmp_path / "again" / name) == sha256(image / name), name
    assert again["packages"] > 10


def test_it_is_small_and_holds_what_the_recipe_names(
    image: Path, report: dict[str, Any], record_property: Any
) -> None:
    root, device = report["root"]["bytes"], report["device_bytes"]
    assert root == (image / ROOT).stat().st_size
    assert device == root + (image / SIGNED).stat().st_size
    assert root <= 12 * MIB
    assert device <= 40 * MIB
    assert report["programs"] == [
        "usr/bin/bwrap",
        "usr/bin/python3.11",
        "usr/lib/asepsis/programs/verifier",
    ]
    assert report["ports"] == []
    assert report["selinux"]["enforcing"]
    record_property("root_mib", round(root / MIB, 2))
    record_property("device_mib", round(device / MIB, 2))


def test_no_setuid_file_no_shell_and_only_three_programs(image: Path) -> None:
    """Goal: seen from outside, by another reader of the file system."""
    found = listing(image)
    assert len(found) > 300
    files = [(mode, name) for mode, _, name in found if mode.startswith("-")]
    assert not [name for mode, name in files if "s" in mode[1:].lower()]
    assert not [name for mode, name in files if mode[8] == "w"]
    runs = {name.rpartition("/")[2] for mode, name in files if "x" in mode}
    assert runs == {"python3.11", "bwrap", "verifier", "ld-linux-x86-64.so.2"}
    assert {owner for _, owner, _ in found} == {"0/0"}
    assert not [name for mode, _, name in found if mode[0] in "bcps"]
    sources = [name for _, name in files if name.endswith(".py")]
    assert sources == ["squashfs-root/usr/lib/asepsis/asepsis/__init__.py"]


def test_a_device_carries_nothing_of_gateway_hub_and_tools(image: Path) -> None:
    names = {name for _, _, name in listing(image)}
    ours = {name for name in names if "/asepsis/asepsis/" in name}
    assert len(ours) > 60
    for foreign in ("/hub/", "/cli/", "/tools/", "/gateway/", "/inspection/"):
        assert not [name for name in ours if foreign in name]
    assert not [name for name in names if "site-packages" in name or "cryptography" in name]


def test_the_report_lists_what_each_compartment_loads(report: dict[str, Any]) -> None:
    """Goal: the critical compartment has no TLS, no HTTP and no database, and nobody a big one."""
    loaded = {name: set(of["modules"]) for name, of in report["imports"].items()}
    assert set(loaded) == set(whole().compartments)
    packages = {name: {m.partition(".")[0] for m in of} for name, of in loaded.items()}
    assert not packages["vitals"] & {"ssl", "_ssl", "http", "email", "sqlite3", "subprocess"}
    assert {"ssl", "http", "sqlite3"} <= packages["network"]
    # In machine code: no interpreter, and of libraries libcrypto and the C library only.
    assert not loaded[VERIFIER]
    libraries = {name.partition(".")[0] for name in report["imports"][VERIFIER]["libraries"]}
    assert libraries == {"libcrypto", "libc", "ld-linux-x86-64", "linux-vdso"}
    for name, of in packages.items():
        assert "cryptography" not in of, name
        if name == VERIFIER:
            continue
        assert f"asepsis.edge.device.{name}" in loaded[name]
        assert not [m for m in loaded[name] if m.startswith(("asepsis.hub", "asepsis.tools"))]


def test_a_changed_block_does_not_match_the_root_hash(
    image: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    said = report["root"]
    root = Root(path=image / ROOT, hash=said["verity"], salt=said["salt"], blocks=said["blocks"])
    verify_root(root)
    assert root.argument in (image / CMDLINE).read_text()
    changed = tmp_path / "root.img"
    shutil.copyfile(root.path, changed)
    with changed.open("r+b") as file:
        file.seek(said["blocks"] // 2 * 4096)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(SignatureInvalid):
        verify_root(Root(path=changed, hash=root.hash, salt=root.salt, blocks=root.blocks))


def test_the_kernel_image_is_signed_and_binds_the_root(image: Path, report: dict[str, Any]) -> None:
    certificate = image / KEYS / "db.crt"
    said = subprocess.run(
        ["sbverify", "--cert", str(certificate), str(image / SIGNED)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    found = uki.sections((image / SIGNED).read_bytes())
    assert found[".cmdline"][1] == (image / CMDLINE).read_bytes()
    assert report["root"]["verity"].encode() in found[".cmdline"][1]
    assert b"module.sig_enforce=1" in found[".cmdline"][1]
    assert uki.predict_pcr11((image / SIGNED).read_bytes()) == report["uki"]["pcr11"]
    assert x509.load_pem_x509_certificate(certificate.read_bytes())
    assert (image / KEYS / "db.key").stat().st_mode & 0o777 == 0o600
