"""Builds a live patch for the kernel of one image, signs it, and wraps it for delivery.

The kernel's headers are fetched in exactly the version that the image has, unpacked and never
installed. Two signatures come on it: the kernel's, by the module key, and the one over the whole
parcel, by the delivery key; neither key can sign a kernel image.

Source: Documentation/livepatch/livepatch.rst; Documentation/kbuild/modules.rst;
Documentation/arch/x86/boot.rst (kernel_version).
"""

import hashlib
import re
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from asepsis.core.errors import ConfigError, ContentMismatch, NotFound
from asepsis.core.trust import libcrypto
from asepsis.core.wire.parcel import (
    BLOCK,
    MEDIUM_BYTES,
    NAME,
    Head,
    Parcel,
    ParcelKind,
    encode_content,
    encode_head,
)
from asepsis.tools.imagebuild import debian
from asepsis.tools.imagebuild.build import KERNEL, REPORT
from asepsis.tools.imagebuild.modsign import sign_module
from asepsis.tools.imagebuild.programs import require, run
from asepsis.tools.imagebuild.secureboot import DELIVERY, MODULE, SecureBootKeys

_NEEDED: Final = ("apt-get", "dpkg-deb", "gcc", "make", "objcopy")
_MAGIC_AT, _VERSION_AT = 0x202, 0x20E
_RELEASE: Final = re.compile(rb"([0-9][0-9A-Za-z.+~-]{2,60}) \(")
_USED: Final = re.compile(r"linux-(?:headers-[0-9.-]+-common|kbuild-[0-9.]+)")
_SOURCES: Final = "/usr/src/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A live patch that was built.

    Attributes:
        name: Of the module.
        unsigned: The module.
        signed: The module with the signature for the kernel.
        release: Kernel that it is for.
    """

    name: str
    unsigned: bytes
    signed: bytes
    release: str

    def report(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        digest = hashlib.sha256(self.signed).hexdigest()
        size = len(self.signed)
        return {"name": self.name, "kernel": self.release, "bytes": size, "sha256": digest}


def build_patch(
    source: Path, image: Path, *, keys: SecureBootKeys, progress: Callable[[str], None]
) -> Patch:
    """Build and sign a live patch.

    Args:
        source: C source; its name without the ending is the module's.
        image: Folder of the image whose kernel it is for.
        keys: With the module key.
        progress: Told each step before it begins.

    Raises:
        ConfigError: A program is missing, the name is none, or the key cannot be used.
        NotFound: There is no such image or source.
        ContentMismatch: The image's kernel does not say its release.
        Unavailable: The headers cannot be fetched any more, or it does not compile.
    """
    require(_NEEDED)
    if not NAME.fullmatch(source.stem) or not source.is_file():
        raise NotFound(f"no {source}", hint="a C source; lower-case letters, digits, underscores")
    release, version = _kernel_of(image)
    with tempfile.TemporaryDirectory(prefix="asepsis-patch-") as made:
        work = Path(made).resolve()
        progress(f"fetching headers of {release}")
        headers = _headers(work, release=release, version=version)
        progress("compiling")
        unsigned = _compile(source, headers, work / "module")
    certificate = keys.certificate(MODULE)
    signed = sign_module(unsigned, key=keys.key(MODULE), certificate=certificate)
    return Patch(name=source.stem, unsigned=unsigned, signed=signed, release=release)


def parcel_of(patch: bytes, *, name: str, number: int, keys: SecureBootKeys) -> bytes:
    """Return a medium with a patch on it, signed.

    Args:
        patch: The module; without bytes, the patch of this name is withdrawn.
        name: Of the module.
        number: Of the parcel; a running device takes only larger ones than it has taken.
        keys: With the delivery key.

    Raises:
        ConfigError: The key cannot be read.
        InputError: The name or number is none.
        LimitExceeded: The patch is too large.
    """
    kind = ParcelKind.KERNEL_PATCH if patch else ParcelKind.KERNEL_UNPATCH
    content = encode_content(Parcel(kind=kind, name=name, number=number, payload=patch))
    signature = libcrypto.read_key(keys.key(DELIVERY)).sign(content)
    return (
        encode_head(Head(number=number, content_bytes=len(content), signature=signature)) + content
    )


def empty_medium(path: Path) -> None:
    """Make a service medium with nothing on it.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        with path.open("wb") as file:
            file.truncate(MEDIUM_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def deliver(parcel: bytes, medium: Path) -> None:
    """Put a parcel on a service medium, also one that a running machine has.

    The first block comes last, so that a reader finds the old parcel or the new one, never half.

    Raises:
        ConfigError: It is no medium of this size, or cannot be written.
    """
    try:
        with medium.open("r+b", buffering=0) as file:
            if file.seek(0, 2) != MEDIUM_BYTES or len(parcel) > MEDIUM_BYTES:
                raise ConfigError(f"{medium} is no service medium of {MEDIUM_BYTES} bytes")
            for at, part in ((0, bytes(BLOCK)), (BLOCK, parcel[BLOCK:]), (0, parcel[:BLOCK])):
                file.seek(at)
                file.write(part)
    except OSError as error:
        raise ConfigError(f"cannot write {medium}: {error.strerror}") from error


def kernel_release(kernel: bytes) -> str:
    """Return the release that a kernel for x86 says of itself, such as `6.1.0-56-cloud-amd64`.

    Raises:
        ContentMismatch: It says none.
    """
    if len(kernel) < _VERSION_AT + 2 or kernel[_MAGIC_AT : _MAGIC_AT + 4] != b"HdrS":
        raise ContentMismatch("not a kernel")
    start = struct.unpack_from("<H", kernel, _VERSION_AT)[0] + 0x200
    found = _RELEASE.match(kernel, start)
    if found is None:
        raise ContentMismatch("the kernel does not say its release")
    return found[1].decode("ascii")


def _kernel_of(image: Path) -> tuple[str, str]:
    """Return release and Debian version of the kernel of an image."""
    try:
        kernel = (image / KERNEL).read_bytes()
        report = msgspec.json.decode((image / REPORT).read_bytes(), type=dict[str, Any])
        return kernel_release(kernel), str(report["kernel"])
    except (OSError, msgspec.MsgspecError, KeyError) as error:
        raise NotFound(
            f"no image in {image}", hint="build it first: asepsis image build"
        ) from error


def _headers(work: Path, *, release: str, version: str) -> Path:
    """Fetch and unpack the headers of a kernel; return the folder to build in."""
    tree = work / "headers"
    flavour = debian.fetch(f"linux-headers-{release}", version, work)
    debian.unpack(flavour, tree)
    for name in sorted(set(_USED.findall(run(("dpkg-deb", "-f", flavour, "Depends"))))):
        debian.unpack(debian.fetch(name, version, work), tree)
    folder = tree / f"usr/src/linux-headers-{release}"
    # They name each other by where they would be installed.
    for path in (folder / "Makefile", folder / ".kernelvariables"):
        if path.is_file() and not path.is_symlink():
            text = path.read_text("utf-8")
            path.write_text(text.replace(_SOURCES, f"{tree}{_SOURCES}"), "utf-8")
    return folder


def _compile(source: Path, headers: Path, work: Path) -> bytes:
    work.mkdir()
    name = source.stem
    (work / source.name).write_bytes(source.read_bytes())
    (work / "Kbuild").write_text(f"obj-m := {name}.o\n", "ascii")
    run(("make", "-s", "-C", headers, f"M={work}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"))
    run(("objcopy", "--strip-debug", work / f"{name}.ko"))
    return (work / f"{name}.ko").read_bytes()
