"""Raw search of a medium for what was on it: every byte below the file system, not through it.

Before a wipe the same search must find the keys, or it searches the wrong medium and what it finds
afterwards says nothing.
"""

import base64
import binascii
import ctypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError

CHUNK_BYTES: Final = 4 << 20
PATTERN_BYTES_MIN: Final = 16
PATTERN_BYTES_MAX: Final = 64
PATTERNS_MAX: Final = 512
SAMPLE_BYTES: Final = 32
SAMPLES_A_FILE: Final = 4
SAMPLED_FILES_MAX: Final = 64
DISTINCT_MIN: Final = 10
"""A sample of fewer distinct bytes is found by chance."""
PLACES_MAX: Final = 16
_PEM_LINE: Final = re.compile(rb"^[A-Za-z0-9+/]{40,64}={0,2}$", re.MULTILINE)
_OF_A_PRIVATE_KEY: Final = b"PRIVATE KEY-----"
_SCALAR: Final = re.compile(rb"\x02\x01\x01\x04\x20(.{32})", re.DOTALL)
"""ECPrivateKey: version 1, then the private scalar of P-256 (RFC 5915 section 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """What a search found.

    Attributes:
        searched_bytes: Bytes of the medium.
        found: By name of the pattern, how often it stands there; only what was found.
        places: Offsets of the first few.
    """

    searched_bytes: int
    found: Mapping[str, int]
    places: tuple[int, ...]


def key_patterns(name: str, data: bytes) -> dict[str, bytes]:
    """Return what a key looks like on a medium: as its file holds it, and its bare secret.

    Args:
        name: Of its file.
        data: Content of the file.
    """
    if _OF_A_PRIVATE_KEY not in data:
        plain = data[:PATTERN_BYTES_MAX]
        # What is too plain was overwritten already, by a wipe that was cut off.
        told_apart = len(plain) >= PATTERN_BYTES_MIN and len(set(plain)) >= DISTINCT_MIN
        return {f"key {name}: whole": plain} if told_apart else {}
    lines = _PEM_LINE.findall(data)
    found = {f"key {name}: line {at}": line for at, line in enumerate(lines, 1)}
    try:
        scalar = _SCALAR.search(base64.b64decode(b"".join(lines), validate=True))
    except binascii.Error:
        scalar = None
    return found | ({f"key {name}: bare": scalar.group(1)} if scalar else {})


def data_patterns(name: str, data: bytes) -> dict[str, bytes]:
    """Return samples of a file, spread over it; none of what is too plain to be told apart."""
    step = max((len(data) - SAMPLE_BYTES) // SAMPLES_A_FILE, 1)
    found: dict[str, bytes] = {}
    for at in range(0, max(len(data) - SAMPLE_BYTES, 0) + 1, step):
        sample = data[at : at + SAMPLE_BYTES]
        if len(set(sample)) >= DISTINCT_MIN and len(found) < SAMPLES_A_FILE:
            found[f"data {name} at {at}"] = sample
    return found


def search(medium: Path, patterns: Mapping[str, bytes]) -> Residue:
    """Look for patterns in every byte of a medium.

    Args:
        medium: Block device, or file that holds a file system.
        patterns: By name, `PATTERN_BYTES_MIN` to `PATTERN_BYTES_MAX` bytes each.

    Raises:
        ConfigError: It cannot be read to its end.
    """
    counts = dict.fromkeys(patterns, 0)
    places: list[int] = []
    searched = 0
    try:
        for start, chunk in _chunks(medium):
            searched = start + len(chunk)
            for name, at in _in_chunk(chunk, patterns.items(), first=start == 0):
                counts[name] += 1
                if len(places) < PLACES_MAX:
                    places.append(start + at)
    except OSError as error:
        raise ConfigError(f"cannot read {medium} to its end: {error.strerror}") from error
    found = {name: count for name, count in counts.items() if count}
    return Residue(searched_bytes=searched, found=found, places=tuple(places))


def flush(folder: Path) -> None:
    """Write everything of the file system of a folder to its medium.

    Raises:
        ConfigError: The medium does not take it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor):
            raise ConfigError(f"cannot flush {folder}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


def _chunks(medium: Path) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes; each begins with the end of the one before."""
    descriptor = os.open(medium, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # What an earlier search left in memory is not what stands on the medium now.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        at, kept = 0, b""
        while part := os.pread(descriptor, CHUNK_BYTES, at):
            yield at - len(kept), kept + part
            at += len(part)
            kept = (kept + part)[-(PATTERN_BYTES_MAX - 1) :]
    finally:
        os.close(descriptor)


def _in_chunk(
    chunk: bytes, patterns: Iterable[tuple[str, bytes]], *, first: bool
) -> Iterator[tuple[str, int]]:
    overlap = 0 if first else PATTERN_BYTES_MAX - 1
    for name, pattern in patterns:
        at = chunk.find(pattern)
        while at >= 0:
            if at + len(pattern) > overlap:  # Else the chunk before had it whole.
                yield name, at
            at = chunk.find(pattern, at + 1)
