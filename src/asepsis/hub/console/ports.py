"""What the console needs from outside; `hub/app/console.py` fills these in."""

from collections.abc import AsyncGenerator, Collection, Container, Sequence
from typing import Protocol

from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.association import Association
from asepsis.core.model.clinical import ClinicalState
from asepsis.hub.registry.associations.book import Bed, PlacedDevice


class Presence(Protocol):
    """Who is heard, and what they do; the exchange's supervisor."""

    def is_present(self, device: str) -> bool:
        """Whether a device's lease runs."""
        ...

    def watched(self) -> Collection[str]:
        """Return every device that was heard since it was enrolled."""
        ...

    def clinical_state(self, device: str) -> ClinicalState | None:
        """Return the state that a device claimed last, under its signature."""
        ...


class Alarms(Protocol):
    """Alarm conditions; the live hub."""

    @property
    def position(self) -> int:
        """Return how far the alert lane was read."""
        ...

    def active(self, devices: Container[str]) -> Sequence[AlarmNotice]:
        """Return the newest event of every active condition of some devices."""
        ...

    def unknown_since(self, device: str) -> int | None:
        """Return since when a device's active conditions may have changed unseen, None if not."""
        ...

    def history(
        self, devices: Container[str], after: int, *, through: int
    ) -> AsyncGenerator[tuple[int, Sequence[AlarmNotice]]]:
        """Yield position and events of some devices in (after, through]."""
        ...


class Whereabouts(Protocol):
    """Whose device this is and where it stands; the association book."""

    def now(self, device: str) -> Association | None:
        """Return the confirmed association of a device."""
        ...

    def placed(self, device: str) -> PlacedDevice | None:
        """Return where a device stands."""
        ...

    def proposals(self) -> Sequence[Association]:
        """Return what waits for a person, oldest first."""
        ...

    def beds(self) -> Sequence[Bed]:
        """Return every bed that has a patient or a device, by place."""
        ...


class Decisions(Protocol):
    """What people decide about associations; each act is audited."""

    async def confirm(self, association: str, *, actor: str) -> Association:
        """Confirm a proposal.

        Raises:
            NotFound: No such association.
            Conflict: It is decided already, or the device is another patient's.
        """
        ...

    async def reject(self, association: str, *, actor: str, reason: str) -> Association:
        """Decline a proposal; errors as `confirm`."""
        ...

    async def end(self, association: str, *, actor: str, reason: str) -> Association:
        """End a confirmed association now; errors as `confirm`."""
        ...


class Point(Protocol):
    """One point of a trend."""

    @property
    def t_ns(self) -> int:
        """When it was measured, nanoseconds since 1970."""
        ...

    @property
    def value(self) -> float | None:
        """Return the number as measured; None where the metric has no good value."""
        ...


class Trends(Protocol):
    """The record, thinned for a picture."""

    async def trend(
        self,
        device: str,
        *,
        from_ns: int,
        to_ns: int,
        points_max: int,
        mdc_code: int | None = None,
        handle: int | None = None,
    ) -> Sequence[Point]:
        """Return one metric of a device over time, ascending.

        Raises:
            InputError: Unknown metric.
            Unavailable: The record is not served now.
        """
        ...
