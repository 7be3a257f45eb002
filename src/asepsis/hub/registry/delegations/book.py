"""Delegations in memory: what the identity book asks at every change, and the lanes at every batch.

Belongs to one event loop, as the identity book does; changed only after the change was committed.
"""

from collections.abc import Iterable
from typing import Final

from asepsis.core.errors import NotPermitted
from asepsis.hub.registry.delegations.lines import Declaration, Source, SourceKind, source_kind

_NEVER_NS: Final = (1 << 63) - 1


class DelegationBook:
    """Every delegation and every named source of this hub."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, Declaration]] = {}
        self._sources: dict[str, dict[SourceKind, Source]] = {}
        self._partners: dict[str, set[str]] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._lines, self._sources, self._partners = {}, {}, {}

    def forget(self, holder: str) -> frozenset[str]:
        """Forget what stands under one holder; return its partners, whose rights change too."""
        gone = [*self._lines.pop(holder, {}).values(), *self._sources.pop(holder, {}).values()]
        partners = frozenset(line.partner for line in gone if line.partner)
        for partner in partners:
            self._partners[partner].discard(holder)
        return partners

    def put(self, lines: Iterable[Declaration], sources: Iterable[Source]) -> frozenset[str]:
        """Add lines; return every gateway whose rights they change."""
        touched: set[str] = set()
        for line in lines:
            self._lines.setdefault(line.holder, {})[line.device] = line
            touched |= self._pair(line.holder, line.partner)
        for source in sources:
            self._sources.setdefault(source.holder, {})[source.kind] = source
            touched |= self._pair(source.holder, source.partner)
        return frozenset(touched)

    def line(self, gateway: str, device: str) -> Declaration | None:
        """Return the delegation that lets a gateway speak for a device, its own or its pair's."""
        own = self._lines.get(gateway, {}).get(device)
        if own is not None:
            return own
        for holder in self._partners.get(gateway, ()):
            line = self._lines.get(holder, {}).get(device)
            if line is not None and line.partner == gateway:
                return line
        return None

    def current(self, gateway: str, now_ns: int) -> tuple[frozenset[str], int]:
        """Return the devices that a gateway may speak for now, and until when that stands."""
        lines = list(self._lines.get(gateway, {}).values())
        for holder in self._partners.get(gateway, ()):
            lines += [x for x in self._lines.get(holder, {}).values() if x.partner == gateway]
        standing = [line for line in lines if line.expires_at_ns >= now_ns]
        until_ns = min((line.expires_at_ns for line in standing), default=_NEVER_NS)
        return frozenset(line.device for line in standing), until_ns

    def observed(self, gateway: str, device: str) -> bool:
        """Whether what a gateway brings counts as an observation of the device's connection."""
        line = self.line(gateway, device)
        return line is not None and line.observed

    def is_declared(self, device: str) -> bool:
        """Whether anybody is listed to speak for a device."""
        return any(device in lines for lines in self._lines.values())

    def period_s(self, device: str) -> int:
        """Return how often a device reports, the shortest that anybody declared; 0 for nobody."""
        found = (lines[device].period_s for lines in self._lines.values() if device in lines)
        return min((period_s for period_s in found if period_s), default=0)

    def holders_of(self, devices: Iterable[str]) -> frozenset[str]:
        """Return every gateway that may speak for one of these devices."""
        found: set[str] = set()
        for device in devices:
            for holder, lines in self._lines.items():
                if device in lines:
                    found |= {holder, lines[device].partner} - {""}
        return frozenset(found)

    def paired(self, one: str, other: str) -> bool:
        """Whether any delegation or source names two gateways as a pair."""
        return other in self._partners.get(one, ()) or one in self._partners.get(other, ())

    def check_message(self, gateway: str, message_type: str, *, now_ns: int) -> None:
        """Let a message pass that only a named source may bring.

        Raises:
            NotPermitted: Nobody named this gateway as that source, or not for this long.
        """
        kind = source_kind(message_type)
        if kind is None:
            return
        found = [self._sources.get(gateway, {}).get(kind)]
        for holder in self._partners.get(gateway, ()):
            source = self._sources.get(holder, {}).get(kind)
            found += [source] if source is not None and source.partner == gateway else []
        if not any(source is not None and source.expires_at_ns >= now_ns for source in found):
            raise NotPermitted(
                f"this gateway is not named as a source of {kind}",
                hint=f"asepsis devices source {gateway} {kind}",
            )

    def check_source(self, holder: str, gateway: str, kind: SourceKind, *, now_ns: int) -> None:
        """Let a gateway speak as the source that a person named, itself or of its pair.

        Raises:
            NotPermitted: Nobody named the holder as that source, or not for this long, or the
                gateway is neither the holder nor its partner.
        """
        source = self._sources.get(holder, {}).get(kind)
        if source is None or source.expires_at_ns < now_ns:
            raise NotPermitted(
                f"the gateway is not named as a source of {kind}",
                hint=f"asepsis devices source {holder} {kind}",
            )
        if gateway not in (source.holder, source.partner):
            raise NotPermitted(f"another gateway is named as this source of {kind}")

    def check_type(self, gateway: str, device: str, message_type: str) -> None:
        """Let a message type or lane of a device pass.

        Raises:
            NotPermitted: There is no delegation, or it does not name the type.
        """
        line = self.line(gateway, device)
        if line is None:
            raise NotPermitted("the device is not declared")
        line.check_type(message_type)

    def _pair(self, holder: str, partner: str) -> set[str]:
        if not partner:
            return {holder}
        self._partners.setdefault(partner, set()).add(holder)
        return {holder, partner}
