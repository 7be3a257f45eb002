"""The newest values of each metric, without reading what lies before them."""

from typing import Final

from asepsis.hub.records.index import Index
from asepsis.hub.records.kinds import Kind, slot_of
from asepsis.hub.records.projector import metrics_in
from asepsis.hub.records.queries import Scope
from asepsis.hub.records.search import BEFORE_SLOTS, Found, Items, Judge, Search, value_key

BACK_ROWS_MAX: Final = 240
"""Minutes with data that are looked at, from the newest backwards: four hours of a device that
measures all the time."""

Group = tuple[int, int]
"""Handle and MDC code: two sensors of one code are two metrics."""


class Latest:
    """Finds the newest values.

    Args:
        search: Reads rows.
        index: Knows when each metric was seen last.
    """

    def __init__(self, search: Search, index: Index) -> None:
        self._search = search
        self._index = index

    def values(self, scope: Scope, *, n: int) -> list[Found]:
        """Return the last `n` values of each metric of a scope, each metric's newest first.

        Of a metric that is measured rarely the last one is found however old it is, as long as it
        is nobody else's; earlier ones only within `BACK_ROWS_MAX` minutes with data.

        Raises:
            SignatureInvalid: A block was changed.
            TransientError: The disk failed.
        """
        return [
            found
            for device in scope.devices
            for _, group in sorted(_OfDevice(self._search, self._index, scope, device).find(n))
            for found in group
        ]


class _OfDevice:
    """The search for one device."""

    def __init__(self, search: Search, index: Index, scope: Scope, device: str) -> None:
        self._search = search
        self._scope = scope
        self._device = device
        self._judge = Judge(scope)
        self._groups: dict[Group, list[Found]] = {}
        self._read: set[int] = set()
        self._first = max(0, slot_of(Kind.NUMERICS, scope.from_ns) - BEFORE_SLOTS)
        self._last = slot_of(Kind.NUMERICS, scope.to_ns - 1)
        self._slots: dict[Group, int] = {
            (m.handle, m.mdc_code): slot
            for m, slot in index.metrics(device).items()
            if not m.wave and self._wanted(m.handle, m.mdc_code) and slot >= self._first
        }

    def find(self, n: int) -> list[tuple[Group, list[Found]]]:
        """Return each metric's newest values."""
        open_ = self._search.in_memory(
            Kind.NUMERICS, self._device, first=self._first, last=self._last
        )
        for slot, stored in open_.items():
            for m in metrics_in(Kind.NUMERICS, self._device, stored):
                if self._wanted(m.handle, m.mdc_code):
                    group = (m.handle, m.mdc_code)
                    self._slots[group] = max(slot, self._slots.get(group, 0))
        likely = {slot for slot in self._slots.values() if slot <= self._last}
        for slot in sorted(likely, reverse=True):
            self._look(slot, slot)
        if self._incomplete(n):
            self._look_back(n)
        for found in self._groups.values():
            found.sort(key=lambda f: f.key, reverse=True)
        return [(group, found[:n]) for group, found in self._groups.items()]

    def _look_back(self, n: int) -> None:
        rows = self._search.rows(
            Kind.NUMERICS, self._device, first=self._first, last=self._last, newest_first=True
        )
        for scanned, (slot, stored) in enumerate(rows):
            if scanned >= BACK_ROWS_MAX:
                return
            if slot not in self._read:
                self._add(slot, stored)
            # A value may stand in an entry of an earlier minute: one more row, then it is certain.
            if scanned and not self._incomplete(n):
                return

    def _look(self, first: int, last: int) -> None:
        for slot, stored in self._search.rows(Kind.NUMERICS, self._device, first=first, last=last):
            self._add(slot, stored)

    def _add(self, slot: int, stored: list[bytes]) -> None:
        self._read.add(slot)
        for value in Items(Kind.NUMERICS, self._scope).values(self._device, stored):
            if self._scope.from_ns <= value.t_ns < self._scope.to_ns:
                found = self._judge(value_key(self._device, value), self._device, value)
                if found is not None:
                    self._groups.setdefault((value.row[0], value.row[1]), []).append(found)

    def _incomplete(self, n: int) -> bool:
        return any(len(self._groups.get(group, ())) < n for group in self._slots)

    def _wanted(self, handle: int, code: int) -> bool:
        scope = self._scope
        return (not scope.codes or code in scope.codes) and (
            not scope.handles or handle in scope.handles
        )
