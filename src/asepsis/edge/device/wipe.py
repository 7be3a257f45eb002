"""Wipes the folder of a device at the end of its use: keys first, then everything, then a search.

The spool is sealed, so it is gone with its key (cryptographic erase). Keys and all other files lie
there as they are, so each is overwritten, flushed and removed. What a file system or a flash
controller keeps aside cannot be overwritten from here: *clear* is claimed, never *purge*, and clear
only where the raw search of the whole medium found the keys before and nothing after.

Source: NIST SP 800-88 Rev. 1, section 2.5 (clear, purge), 2.6 (cryptographic erase), 4.7 (verify).
"""

import contextlib
import errno
import os
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import AsepsisError, ConfigError, Conflict, LimitExceeded
from asepsis.core.trust import libcrypto
from asepsis.core.trust.sealing import CREDENTIAL_NAME
from asepsis.core.trust.wipe_receipt import CHAIN_MAX, bind, seal
from asepsis.edge.device import wipe_search
from asepsis.edge.device.wipe_search import PATTERNS_MAX, SAMPLED_FILES_MAX, Residue
from asepsis.edge.uplink.folder import CHAIN_BYTES_MAX, IdentityFolder

FILES_MAX: Final = 65_536
KEY_BYTES_MAX: Final = 16_384
SAMPLED_BYTES_MAX: Final = 64 << 20
BLOCK_BYTES: Final = 1 << 20
FILL_NAME: Final = "wipe.fill"
METHOD: Final = "NIST SP 800-88 Rev. 1: clear"
TECHNIQUE: Final = (
    "cryptographic erase of the sealed spool by destroying its key; every file of the folder, keys "
    "first, overwritten once with zeros, flushed and removed"
)
FILLED: Final = "; then all free space of the file system overwritten with zeros"
NOT_CLAIMED: Final = (
    "purge: the keys lay in files, and what a file system's journal or a flash controller keeps "
    "aside was neither overwritten nor, beyond the medium that is named, searched"
)
_CERTIFICATE_END: Final = "-----END CERTIFICATE-----"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a wipe would destroy.

    Attributes:
        device: Name of the device; empty if an earlier wipe was cut off.
        signs: Whether the origin key is there to sign the receipt.
        keys: Files with keys, the origin key last.
        files: All other files.
        links: Symbolic links and other names without content; what they lead to is not touched.
        folders: Folders, the innermost first, the device's folder last.
        total_bytes: Of keys and files.
    """

    device: str
    signs: bool
    keys: tuple[Path, ...]
    files: tuple[Path, ...]
    links: tuple[Path, ...]
    folders: tuple[Path, ...]
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How to wipe.

    Attributes:
        medium: Block device or file below the file system, to search; None leaves the search out.
        fill: Overwrite free space too. Only where the file system is the device's alone.
        by: Person who ordered it.
        tool: Program and version.
        now: Says the time, RFC 3339.
    """

    medium: Path | None
    fill: bool
    by: str
    tool: str
    now: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a wipe.

    Attributes:
        receipt: Signed; None if the key that signs it was destroyed by an earlier wipe.
        facts: What the receipt states.
    """

    receipt: bytes | None
    facts: Mapping[str, Any]


def plan(folder: IdentityFolder) -> Plan:
    """Say what a wipe would destroy; changes nothing.

    Raises:
        ConfigError: No folder of a device, or it cannot be read.
        LimitExceeded: More files than any device has: this is no device's folder.
    """
    root = folder.path
    names = {"identity.json", "origin.key", "tls.key", "compartments", "device.log", "root.der"}
    there: set[str] = (
        set() if root.is_symlink() or not root.is_dir() else {p.name for p in root.iterdir()}
    )
    if not names & there:
        raise ConfigError(
            f"{root} is no folder of a device", hint="name the folder that `enrol device` made"
        )
    keys: list[Path] = []
    files: list[Path] = []
    links: list[Path] = []
    folders: list[Path] = []
    total = 0
    for path in _walk(root):
        kind = path.lstat()
        if stat.S_ISDIR(kind.st_mode):
            folders.append(path)
        elif not stat.S_ISREG(kind.st_mode):
            links.append(path)
        else:
            (keys if _is_key(path) else files).append(path)
            total += kind.st_size
    origin = folder.origin_key_path
    device, signs = _identity(folder)
    return Plan(
        device=device,
        signs=signs,
        keys=tuple(sorted(keys, key=lambda path: path == origin)),
        files=tuple(files),
        links=tuple(links),
        folders=(*reversed(folders), root),
        total_bytes=total,
    )


def wipe(folder: IdentityFolder, *, order: Order, say: Say = lambda _: None) -> Outcome:
    """Destroy a device's keys and data, for good.

    Cut off at any point it can be ordered again and goes on. The receipt is then unsigned if the
    origin key is gone already.

    Args:
        folder: The device's folder.
        order: How.
        say: Told what happens, for people.

    Raises:
        Conflict: The device runs.
        ConfigError: The medium does not hold the folder, or something cannot be destroyed.
        LimitExceeded: Too many files.
    """
    found = plan(folder)
    _refuse_if_in_use(folder.path)
    begun = order.now()
    patterns = _patterns(found)
    before = _control(found, order, patterns, say)
    fresh = libcrypto.generate_key()
    binding = None
    if found.signs:
        binding = bind(
            libcrypto.read_key(folder.origin_key_path),
            chain=_chain(folder),
            device=found.device,
            receipt_spki=fresh.spki_der,
            begun=begun,
        )
    say(f"destroying {len(found.keys)} keys")
    _destroy(found.keys)
    say(f"destroying {len(found.files)} other files")
    _destroy(found.files)
    for link in found.links:
        link.unlink()
    for path in found.folders:
        path.rmdir()
    above = folder.path.parent
    if order.fill:
        say("overwriting free space")
        _fill(above)
    after = None
    if order.medium is not None:
        wipe_search.flush(above)
        say(f"searching {order.medium}")
        after = wipe_search.search(order.medium, patterns)
    facts = _facts(found, order, before=before, after=after)
    facts |= {"begun": begun, "ended": order.now(), "patterns": len(patterns)}
    receipt = seal(binding, key=fresh, facts=facts) if binding else None
    return Outcome(receipt=receipt, facts=facts)


def _facts(
    found: Plan, order: Order, *, before: Residue | None, after: Residue | None
) -> dict[str, Any]:
    clean = after is not None and not after.found
    searched: dict[str, Any] = {"done": after is not None}
    if before is not None and after is not None:
        searched |= {
            "medium": str(order.medium),
            "bytes": after.searched_bytes,
            "found_before": len(before.found),
            "found_after": sorted(after.found),
            "places": list(after.places),
        }
    return {
        "device": found.device,
        "method": METHOD,
        "technique": TECHNIQUE + (FILLED if order.fill else ""),
        "not_claimed": NOT_CLAIMED,
        "keys": len(found.keys),
        "files": len(found.files),
        "bytes": found.total_bytes,
        "search": searched,
        "verified": clean,
        "by": order.by,
        "tool": order.tool,
    }


def _control(found: Plan, order: Order, patterns: Mapping[str, bytes], say: Say) -> Residue | None:
    """See that the search finds what is there, before it has to find nothing."""
    if order.medium is None:
        return None
    wipe_search.flush(found.folders[-1])
    say(f"looking for the keys in {order.medium}")
    before = wipe_search.search(order.medium, patterns)
    told = {name.partition(": ")[0] for name in before.found}
    wanted = {name.partition(": ")[0] for name in patterns if name.startswith("key ")}
    missing = sorted(wanted - told)
    if missing:
        raise ConfigError(
            f"{order.medium} does not hold {missing[0].removeprefix('key ')}",
            hint="name the block device or file below the file system; an encrypted or compressed "
            "one cannot be searched: leave --medium out, and the receipt says so",
        )
    return before


def _patterns(found: Plan) -> dict[str, bytes]:
    patterns: dict[str, bytes] = {}
    for path in found.keys:
        patterns |= wipe_search.key_patterns(str(path), _content(path, KEY_BYTES_MAX))
    largest = sorted(found.files, key=lambda path: -path.stat().st_size)
    for path in largest[:SAMPLED_FILES_MAX]:
        if len(patterns) < PATTERNS_MAX:
            patterns |= wipe_search.data_patterns(str(path), _content(path, SAMPLED_BYTES_MAX))
    return patterns


def _destroy(paths: tuple[Path, ...]) -> None:
    for path in paths:
        try:
            _overwrite(path)
            path.unlink()
        except OSError as error:
            raise ConfigError(f"cannot destroy {path}: {error.strerror}") from error
    for parent in {path.parent for path in paths}:
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _overwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        left = os.fstat(descriptor).st_size
        while left:
            left -= os.write(descriptor, bytes(min(left, BLOCK_BYTES)))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill(folder: Path) -> None:
    """Write zeros until the file system is full, then let go of it."""
    path = folder / FILL_NAME
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        size = BLOCK_BYTES
        while size:
            try:
                if os.write(descriptor, bytes(size)) < size:
                    size //= 2
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise ConfigError(f"cannot fill {folder}: {error.strerror}") from error
                size //= 2
        with contextlib.suppress(OSError):  # Full: what could be written was written.
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
        path.unlink()


def _refuse_if_in_use(folder: Path) -> None:
    """Look for processes that hold a file of the folder open.

    Raises:
        Conflict: There is one.
    """
    inside = f"{folder.resolve()}/"
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # It ended, or is another user's.
            for handle in (process / "fd").iterdir():
                if str(handle.readlink()).startswith(inside):
                    raise Conflict(
                        f"process {process.name} uses {folder}", hint="stop the device first"
                    )


def _identity(folder: IdentityFolder) -> tuple[str, bool]:
    """Return the name, and whether key and certificate of origin are whole."""
    try:
        device = folder.load()[0]
    except AsepsisError:
        return "", False
    try:
        libcrypto.read_key(folder.origin_key_path)
        return device, bool(_certificates(folder.path / "origin.pem"))
    except (AsepsisError, OSError):
        return device, False


def _walk(root: Path) -> Iterator[Path]:
    """Yield everything below a folder, outer before inner; links are not followed."""
    seen = 0
    for here, folders, files in os.walk(root):
        for name in (*folders, *files):
            seen += 1
            if seen > FILES_MAX:
                raise LimitExceeded(f"more than {FILES_MAX} files: no device has that many")
            yield Path(here) / name


def _is_key(path: Path) -> bool:
    return path.suffix == ".key" or path.name.startswith((CREDENTIAL_NAME, "origin.key", "tls.key"))


def _content(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)


def _chain(folder: IdentityFolder) -> list[bytes]:
    """Return the certificates of the origin key, leaf first, as far as the device has them."""
    root_der = folder.load()[2]
    found = _certificates(folder.path / "origin.pem")
    return [der for der in found if der != root_der][:CHAIN_MAX]


def _certificates(path: Path) -> list[bytes]:
    text = _content(path, CHAIN_BYTES_MAX).decode("ascii", "replace")
    parts = [part + _CERTIFICATE_END for part in text.split(_CERTIFICATE_END)[:-1]]
    try:
        return [ssl.PEM_cert_to_DER_cert(part.strip()) for part in parts]
    except ValueError:
        return []
