"""The unified kernel image: kernel, command line and first file system under one signature.

Sources: UAPI.5 unified kernel image; systemd-stub(7), which measures each section into PCR 11 as
the hash of its name with the closing zero, then the hash of its content; Microsoft PE format.
"""

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from asepsis.core.errors import ContentMismatch
from asepsis.tools.imagebuild.programs import find, run

STUB: Final = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
MEASURED: Final = (".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb")
"""Sections in the order in which the stub measures them, wherever they stand in the file."""
SECTIONS_MAX: Final = 64
_PAGE: Final = 4_096
_TIME, _CHECKSUM = 8, 24 + 64
"""Places in the PE header, behind its signature."""
_SECTION: Final = struct.Struct("<8sIIII16x")


def sections(image: bytes) -> dict[str, tuple[int, bytes]]:
    """Return address and content of each section of a PE file, without the padding.

    Raises:
        ContentMismatch: It is no PE file, or its table points outside.
    """
    try:
        start = struct.unpack_from("<I", image, 0x3C)[0]
        if image[:2] != b"MZ" or image[start : start + 4] != b"PE\0\0":
            raise ContentMismatch("not a PE file")
        count, optional = struct.unpack_from("<H12xH", image, start + 6)
        table = start + 24 + optional
        found: dict[str, tuple[int, bytes]] = {}
        for number in range(min(count, SECTIONS_MAX)):
            raw = _SECTION.unpack_from(image, table + number * _SECTION.size)
            name, virtual, address, size, offset = raw
            body = image[offset : offset + size]
            if len(body) != size:
                raise ContentMismatch("a section points outside of the file")
            found[name.rstrip(b"\0").decode("ascii")] = address, body[:virtual]
    except (struct.error, UnicodeDecodeError) as error:
        raise ContentMismatch("not a PE file") from error
    return found


def make_uki(target: Path, parts: Mapping[str, Path], *, epoch: int) -> None:
    """Add sections to the stub.

    Args:
        target: File to write.
        parts: File of each section, by its name with the dot.
        epoch: Time in the file's header, seconds since 1970.

    Raises:
        ConfigError: The stub or objcopy is not installed.
        Unavailable: objcopy failed.
    """
    stub = find(STUB)
    present = sections(Path(stub).read_bytes()).values()
    base = max(address + len(body) for address, body in present)
    command = ["objcopy"]
    for name, path in parts.items():
        # Each behind the one before: kernel and first file system differ in size by release.
        base = (base + _PAGE - 1) // _PAGE * _PAGE
        command += ["--add-section", f"{name}={path}", "--change-section-vma", f"{name}={base:#x}"]
        base += path.stat().st_size
    run((*command, stub, target))
    _without_time(target, epoch=epoch)


def _without_time(target: Path, *, epoch: int) -> None:
    """Replace the moment of linking, and the checksum over it, which firmware does not look at."""
    with target.open("r+b") as file:
        file.seek(0x3C)
        start = struct.unpack("<I", file.read(4))[0]
        for offset, value in ((_TIME, epoch & 0xFFFFFFFF), (_CHECKSUM, 0)):
            file.seek(start + offset)
            file.write(struct.pack("<I", value))


def predict_pcr11(image: bytes) -> str:
    """Return the value that PCR 11 (SHA-256) has once this image has been started.

    Source: TCG PC Client Platform Firmware Profile, extend; systemd-stub(7).
    """
    found = sections(image)
    value = bytes(32)
    for name in MEASURED:
        if name in found:
            for measured in (name.encode("ascii") + b"\0", found[name][1]):
                value = hashlib.sha256(value + hashlib.sha256(measured).digest()).digest()
    return value.hex()


def sign(image: Path, *, key: Path, certificate: Path, target: Path) -> None:
    """Sign a unified kernel image for the firmware.

    Raises:
        ConfigError: sbsign is not installed.
        Unavailable: Key and certificate do not suit.
    """
    run(("sbsign", "--key", key, "--cert", certificate, "--output", target, image))
