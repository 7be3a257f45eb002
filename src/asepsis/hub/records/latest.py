"""The newest values of each metric, without reading what lies before them."""

from typing import Final

from asepsis.hub.records import entries
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
            for _, group in sorted(_OfDevice(self._search, self._index, scope, device, n=n).find())
            for found in group
        ]


class _OfDevice:
    """The search for one device."""

    def __init__(self, search: Search, index: Index, scope: Scope, device: str, *, n: int) -> None:
        self._search = search
        self._n = n
        self._codes, self._handles = frozenset(scope.codes), frozenset(scope.handles)
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

    def find(self) -> list[tuple[Group, list[Found]]]:
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
            self._look(slot)
        if self._incomplete(self._n):
            self._look_back()
        for found in self._groups.values():
            found.sort(key=lambda f: f.key, reverse=True)
        return [(group, found[: self._n]) for group, found in self._groups.items()]

    def _look_back(self) -> None:
        rows = self._search.rows(
            Kind.NUMERICS, self._device, first=self._first, last=self._last, newest_first=True
        )
        complete_at: int | None = None
        for scanned, (slot, stored) in enumerate(rows):
            if scanned >= BACK_ROWS_MAX:
                return
            if slot not in self._read:
                self._add(slot, stored)
            if complete_at is None and not self._incomplete(self._n):
                complete_at = slot
            # A newer value may stand in an entry of one of the minutes before.
            if complete_at is not None and slot <= complete_at - BEFORE_SLOTS:
                return

    def _look(self, slot: int) -> None:
        """Take a row, and those before it: a value lies up to two minutes after its entry."""
        rows = self._search.rows(
            Kind.NUMERICS,
            self._device,
            first=max(self._first, slot - BEFORE_SLOTS),
            last=slot,
            newest_first=True,
        )
        for found, stored in rows:
            if found not in self._read:
                self._add(found, stored)

    def _add(self, slot: int, stored: list[bytes]) -> None:
        """Take the values of a row, from its end back to where nothing newer can come."""
        self._read.add(slot)
        shown = Items(Kind.NUMERICS, self._scope).shown(self._device, stored)
        for latest_ns, entry in sorted(
            ((entries.latest_ns(entry), entry) for entry in shown), reverse=True
        ):
            if self._settled(latest_ns):
                return
            for value in entries.values_of(entry, codes=self._codes, handles=self._handles):
                if self._scope.from_ns <= value.t_ns < self._scope.to_ns:
                    found = self._judge(value_key(self._device, value), self._device, value)
                    if found is not None:
                        self._groups.setdefault((value.row[0], value.row[1]), []).append(found)

    def _settled(self, latest_ns: int) -> bool:
        """Whether no value up to a moment can be among the newest of any metric."""
        if self._incomplete(self._n):
            return False
        return all(
            len(found) >= self._n and sorted(int(f.key[0]) for f in found)[-self._n] > latest_ns
            for found in self._groups.values()
        )

    def _incomplete(self, n: int) -> bool:
        return any(len(self._groups.get(group, ())) < n for group in self._slots)

    def _wanted(self, handle: int, code: int) -> bool:
        scope = self._scope
        return (not scope.codes or code in scope.codes) and (
            not scope.handles or handle in scope.handles
        )
