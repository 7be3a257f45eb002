"""The parts of a build: what a device carries, what is refused, and bytes that do not vary."""

import contextlib
import datetime as dt
import gzip
import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asepsis
from asepsis.core.errors import ConfigError, ContentMismatch, LimitExceeded, Unavailable
from asepsis.tools.imagebuild import programs, uki
from asepsis.tools.imagebuild.checks import check_sizes, check_tree
from asepsis.tools.imagebuild.codeset import closure, imported_by
from asepsis.tools.imagebuild.initramfs import archive, ordered_modules
from asepsis.tools.imagebuild.recipe import INIT, Recipe, read_recipe
from asepsis.tools.imagebuild.sbom import upstream
from asepsis.tools.imagebuild.secureboot import ROLES, enrol, make_keys

RECIPE = Path(__file__).parents[4] / "images/monitor"
PACKAGE = Path(asepsis.__file__).parent
NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe(RECIPE)


def test_the_monitor_carries_core_and_edge_only(recipe: Recipe) -> None:
    names = closure(recipe.modules, package=PACKAGE)
    assert {"asepsis.edge.device.vitals", "asepsis.core.trust.libcrypto"} <= set(names)
    wings = {".".join(name.split(".")[:3]) for name in names}
    assert not wings & {"asepsis.edge.gateway", "asepsis.hub", "asepsis.tools", "asepsis.cli"}
    first = imported_by(INIT, package=PACKAGE)
    assert {"asepsis.edge.device.machine_look", "asepsis.edge.device.app"} <= set(first)
    assert not [name for name in first if name.startswith(("asepsis.hub", "asepsis.tools"))]
    with pytest.raises(ConfigError, match="absent"):
        closure(["asepsis.edge.absent"], package=PACKAGE)


def small_root(folder: Path, recipe: Recipe) -> Path:
    root = folder / "root"
    program = root / recipe.programs[0]
    program.parent.mkdir(parents=True)
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    (root / "plain").write_text("text", "ascii")
    return root


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("usr/bin/su", 0o4755, "setuid"),
        ("usr/bin/sh", 0o644, "shell"),
        ("usr/bin/busybox", 0o644, "shell"),
        ("usr/bin/ls", 0o755, "recipe"),
        ("etc/secret", 0o666, "everybody"),
    ],
)
def test_a_file_that_breaks_a_rule_ends_the_build(
    tmp_path: Path, recipe: Recipe, name: str, mode: int, said: str
) -> None:
    root = small_root(tmp_path, recipe)
    check_tree(root, recipe)
    bad = root / name
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_bytes(b"\x7fELF")
    bad.chmod(mode)
    with pytest.raises(ContentMismatch, match=said):
        check_tree(root, recipe)


def test_an_image_over_its_limit_ends_the_build(recipe: Recipe) -> None:
    check_sizes(root_bytes=12 << 20, device_bytes=40 << 20, recipe=recipe)
    for root, device in (((12 << 20) + 1, 30 << 20), (10 << 20, (40 << 20) + 1)):
        with pytest.raises(LimitExceeded, match="MiB"):
            check_sizes(root_bytes=root, device_bytes=device, recipe=recipe)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "monitor"', 'name = "monitor"\nshell = true'),
        ("root_mib = 12", 'root_mib = "large"'),
        ("[limits]", "[limits"),
        ('kernel = "linux-image-cloud-amd64"', ""),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_file(tmp_path: Path, old: str, new: str) -> None:
    text = (RECIPE / "recipe.toml").read_text("utf-8")
    assert old in text
    (tmp_path / "recipe.toml").write_text(text.replace(old, new), "utf-8")
    (tmp_path / "stage1.c").write_text("", "ascii")
    with pytest.raises(ConfigError, match=r"recipe\.toml"):
        read_recipe(tmp_path)


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(ConfigError, match="veritysetup-absent") as found:
        programs.require(("veritysetup-absent", "python3"))
    assert "apt-get install" in found.value.hint
    assert "python3" not in found.value.hint
    with pytest.raises(Unavailable, match="failed with 3: words"):
        programs.run(("sh", "-c", "echo words >&2; exit 3"))


def test_the_first_file_system_has_the_same_bytes_and_the_documented_form() -> None:
    files = {"init": b"program", "modules/00-a.ko": b"module"}
    made = archive(files, epoch=1_760_000_000)
    assert made == archive(dict(reversed(files.items())), epoch=1_760_000_000)
    raw, names, at = gzip.decompress(made), [], 0
    while not names or names[-1] != "TRAILER!!!":
        assert raw[at : at + 6] == b"070701"
        fields = [int(raw[at + 6 + n * 8 : at + 14 + n * 8], 16) for n in range(13)]
        name = raw[at + 110 : at + 110 + fields[11]]
        names.append(name.rstrip(b"\0").decode())
        at += (110 + fields[11] + 3) // 4 * 4
        assert raw[at : at + fields[6]] == files.get(names[-1], b"")
        at += (fields[6] + 3) // 4 * 4
    assert names == ["modules", "dev", "dev/console", "init", "modules/00-a.ko", "TRAILER!!!"]


def test_modules_load_after_what_they_depend_on(tmp_path: Path) -> None:
    for name, depends in (("dm-verity", "dm_mod,reed"), ("dm-mod", ""), ("reed", "dm-mod")):
        (tmp_path / f"{name}.ko").write_bytes(b"\x7fELF\0depends=" + depends.encode() + b"\0")
    order = [path.stem for path in ordered_modules(["dm-verity"], tree=tmp_path)]
    assert order == ["dm-mod", "reed", "dm-verity"]
    with pytest.raises(ConfigError, match="absent"):
        ordered_modules(["absent"], tree=tmp_path)


def pe_file(parts: dict[str, bytes]) -> bytes:
    """Return the smallest PE file with sections."""
    table, bodies, at = b"", b"", 64 + 24 + 40 * len(parts)
    for name, body in parts.items():
        fields = (name.encode(), len(body), 0x1000 + len(bodies), len(body), at + len(bodies))
        table += struct.pack("<8sIIII16x", *fields)
        bodies += body
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 64)
    return head + b"PE\0\0" + struct.pack("<HH12xHH", 0, len(parts), 0, 0) + table + bodies


def test_pcr_11_is_measured_in_the_stubs_order_whatever_the_file_says() -> None:
    parts = {".osrel": b"os", ".cmdline": b"line", ".linux": b"kernel", ".initrd": b"first"}
    expected = bytes(32)
    for name in (".linux", ".osrel", ".cmdline", ".initrd"):
        for data in (name.encode() + b"\0", parts[name]):
            expected = hashlib.sha256(expected + hashlib.sha256(data).digest()).digest()
    assert uki.predict_pcr11(pe_file(parts)) == expected.hex()
    parts[".cmdline"] = b"line enforcing=0"
    assert uki.predict_pcr11(pe_file(parts)) != expected.hex()


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_a_malformed_kernel_image_is_refused(noise: bytes, start: int, cut: int) -> None:
    whole = pe_file({".linux": b"kernel", ".cmdline": b"line"})
    for image in (noise, whole[:start] + noise + whole[start:], whole[:cut]):
        with contextlib.suppress(ContentMismatch):
            assert len(uki.sections(image)) <= uki.SECTIONS_MAX


def test_keys_are_made_once_and_only_into_an_empty_store(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys", now=NOW)
    first = keys.key("db").read_bytes()
    assert make_keys(tmp_path / "keys", now=NOW).key("db").read_bytes() == first
    assert all(keys.key(role).stat().st_mode & 0o777 == 0o600 for role in ROLES)
    with pytest.raises(ContentMismatch):
        enrol(bytes(4_096), keys)


@pytest.mark.parametrize(
    ("debian", "number"),
    [
        ("3.0.22-1~deb12u2", "3.0.22"),
        ("1:1.2.13.dfsg-1", "1.2.13"),
        ("5.3.28+dfsg2-1", "5.3.28"),
        ("6.1.192-2", "6.1.192"),
        ("10.0", "10.0"),
    ],
)
def test_the_upstream_part_of_a_debian_version(debian: str, number: str) -> None:
    assert upstream(debian) == number
