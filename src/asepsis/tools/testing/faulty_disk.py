"""A disk that fails at a chosen operation, or forgets there what was not flushed: a power cut.

It keeps contents and names apart, as file systems do, and what is durable apart from what is only
cached. After a cut it offers every folder that may be found: for each file that was not flushed
nothing, a beginning, zeros or all of it, and of the names that were not flushed any selection.
That is harsher than a journalling file system, and it is what POSIX allows.

Source: POSIX.1-2017, fsync(), rename(); T. S. Pillai et al., "All File Systems Are Not Created
Equal" (OSDI 2014), section 3.
"""

import errno
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field


class PowerCut(Exception):  # noqa: N818 - names what happened
    """The power went during an operation; nothing that follows in the program happens."""


@dataclass(slots=True)
class _File:
    durable: bytes | None = None
    cached: bytes = b""

    @property
    def possible(self) -> tuple[bytes, ...]:
        """What may be found after a cut."""
        if self.durable == self.cached:
            return (self.cached,)
        size = len(self.cached)
        cuts = {self.cached[:n] for n in (0, 1, size // 2, size - 1, size) if n >= 0}
        return tuple({*cuts, bytes(size), self.durable or b""})


@dataclass(slots=True)
class FaultyDisk:
    """A folder in memory; has the operations of `supervision_disk.Disk`.

    Attributes:
        files: Content by name, all of it durable at the start.
        cut_at: Number of the operation, from 1, in which the power goes; 0 for none.
        fail_at: Number of the operation, from 1, that fails; 0 for none.
        error: Error number of that failure.
        forget_flushes: Whether flushes do nothing: a disk, or a program, that lies.
        operations: Operations so far.
    """

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    cut_at: int = 0
    fail_at: int = 0
    error: int = errno.ENOSPC
    forget_flushes: bool = False
    operations: int = 0
    _inodes: dict[int, _File] = field(default_factory=dict[int, _File])
    _durable: dict[str, int] = field(default_factory=dict[str, int])
    _pending: list[tuple[str, str, int]] = field(default_factory=list[tuple[str, str, int]])
    _names: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        for number, (name, data) in enumerate(self.files.items()):
            self._inodes[number] = _File(durable=data, cached=data)
            self._durable[name] = self._names[name] = number

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """Return at most `bytes_max` bytes of a file; None where there is none."""
        self._count()
        found = self._names.get(name)
        return None if found is None else self._inodes[found].cached[:bytes_max]

    def write(self, name: str, data: bytes) -> None:
        """Make a file with this content, or replace its content."""
        failure = self._count(partly=True)
        if name not in self._names:
            self._names[name] = len(self._inodes)
            self._inodes[self._names[name]] = _File()
            self._pending.append(("", name, self._names[name]))
        self._inodes[self._names[name]].cached = data[: len(data) // 2] if failure else data
        self._go_on(failure)

    def flush(self, name: str) -> None:
        """Make the content of a file durable."""
        failure = self._count(partly=True)
        file = self._inodes[self._names[name]]
        if not failure and not self.forget_flushes:
            file.durable = file.cached
        self._go_on(failure)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name."""
        self._count()
        number = self._names.pop(old)
        self._names[new] = number
        self._pending.append((old, new, number))
        self._cut()

    def flush_names(self) -> None:
        """Make the names durable."""
        failure = self._count(partly=True)
        if not failure and not self.forget_flushes:
            self._durable = dict(self._names)
            self._pending.clear()
        self._go_on(failure)

    def after_cut(self) -> Iterator["FaultyDisk"]:
        """Return every folder that may be found when the power is back."""
        for kept in itertools.product((False, True), repeat=len(self._pending)):
            names = dict(self._durable)
            for happened, (old, new, number) in zip(kept, self._pending, strict=True):
                if happened:
                    names.pop(old, None)
                    names[new] = number
            contents = [self._inodes[number].possible for number in names.values()]
            for chosen in itertools.product(*contents):
                yield FaultyDisk(dict(zip(names, chosen, strict=True)))

    def _count(self, *, partly: bool = False) -> bool:
        """Count an operation; returns whether it fails, or the power goes, half way through."""
        self.operations += 1
        due = self.operations in (self.cut_at, self.fail_at)
        if due and not partly and self.operations == self.fail_at:
            self._fail()
        return due and partly

    def _go_on(self, failure: bool) -> None:  # noqa: FBT001 - the result of `_count`
        self._cut()
        if failure:
            self._fail()

    def _cut(self) -> None:
        if self.operations == self.cut_at:
            raise PowerCut

    def _fail(self) -> None:
        raise OSError(self.error, os.strerror(self.error))
