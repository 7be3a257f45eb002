"""Who gets a slot now, and why somebody else does not. Pure: the engine and `plan` ask the same.

A slot is the right to begin. The device itself chooses the moment and fails closed, so from the
assignment until its last word it must be counted as one that may be away at any moment.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from asepsis.core.model.calendar import Openings
from asepsis.hub.fleet.campaigns.model import (
    ANY,
    STARTED,
    Budget,
    Emergency,
    Member,
    Reserve,
    Spec,
    Standing,
    State,
    Target,
)
from asepsis.hub.fleet.ports import ReleaseFacts

SECOND_NS: Final = 1_000_000_000
NOTICE_S: Final = 300
"""A device hears within this time that its slot was taken back; a window must hold it too."""
UNHEARD_S: Final = 7 * 86_400
"""After this long no device believes an old word of the director (its timestamp has ended)."""

Group = tuple[str, str]
"""Ward and class."""


class Why(StrEnum):
    """Why a device gets nothing now."""

    CAMPAIGN = "campaign"
    RELEASE = "release"
    MODEL = "model"
    WAVE = "wave"
    UNSEEN = "not-seen"
    OTHER = "other-campaign"
    WINDOW = "window"
    BUDGET = "budget"
    RESERVE = "reserve"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not now, for programs and for people.

    Attributes:
        why: Which rule.
        text: In words.
    """

    why: Why
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A campaign as the rules look at it.

    Attributes:
        spec: What it is to do.
        state: How far it is.
        wave: Index of the wave that is open; earlier ones are open too.
        release: Facts of its release; None while it may not be rolled out.
        emergency: Who lets it skip windows and waves; None for nobody.
    """

    spec: Spec
    state: State
    wave: int
    release: ReleaseFacts | None
    emergency: Emergency | None = None

    @property
    def needed_s(self) -> int:
        """Seconds that a window must still hold: installation, the way back, and notice."""
        return self.release.run_s + self.release.rollback_s + NOTICE_S if self.release else 0


@dataclass(slots=True)
class Load:
    """How many devices are away and ready now, over all campaigns.

    Attributes:
        budgets: Of every campaign that runs: the tightest counts.
        reserves: The same.
        away: By ward and class.
        ready: In service, idle and with nothing to do, by ward and class.
    """

    budgets: Sequence[Budget]
    reserves: Sequence[Reserve]
    away: Counter[Group] = field(default_factory=Counter[Group])
    ready: Counter[Group] = field(default_factory=Counter[Group])
    _limits: dict[Group, int] = field(default_factory=dict[Group, int])

    def limit(self, group: Group) -> int:
        """Return how many devices of a class may be away in a ward."""
        found = self._limits.get(group)
        if found is None:
            ward, device_class = group
            fitting = [
                b.at_once_max
                for b in self.budgets
                if b.ward in (ANY, ward) and b.device_class in (ANY, device_class)
            ]
            found = self._limits[group] = min(fitting, default=1)
        return found

    def free(self, group: Group) -> int:
        """Return how many more devices of a group the budgets let go."""
        return self.limit(group) - self.away[group]

    def room(self, member: Member) -> Reason | None:
        """Return why a device may not be away besides those that are; None if it may."""
        group = member.ward, member.device_class
        if self.free(group) <= 0:
            return Reason(
                Why.BUDGET,
                f"{self.away[group]} {member.device_class or 'devices'} of "
                f"{member.ward or 'no ward'} are in an update, at most {self.limit(group)} may be",
            )
        if not is_ready(member):
            return None  # Nobody counts on it now, so nobody misses it.
        for reserve in self.reserves:
            if reserve.device_class == member.device_class and member.ward in reserve.wards:
                ready = sum(self.ready[ward, reserve.device_class] for ward in reserve.wards)
                if ready <= reserve.ready_min:
                    return Reason(
                        Why.RESERVE,
                        f"{ready} {reserve.device_class} are ready in {reserve.area}, "
                        f"at least {reserve.ready_min} must stay",
                    )
        return None

    def take(self, member: Member) -> None:
        """Count a device as away from now."""
        group = member.ward, member.device_class
        self.away[group] += 1
        if is_ready(member):
            self.ready[group] -= 1


def is_ready(member: Member) -> bool:
    """Whether a device that is in no update could be used for the next patient."""
    return member.in_service and member.idle


def counted(load: Load, members: Iterable[tuple[Member, bool]]) -> Load:
    """Count devices into a load; with each whether it holds a slot or waits for acceptance."""
    for member, away in members:
        group = member.ward, member.device_class
        if away:
            load.away[group] += 1
        elif is_ready(member):
            load.ready[group] += 1
    return load


def hold(
    running: Running, target: Target, member: Member, *, opened: Openings, now_ns: int
) -> Reason | None:
    """Return why a device that waits gets no slot now, others aside; None if it may have one."""
    campaign = _campaign(running, target)
    if campaign is not None:
        return campaign
    release = running.release
    if release is not None and member.model not in release.models:
        return Reason(Why.MODEL, f"the release is not for {member.model or 'devices unlisted'}")
    if now_ns - member.seen_ns > running.spec.unseen_s * SECOND_NS:
        return Reason(Why.UNSEEN, "not heard of; look for it with `asepsis campaign hunt`")
    if running.emergency is None and not opened.fits(now_ns, needed_s=running.needed_s):
        return Reason(Why.WINDOW, "no window is open for long enough")
    return None


def _campaign(running: Running, target: Target) -> Reason | None:
    if running.state is not State.RUNNING:
        return Reason(Why.CAMPAIGN, f"the campaign is {running.state}")
    if running.release is None:
        return Reason(Why.RELEASE, "the release may not be rolled out now")
    if target.wave > running.wave and running.emergency is None:
        return Reason(Why.WAVE, f"wave {running.wave + 1} of wave {target.wave + 1} is open")
    return None


def choose(
    candidates: Iterable[tuple[Target, Member]], load: Load, *, held: frozenset[str]
) -> list[str]:
    """Return who gets a slot, and count them into the load; idle devices go first.

    Args:
        candidates: Devices for which `hold` found nothing.
        load: How many are away and ready; changed.
        held: Devices that hold a slot of any campaign.
    """
    found: list[str] = []
    for target, member in sorted(candidates, key=_first):
        if target.device not in held and load.room(member) is None:
            load.take(member)
            found.append(target.device)
    return found


def recall(
    running: Running,
    target: Target,
    member: Member | None,
    *,
    opened: Openings,
    others_wait: bool,
    now_ns: int,
) -> str:
    """Return why a slot is taken back; "" if it stays. What has begun is never taken back."""
    if target.outcome in STARTED:
        return ""
    if member is None:
        return "the device is no longer in the fleet"
    reason = hold(running, target, member, opened=opened, now_ns=now_ns)
    if reason is not None and reason.why is not Why.UNSEEN:
        return reason.text
    if others_wait and now_ns - target.since_ns > running.spec.recall_s * SECOND_NS:
        return "others wait, and its safe moment did not come"
    return ""


def freed(target: Target, *, seen_ns: int, now_ns: int) -> bool:
    """Whether a slot that was taken back is free although the device never said so.

    Either the director's word has ended, or the device never spoke of the slot and was heard since:
    then it heard of the slot and of its end together.
    """
    if target.standing is not Standing.RECALLED or target.outcome in STARTED:
        return False
    silent = target.outcome is None and seen_ns > target.since_ns + NOTICE_S * SECOND_NS
    return silent or now_ns - target.since_ns > UNHEARD_S * SECOND_NS


def tightest(specs: Iterable[Spec]) -> Load:
    """Return an empty load with the limits of every campaign that runs."""
    budgets: list[Budget] = []
    reserves: list[Reserve] = []
    for spec in specs:
        budgets += spec.budgets
        reserves += spec.reserves
    return Load(budgets, reserves)


def windows_of(spec: Spec, member: Member, uses: Mapping[Group, Sequence[str]]) -> frozenset[str]:
    """Return the names of every calendar that must be open for a device.

    Args:
        spec: Names those of the campaign.
        member: Names its own.
        uses: Calendars by level (`site` or `ward`) and name of the ward ("" for the site).
    """
    own = (member.calendar,) if member.calendar else ()
    return frozenset(
        {*spec.calendars, *own, *uses.get(("site", ""), ()), *uses.get(("ward", member.ward), ())}
    )


def _first(candidate: tuple[Target, Member]) -> tuple[bool, int, str]:
    """Idle devices first, then whoever waited longest."""
    target, member = candidate
    return not member.idle, target.since_ns, target.device
