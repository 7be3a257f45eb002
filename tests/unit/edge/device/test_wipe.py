"""A wiped device: nothing of it is found on its medium, and its receipt is its own."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import (
    AsepsisError,
    ConfigError,
    Conflict,
    ContentMismatch,
    IdentityInvalid,
    InputError,
    SignatureInvalid,
)
from asepsis.core.trust import libcrypto
from asepsis.core.trust.wipe_receipt import Wiped, bind, seal, verify
from asepsis.edge.device import wipe_search
from asepsis.edge.device.state import code_link, prepare
from asepsis.edge.device.wipe import Order, plan, wipe
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.attack.enrolled import NAME, enrolled

BEGUN = "2026-11-23T03:00:00+00:00"
MIB = 1 << 20
MOUNTED = """
disk="$1" place="$2" folder="$3" wanted="$4"
shift 4
block="$(losetup --find --show "$disk")"
trap 'umount "$place"; losetup --detach "$block"' EXIT
mount "$block" "$place"
cp -a "$folder" "$place/device"
sync -f "$place"
if [ "$wanted" = file ]; then medium="$disk"; else medium="$block"; fi
"$@" --medium "$medium"
"""
"""Mounts a block device, and wipes with it, or the file below it, as the medium to search."""


def order(medium: Path | None = None) -> Order:
    return Order(medium=medium, fill=False, by="A. Technician", tool="test", now=lambda: BEGUN)


@pytest.fixture
def folder(tmp_path: Path) -> IdentityFolder:
    """Return a device's folder as a run leaves it, with a spool and a link to the code."""
    made = enrolled(tmp_path / "device")
    network = prepare(made, user=None)
    (network / "spool").mkdir()
    (network / "spool" / "spool.sqlite").write_bytes(os.urandom(100_000))
    package = tmp_path / "code"
    package.mkdir()
    (package / "kept.py").write_text("kept", encoding="utf-8")
    code_link(made.path, package)
    (made.path / "device.log").write_text("what compartments said\n" * 50, encoding="utf-8")
    return made


def root_of(folder: IdentityFolder) -> bytes:
    return (folder.path / "root.der").read_bytes()


def test_everything_is_gone_but_what_links_lead_to(folder: IdentityFolder, tmp_path: Path) -> None:
    root, found = root_of(folder), plan(folder)
    names = [path.name for path in found.keys]
    assert sorted(names) == ["asepsis-kek", "origin.key", "tls.key", "tls.key"]
    assert names[-1] == "origin.key", "it signs, so that a cut off wipe can still be signed for"
    outcome = wipe(folder, order=order())
    assert not folder.path.exists()
    assert (tmp_path / "code" / "kept.py").read_text("utf-8") == "kept"
    assert outcome.receipt
    wiped = verify(outcome.receipt, root_der=root)
    assert (wiped.device, wiped.begun) == (NAME, BEGUN)
    assert wiped.statement["by"] == "A. Technician"
    assert wiped.statement["method"] == "NIST SP 800-88 Rev. 1: clear"
    assert not wiped.clean, "nothing was searched"


def test_a_running_device_is_not_wiped(folder: IdentityFolder) -> None:
    held = folder.path / "device.log"
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; f = open(sys.argv[1]); print(); input()", str(held)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(Conflict, match="uses"):
            wipe(folder, order=order())
        assert folder.origin_key_path.exists()
    finally:
        process.communicate(b"\n")


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_wipe_that_was_cut_off_is_finished(kept: int, folder: IdentityFolder) -> None:
    """Goal: after a power cut among the keys the second run ends it, signed while it still can."""
    root = root_of(folder)
    for path in plan(folder).keys[: 3 - kept]:
        path.unlink()
    if kept == 3:
        folder.origin_key_path.write_bytes(bytes(241))  # Overwritten, and not removed yet.
    outcome = wipe(folder, order=order())
    assert not folder.path.exists()
    if kept == 3:
        assert outcome.receipt is None
    else:
        assert outcome.receipt
        verify(outcome.receipt, root_der=root)


def test_what_is_no_device_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path, tmp_path / "absent", tmp_path / "letters.txt", tmp_path / "link"):
        with pytest.raises(ConfigError, match="no folder of a device"):
            wipe(IdentityFolder(path), order=order())
    assert (tmp_path / "letters.txt").exists()


def test_a_medium_that_does_not_hold_the_folder_stops_it(
    folder: IdentityFolder, tmp_path: Path
) -> None:
    medium = tmp_path / "other.img"
    medium.write_bytes(bytes(MIB))
    with pytest.raises(ConfigError, match="does not hold"):
        wipe(folder, order=order(medium))
    assert folder.origin_key_path.exists()


def test_a_copy_that_the_wipe_did_not_reach_is_found(
    folder: IdentityFolder, tmp_path: Path
) -> None:
    """Goal: the search is no formality; a medium with a copy on it is not called clean."""
    medium = tmp_path / "disk.img"
    parts = [path.read_bytes().ljust(4_096, b"\0") for path in plan(folder).keys]
    medium.write_bytes(b"".join(parts) + bytes(MIB))
    root = root_of(folder)
    outcome = wipe(folder, order=order(medium))
    assert outcome.receipt
    statement = verify(outcome.receipt, root_der=root).statement
    assert statement["verified"] is False
    assert any("origin.key" in name for name in statement["search"]["found_after"])
    assert statement["search"]["places"]


@pytest.fixture
def disk() -> Iterator[tuple[Path, Path]]:
    """Return an empty ext4 in a file, and a place to mount it."""
    with tempfile.TemporaryDirectory(prefix="asepsis-wipe-") as made:
        image, place = Path(made) / "disk.img", Path(made) / "mounted"
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(12 * MIB)
        subprocess.run(["/sbin/mkfs.ext4", "-q", str(image)], check=True)
        yield image, place


@pytest.mark.root
@pytest.mark.parametrize("medium", ["file", "block device"])
def test_nothing_is_found_on_a_real_file_system(
    disk: tuple[Path, Path], folder: IdentityFolder, tmp_path: Path, medium: str
) -> None:
    """Goal: found before, not found after, below ext4; the command as a technician runs it."""
    image, place = disk
    receipt = tmp_path / "receipt.json"
    key = folder.origin_key_path.read_bytes().splitlines()[1]
    command = [sys.executable, "-m", "asepsis.cli.main", "device", "wipe", "--json", "--yes"]
    command += ["--folder", str(place / "device"), "--receipt", str(receipt)]
    command += ["--by", "A. Technician", "--fill"]
    words = [str(image), str(place), str(folder.path), medium, *command]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", MOUNTED, "sh", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts["search"]["found_after"] == []
    assert facts["search"]["found_before"] >= 8
    assert facts["search"]["bytes"] == 12 * MIB
    assert (facts["search"]["medium"] == str(image)) == (medium == "file")
    assert key not in image.read_bytes()
    wiped = verify(receipt.read_bytes(), root_der=root_of(folder))
    assert wiped.clean
    assert "free space" in wiped.statement["technique"]


def changed(receipt: bytes, field: str, inner: str, value: str) -> bytes:
    document = json.loads(receipt)
    part = json.loads(base64.b64decode(document[field]))
    part[inner] = value
    document[field] = base64.b64encode(json.dumps(part, sort_keys=True).encode()).decode()
    return json.dumps(document).encode()


def test_a_receipt_cannot_be_changed_or_put_together(
    folder: IdentityFolder, tmp_path: Path
) -> None:
    root, other = root_of(folder), enrolled(tmp_path / "other")
    other_root = root_of(other)
    first, second = wipe(folder, order=order()).receipt, wipe(other, order=order()).receipt
    assert first
    assert second
    with pytest.raises(SignatureInvalid):
        verify(changed(first, "statement", "verified", "yes"), root_der=root)
    with pytest.raises(SignatureInvalid):
        verify(changed(first, "binding", "device", "urn:dev:mac:1"), root_der=root)
    with pytest.raises(IdentityInvalid):
        verify(first, root_der=other_root)
    mixed = json.loads(first)
    mixed |= {name: json.loads(second)[name] for name in ("statement", "statement_signature")}
    with pytest.raises(SignatureInvalid):
        verify(json.dumps(mixed).encode(), root_der=root)


def test_a_device_cannot_sign_for_another_or_for_another_wipe(folder: IdentityFolder) -> None:
    """Goal: an owned device gives no receipt under a name that is not its own."""
    origin, fresh = libcrypto.read_key(folder.origin_key_path), libcrypto.generate_key()
    chain = [folder.leaf("origin")]
    issuing = (folder.path / "origin.pem").read_text("ascii").split("-----END CERTIFICATE-----\n")
    body = "".join(issuing[1].splitlines()[1:])
    chain.append(base64.b64decode(body))

    def receipt(device: str) -> Wiped:
        made = bind(origin, chain=chain, device=device, receipt_spki=fresh.spki_der, begun=BEGUN)
        return verify(seal(made, key=fresh, facts={}), root_der=root_of(folder))

    assert receipt(NAME).device == NAME
    with pytest.raises(IdentityInvalid, match="speaks for"):
        receipt("urn:dev:mac:0012210000000001")
    one = bind(origin, chain=chain, device=NAME, receipt_spki=fresh.spki_der, begun=BEGUN)
    two = bind(origin, chain=chain, device=NAME, receipt_spki=fresh.spki_der, begun="later")
    mixed = json.loads(seal(one, key=fresh, facts={}))
    later = json.loads(seal(two, key=fresh, facts={}))
    mixed |= {name: later[name] for name in ("binding", "binding_signature")}
    with pytest.raises(ContentMismatch):
        verify(json.dumps(mixed).encode(), root_der=root_of(folder))


@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["binding", "binding_signature", "chain", "statement",
                         "statement_signature"]), inner, max_size=5),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_what_is_no_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(AsepsisError):
        verify(data, root_der=b"\x30\x00")


@given(
    before=st.integers(0, 200),
    pattern=st.binary(min_size=16, max_size=64),
    copies=st.integers(0, 3),
)
def test_a_search_finds_every_copy_wherever_it_stands(
    before: int, pattern: bytes, copies: int
) -> None:
    """Goal: also over the border between two reads, and never one copy twice."""
    at = wipe_search.CHUNK_BYTES - 100 + before
    with tempfile.NamedTemporaryFile() as file:
        filler = bytes((pattern[0] ^ 0xFF,))
        file.write(filler * at + (pattern + filler * 7) * copies)
        file.flush()
        found = wipe_search.search(Path(file.name), {"x": pattern})
    assert found.found.get("x", 0) == copies
    assert found.searched_bytes == at + copies * (len(pattern) + 7)


def test_a_key_is_known_by_each_line_and_its_bare_secret() -> None:
    key = libcrypto.generate_key()
    found = wipe_search.key_patterns("k", key.to_pem())
    assert {"key k: line 1", "key k: line 2", "key k: bare"} <= set(found)
    assert len(found["key k: bare"]) == 32
    assert wipe_search.key_patterns("k", bytes(241)) == {}
    assert wipe_search.data_patterns("d", bytes(5_000)) == {}


def test_a_device_without_certificates_is_wiped_without_a_receipt(folder: IdentityFolder) -> None:
    (folder.path / "origin.pem").write_text("spoilt", encoding="utf-8")
    assert wipe(folder, order=order()).receipt is None
    with pytest.raises(InputError):
        verify(b"{}", root_der=b"")
