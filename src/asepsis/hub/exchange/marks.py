"""Marks live values that are not verified; it withholds none.

It stands between the lanes and the live views: each value goes on as it came, and beside it stands
why a chart would not get it. What is judged is decided when somebody looks, once for all who do.

Source: docs/explanation/compliance.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from asepsis.core.compliance.profile import Interface
from asepsis.core.model.identity import Assurance
from asepsis.core.model.observation import Numeric, Observation
from asepsis.core.wire.frames import WaveformFrame
from asepsis.core.wire.hl7 import Message
from asepsis.hub.exchange.bundles import BundleNumerics
from asepsis.hub.exchange.message_live import LiveMessage
from asepsis.hub.exchange.ports import LiveFeed, LiveNumerics


class Judge(Protocol):
    """Says why something of a device is unverified; in memory, never blocking, never raising."""

    def message(self, device: str, message: Message) -> str:
        """Return why a whole message is unverified, "" if it is not."""
        ...

    def numeric(self, device: str, numeric: Numeric, interface: Interface) -> str:
        """Return why one number is unverified, "" if it is not."""
        ...


@dataclass(slots=True)
class MarkedNumerics:
    """Accepted live values with their marks, built once.

    Attributes:
        batch: The values.
        judge: Says why they are unverified.
    """

    batch: LiveNumerics
    judge: Judge
    _built: tuple[Observation, ...] | None = field(default=None)

    @property
    def device(self) -> str:
        """Whose values they are."""
        return self.batch.device

    @property
    def received_at_ns(self) -> int:
        """Wall time of arrival, nanoseconds since 1970."""
        return self.batch.received_at_ns

    def observations(self) -> Sequence[Observation]:
        """Build the observations."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> tuple[Observation, ...]:
        batch, device = self.batch, self.batch.device
        whole, interface = "", Interface.ADP
        if isinstance(batch, LiveMessage):
            whole, interface = self.judge.message(device, batch.message), Interface.HL7V2
            found = batch.observations(unfit=True)
        else:
            found = batch.observations()
            if isinstance(batch, BundleNumerics):
                interface = Interface.FHIR
        return tuple(
            replace(each, unverified=mark) if mark else each
            for each in found
            for mark in (whole or self.judge.numeric(device, each.numeric, interface),)
        )


@dataclass(slots=True)
class MarkingFeed:
    """A live feed that marks what goes to another one.

    Attributes:
        feed: Where live data goes.
        judge: Says why something is unverified.
    """

    feed: LiveFeed
    judge: Judge

    def numerics(self, batch: LiveNumerics) -> None:
        """Offer an accepted live batch."""
        self.feed.numerics(MarkedNumerics(batch, self.judge))

    def waveforms(self, device: str, frames: Sequence[WaveformFrame], assurance: Assurance) -> None:
        """Offer frames; waveforms carry no number that a profile judges."""
        self.feed.waveforms(device, frames, assurance)
