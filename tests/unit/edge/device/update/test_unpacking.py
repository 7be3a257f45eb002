"""Unpacking: what was signed is read as a stranger's, and a process that ends leaves no half."""

import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, ContentMismatch
from asepsis.edge.device.update.unpacking import tree_digest, unpack

FILES = {"asepsis/__init__.py": b"", "asepsis/core/model.py": b"x = 1\n", "asepsis/edge/a.py": b"2"}
PLAN = {"install.json": b"{}"}


def tar(path: Path, files: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:", format=tarfile.USTAR_FORMAT) as written:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            written.addfile(member, io.BytesIO(content))
        for member in more:
            written.addfile(member)
    return path


def special(name: str, kind: bytes, *, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_plain_files_are_unpacked_whole_and_named_by_their_digest(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", FILES)
    digest = unpack(archive, tmp_path / "out", beside=PLAN)
    found = {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert found == FILES | PLAN
    assert tree_digest(tmp_path / "out") == digest
    (tmp_path / "out" / "asepsis" / "edge" / "a.py").write_bytes(b"3")
    assert tree_digest(tmp_path / "out") != digest
    assert unpack(archive, tmp_path / "out", beside=PLAN) == digest


@pytest.mark.parametrize(
    "member",
    [
        special("../out", tarfile.REGTYPE),
        special("/etc/passwd", tarfile.REGTYPE),
        special("a/../../b", tarfile.REGTYPE),
        special("link", tarfile.SYMTYPE, target="/etc"),
        special("hard", tarfile.LNKTYPE, target="asepsis/__init__.py"),
        special("null", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
        special(".hidden", tarfile.REGTYPE),
        special("a\nb", tarfile.REGTYPE),
        special("/".join("a" * 20), tarfile.REGTYPE),
    ],
    ids=["up", "absolute", "round", "symlink", "hard", "device", "pipe", "dot", "line", "deep"],
)  # fmt: skip
def test_anything_but_plain_files_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    archive = tar(tmp_path / "a.tar", FILES, member)
    with pytest.raises(ContentMismatch):
        unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"]


def test_an_artefact_does_not_bring_its_own_plan_nor_one_file_twice(tmp_path: Path) -> None:
    with pytest.raises(ContentMismatch):
        unpack(tar(tmp_path / "a.tar", FILES | PLAN), tmp_path / "out", beside=PLAN)
    with tarfile.open(tmp_path / "b.tar", "w:") as written:
        for _ in range(2):
            written.addfile(tarfile.TarInfo("twice"))
    with pytest.raises(ContentMismatch):
        unpack(tmp_path / "b.tar", tmp_path / "out")


def test_a_compressed_tar_is_none(tmp_path: Path) -> None:
    """Goal: nothing grows while it is unpacked."""
    with tarfile.open(tmp_path / "a.tar", "w:gz") as written:
        written.addfile(tarfile.TarInfo("a"))
    with pytest.raises(ContentMismatch):
        unpack(tmp_path / "a.tar", tmp_path / "out")


@settings(max_examples=30)
@example(data=b"", at=155, change=1)
@given(st.binary(max_size=3_000), st.integers(0, 511), st.integers(1, 255))
def test_no_bytes_end_in_anything_but_a_refusal(data: bytes, at: int, change: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        archive = tar(folder / "a.tar", FILES)
        spoilt = bytearray(archive.read_bytes())
        spoilt[at] ^= change
        for name, content in (("spoilt", bytes(spoilt)), ("other", data)):
            archive.write_bytes(content)
            try:
                # A bit that no reader looks at, behind the checksum, spoils nothing.
                unpack(archive, folder / name)
            except AsepsisError:
                assert not (folder / name).exists()


def test_a_process_that_ends_at_any_file_operation_leaves_all_or_nothing(tmp_path: Path) -> None:
    """Goal: half a version is never found under its name; each goes on over what the last left."""
    archive, whole = tar(tmp_path / "a.tar", FILES), tmp_path / "whole"
    digest = unpack(archive, whole, beside=PLAN)
    out, ended = tmp_path / "out", 0
    for number in range(1, 200):
        child = os.fork()
        if not child:
            _end_at(number, archive, out)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            break
        ended += 1
        assert not out.exists() or tree_digest(out) == digest
    assert ended > 20
    assert tree_digest(out) == digest


def _end_at(number: int, archive: Path, out: Path) -> None:
    """In a child: unpack, and end without a word at the given operation on files."""
    left = [number]

    def hook(event: str, _: object) -> None:
        if event in {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}:
            left[0] -= 1
            if left[0] == 0:
                os._exit(1)

    sys.addaudithook(hook)
    unpack(archive, out, beside=PLAN)
    os._exit(0)
