"""Watches the truth of a simulated fleet: what must never happen, counted without the rules' code.

Every fact is checked in the moment in which it happens; a breach ends the simulation.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from asepsis.core.errors import SafetyRefusal
from asepsis.hub.fleet.campaigns.model import Spec

Group = tuple[str, str]


@dataclass(slots=True)
class Night:
    """The window that the checker reads from a clock on the wall.

    Attributes:
        zone: Of the place.
        from_hour: Local hour at which it opens.
        to_hour: Local hour of the next day at which it closes.
    """

    zone: ZoneInfo
    from_hour: int
    to_hour: int

    def holds(self, at_s: int, length_s: int) -> bool:
        """Whether every minute of a stretch lies in the window."""
        return all(self._open(at_s + passed) for passed in (*range(0, length_s, 60), length_s - 1))

    def _open(self, at_s: int) -> bool:
        hour = datetime.fromtimestamp(at_s, self.zone).hour
        return hour >= self.from_hour or hour < self.to_hour


@dataclass(slots=True)
class Story:
    """What happened to one campaign."""

    spec: Spec
    waves: Mapping[str, int]
    sizes: Counter[int]
    open_to: int = 0
    halted: bool = False
    good: Counter[int] = field(default_factory=Counter[int])
    bad: Counter[int] = field(default_factory=Counter[int])
    last_good_s: Counter[int] = field(default_factory=Counter[int])


@dataclass(slots=True, kw_only=True)
class Checker:
    """Every invariant of a fleet.

    Attributes:
        places: Ward and class of each device.
        at_once_max: How many of a class may be in an update in a ward.
        night: When an update may run.
        needed_s: What must still fit: the longest update and the way back.
    """

    places: Mapping[str, Group]
    at_once_max: int
    night: Night
    needed_s: int
    stories: dict[str, Story] = field(default_factory=dict[str, Story])
    running: set[str] = field(default_factory=set[str])
    slots: dict[str, str] = field(default_factory=dict[str, str])
    checks: int = 0
    steps: int = 0
    most_away: int = 0
    _away: Counter[Group] = field(default_factory=Counter[Group])

    def created(self, spec: Spec, waves: Mapping[str, int]) -> None:
        """A campaign begins."""
        self.stories[spec.name] = Story(spec, waves, Counter(waves.values()))

    def assigned(self, device: str, campaign: str, at_s: int) -> None:
        """A device gets a slot.

        Raises:
            SafetyRefusal: Of a wave that is not open, after a halt, or outside the window.
        """
        story = self.stories[campaign]
        self._must(not story.halted, "a slot after a halt")
        self._must(story.waves[device] <= story.open_to, "a slot of a wave that is not open")
        self._must(self.night.holds(at_s, self.needed_s), "a slot for which no window is open")
        self._must(device not in self.running, "a slot for a device that is in an update")
        self.slots[device] = campaign

    def began(self, device: str, campaign: str, at_s: int, *, in_use: bool) -> None:
        """A device begins to install.

        Raises:
            SafetyRefusal: In use, without a slot, too many of its ward, or not within the window.
        """
        self._must(not in_use, "an update at a patient")
        self._must(self.slots.get(device) == campaign, "an update without a slot")
        self._must(self.night.holds(at_s, self.needed_s), "an update that the window does not hold")
        self.running.add(device)
        group = self.places[device]
        self._away[group] += 1
        self.most_away = max(self.most_away, self._away[group])
        self._must(self._away[group] <= self.at_once_max, f"too many away in {group}")

    def ended(self, device: str, campaign: str, *, runs: bool, at_s: int) -> None:
        """A device is done; `runs` says whether it truly runs the release."""
        story, wave = self.stories[campaign], self.stories[campaign].waves[device]
        self.running.discard(device)
        self.slots.pop(device, None)
        self._away[self.places[device]] -= 1
        self._must(self.night.holds(at_s - 60, 60), "an update that outlived its window")
        if runs:
            story.good[wave] += 1
            story.last_good_s[wave] = at_s
        else:
            story.bad[wave] += 1

    def opened(self, campaign: str, wave: int, at_s: int) -> None:
        """The next wave begins.

        Raises:
            SafetyRefusal: Its gate had not been passed, by what devices truly run.
        """
        story, before = self.stories[campaign], wave - 1
        gate = story.spec.waves[before].gate
        share = 100 * story.good[before] >= gate.verified_percent * story.sizes[before]
        self._must(wave == story.open_to + 1, "a wave that was not the next")
        self._must(share, "a wave after one that is not verified")
        self._must(story.bad[before] <= gate.failed_max, "a wave after too many failures")
        self._must(
            timedelta(seconds=at_s - story.last_good_s[before])
            >= timedelta(seconds=gate.observe_s),
            "a wave before the last one was observed",
        )
        story.open_to = wave

    def left(self, device: str, campaign: str) -> None:
        """A person leaves a device out."""
        story = self.stories[campaign]
        story.sizes[story.waves[device]] -= 1

    def ordered(self, campaign: str, *, halted: bool) -> None:
        """A campaign is halted or finished."""
        self.stories[campaign].halted = halted

    def stepped(self, _at_s: int) -> None:
        """Everything was decided; all that is counted is counted again."""
        self.steps += 1
        again = Counter(self.places[device] for device in self.running)
        self._must(again == +self._away, "the count of devices in updates is wrong")
        for story in self.stories.values():
            for wave in range(story.open_to + 1):
                gate, bad = story.spec.waves[wave].gate, story.bad[wave]
                # The hub hears of a failure within the step in which it decides.
                self._must(bad <= gate.failed_max or story.halted, "too many failures, no halt")

    def _must(self, holds: bool, breach: str) -> None:  # noqa: FBT001 - a sentence and its breach
        self.checks += 1
        if not holds:
            raise SafetyRefusal(f"invariant broken: {breach}")
