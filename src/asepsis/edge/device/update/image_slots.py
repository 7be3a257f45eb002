"""Two images of one device: a signed one is put beside the running one, on trial.

The running root is held by the kernel (dm-verity), which refuses it to whoever asks for it alone;
that is how the free one is found, and why the running one cannot be written here. Before the first
block of the free root is written its kernel image leaves the loader's partition: at every moment
the loader finds the running image, whole, and nothing that lacks its other half.

Source: UAPI.1 boot loader specification, "Boot counting"; open(2), O_EXCL on block devices.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, Conflict, ContentMismatch, TransientError, Unavailable
from asepsis.core.trust.sealing import sync_folder
from asepsis.edge.device.boot_entry import Slot, read_slot
from asepsis.edge.device.boot_slot import read_slot as read_started

ROOT: Final = "root.img"
KERNEL: Final = "kernel.efi"
"""Files of an artefact of an image."""
PORTION_BYTES: Final = 1 << 20
"""Written or read back in one step: the supervisor has other things to do."""
TRIES: Final = 3
_FOLDER: Final = Path("EFI/Linux")
_ASIDE: Final = "incoming.new"
_TAKEN: Final = (errno.EBUSY, errno.EROFS, errno.EACCES, errno.EPERM)
_FLAGS: Final = os.O_RDWR | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def _open(path: Path) -> int:
    return os.open(path.resolve(), _FLAGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSlots:
    """Where the images of a device are.

    Attributes:
        name: Of the image: the component of its releases, and the beginning of its files.
        partition: Where the loader's partition is mounted.
        roots: Both places of a root.
        variables: Where the firmware's variables are mounted.
        opens: Opens a root for itself alone; raises OSError where it is in use.
    """

    name: str
    partition: Path
    roots: tuple[Path, Path]
    variables: Path = Path("/sys/firmware/efi/efivars")
    opens: Callable[[Path], int] = _open

    def entries(self) -> list[Slot]:
        """Return the kernel images on the partition, the newest first.

        Raises:
            Unavailable: It is not mounted.
        """
        try:
            names = [path.name for path in (self.partition / _FOLDER).iterdir()]
        except OSError as error:
            raise Unavailable(f"the loader's partition: {error.strerror}") from error
        found = [slot for name in names if (slot := read_slot(name)) and slot.name == self.name]
        return sorted(found, key=lambda slot: -slot.number)

    def running(self) -> Slot:
        """Return the image that was started, as it stands on the partition now.

        Raises:
            ConfigError: The loader does not say which, or it is another one's.
            Unavailable: It is not on the partition any more.
            ContentMismatch: What the loader says has another form.
        """
        started = read_slot(read_started(self.variables).entry)
        if started is None or started.name != self.name:
            raise ConfigError("the boot loader does not say which image it started")
        for slot in self.entries():
            if slot.number == started.number:
                return slot
        raise Unavailable("the image that runs is not on the loader's partition")

    def install(self, image: Path) -> Iterator[None]:
        """Write root and kernel image into the free place, a portion at a time; nothing starts it.

        Args:
            image: Folder of the artefact.

        Raises:
            Conflict: The running image is on trial itself, or which root is free is not known.
            ContentMismatch: What was read back is not what was written.
            Unavailable: It cannot be read or written, for example for want of room.
        """
        running = self.running()
        if not running.works:
            raise Conflict("the running image is on trial itself")
        try:
            with os.fdopen(self._free_root(), "r+b", buffering=0) as root:
                _require_room(root.fileno(), image / ROOT)
                for slot in self.entries():
                    if slot.number != running.number:
                        self._remove(slot)
                yield from _copied(image / ROOT, root.fileno())
            aside = self.partition / _FOLDER / _ASIDE
            with aside.open("w+b", buffering=0) as kernel:
                yield from _copied(image / KERNEL, kernel.fileno())
        except OSError as error:
            raise Unavailable(f"the image cannot be placed: {error.strerror}") from error

    def offer(self, number: int, *, tries: int = TRIES) -> None:
        """Let the loader try what was installed, from the next start on.

        Args:
            number: Of the image; larger than that of the running one.
            tries: How often.

        Raises:
            Conflict: The running image is not older.
            TransientError: It cannot be written; the loader does not know it.
        """
        if number <= self.running().number:
            raise Conflict("the running image is not older than that")
        folder = self.partition / _FOLDER
        offered = folder / Slot(name=self.name, number=number, left=tries).file
        try:
            (folder / _ASIDE).rename(offered)
            sync_folder(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                offered.unlink()
            raise TransientError(f"the image cannot be offered: {error.strerror}") from error

    def keep(self, slot: Slot) -> None:
        """Take the counter off an image that passed its trial, for good.

        Raises:
            TransientError: It cannot be written; it stays on trial.
        """
        folder = self.partition / _FOLDER
        try:
            (folder / slot.file).rename(folder / Slot(name=slot.name, number=slot.number).file)
            sync_folder(folder)
        except OSError as error:
            raise TransientError(f"the image cannot be kept: {error.strerror}") from error

    def give_up(self, slot: Slot) -> None:
        """Take an image away from the loader; no root is touched.

        Raises:
            TransientError: It cannot be written.
        """
        try:
            self._remove(slot)
        except OSError as error:
            raise TransientError(f"the image cannot be given up: {error.strerror}") from error

    def _remove(self, slot: Slot) -> None:
        (self.partition / _FOLDER / slot.file).unlink()
        sync_folder(self.partition / _FOLDER)

    def _free_root(self) -> int:
        """Open the root that nobody uses.

        Raises:
            Conflict: Both are in use, or neither: then nobody knows which one runs.
            Unavailable: One cannot be opened for another reason.
        """
        free: list[int] = []
        for path in self.roots:
            try:
                free.append(self.opens(path))
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise Unavailable(f"a root of the device: {error.strerror}") from error
        if len(free) != 1:
            for descriptor in free:
                os.close(descriptor)
            raise Conflict("which root of the device is free is not known")
        return free[0]


def _require_room(target: int, source: Path) -> None:
    """Check that a block device is as large as a file; nothing is taken away for what cannot fit.

    Raises:
        Unavailable: It is smaller.
    """
    is_device = stat.S_ISBLK(os.fstat(target).st_mode)
    if is_device and os.lseek(target, 0, os.SEEK_END) < source.stat().st_size:
        raise Unavailable("the place of a root is smaller than this one")


def _copied(source: Path, target: int) -> Iterator[None]:
    """Copy a file to the beginning of an open one, flush it and read it back from the medium."""
    written, size = hashlib.sha256(), 0
    with source.open("rb") as file:
        while part := file.read(PORTION_BYTES):
            written.update(part)
            at = 0
            while at < len(part):
                at += os.pwrite(target, part[at:], size + at)
            size += len(part)
            yield
    os.fsync(target)
    os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)
    read, at = hashlib.sha256(), 0
    while at < size:
        part = os.pread(target, min(PORTION_BYTES, size - at), at)
        if not part:
            break
        read.update(part)
        at += len(part)
        yield
    if read.digest() != written.digest():
        raise ContentMismatch("what was read back of the image is not what was written")
