"""What one look at all campaigns leads to. Pure: a view in, decisions out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.model.calendar import SECOND_NS, Calendar, Openings, openings
from asepsis.hub.fleet.campaigns import releasing, waves
from asepsis.hub.fleet.campaigns.model import (
    DONE,
    Member,
    Order,
    Standing,
    State,
    Tally,
    Target,
)
from asepsis.hub.fleet.campaigns.releasing import Group, Load, Running
from asepsis.hub.fleet.campaigns.rows import Stored
from asepsis.hub.fleet.campaigns.waves import Verdict

HORIZON_NS: Final = 14 * 86_400 * SECOND_NS
"""How far ahead `plan` looks for an open window."""
_CLOSED: Final = Openings(())
_OVER: Final = DONE | {Standing.FAILED, Standing.LEFT}
_GATED: Final = frozenset({State.RUNNING, State.PAUSED, State.FINISHED})


@dataclass(slots=True)
class Windows:
    """What is open for whom, worked out once for each set of calendars.

    Attributes:
        calendars: By name.
        uses: Calendars of the site and of wards.
        now_ns: From when.
    """

    calendars: Mapping[str, Calendar]
    uses: Mapping[Group, Sequence[str]]
    now_ns: int
    _found: dict[frozenset[str], Openings] = field(default_factory=dict[frozenset[str], Openings])

    def of(self, running: Running, member: Member) -> Openings:
        """Return when a device may be updated; never, if a calendar is named that is not there."""
        return self.named(releasing.windows_of(running.spec, member, self.uses))

    def named(self, names: frozenset[str]) -> Openings:
        """Return when all of these calendars are open."""
        found = self._found.get(names)
        if found is None:
            known = [self.calendars[name] for name in sorted(names) if name in self.calendars]
            until_ns = self.now_ns + HORIZON_NS
            found = (
                openings(known, from_ns=self.now_ns, to_ns=until_ns)
                if len(known) == len(names)
                else _CLOSED
            )
            self._found[names] = found
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that is looked at for one campaign.

    Attributes:
        stored: The campaign.
        running: As the rules look at it.
        tallies: By wave.
        slots: Devices that hold a slot, with what the fleet knows of them.
        waiting: Devices for which there may be room, some of each group.
    """

    stored: Stored
    running: Running
    tallies: Mapping[int, Tally]
    slots: Sequence[tuple[Target, Member | None]] = ()
    waiting: Sequence[tuple[Target, Member]] = ()


@dataclass(slots=True, kw_only=True)
class Decision:
    """What happens to one campaign.

    Attributes:
        stored: The campaign as it stood.
        order: What it is told, None for nothing.
        wave: The wave that is open from now.
        reason: Why, for people.
        assign: Who gets a slot.
        recall: Whose slot is taken back, and why.
        free: Whose slot is free although it never said so.
    """

    stored: Stored
    order: Order | None = None
    wave: int
    reason: str = ""
    assign: list[str] = field(default_factory=list[str])
    recall: dict[str, str] = field(default_factory=dict[str, str])
    free: list[str] = field(default_factory=list[str])

    @property
    def changes(self) -> bool:
        """Whether anything happens."""
        opened = self.wave != self.stored.wave
        return bool(self.order or opened or self.assign or self.recall or self.free)


def decide(
    views: Sequence[View], load: Load, windows: Windows, *, held: frozenset[str], now_ns: int
) -> list[Decision]:
    """Return what happens now, oldest campaign first, emergencies before all others.

    Args:
        views: Every campaign that runs or holds slots.
        load: How many devices are away and ready; changed by what is given out.
        windows: What is open for whom.
        held: Devices that hold a slot, or wait for acceptance, of any campaign.
        now_ns: Present time, nanoseconds since 1970.
    """
    found: list[Decision] = []
    for view in sorted(views, key=_urgent_first):
        decision = judge(view, now_ns=now_ns)
        found.append(decision)
        _look_at_slots(view, decision, windows, now_ns=now_ns)
        if view.stored.state is State.RUNNING and decision.order is None:
            free = [
                (target, member)
                for target, member in view.waiting
                if load.free((member.ward, member.device_class)) > 0
                and releasing.hold(
                    view.running,
                    target,
                    member,
                    opened=windows.of(view.running, member),
                    now_ns=now_ns,
                )
                is None
            ]
            decision.assign = releasing.choose(free, load, held=held)
            held |= frozenset(decision.assign)
    return found


def judge(view: View, *, now_ns: int) -> Decision:
    """Say what the gates make of a campaign."""
    stored = view.stored
    decision = Decision(stored=stored, wave=stored.wave)
    if stored.state not in _GATED:
        return decision
    verdict, why = Verdict.PASS, ""
    opened = len(stored.spec.waves) if stored.emergency else stored.wave + 1
    for index in range(opened):
        tally = view.tallies.get(index, Tally(counts={}))
        verdict, why = waves.judge(stored.spec.waves[index].gate, tally, now_ns=now_ns)
        if verdict is Verdict.HALT:
            decision.order, decision.reason = Order.HALT, f"wave {index + 1}: {why}"
            return decision
    if stored.state is State.RUNNING and verdict is Verdict.PASS:
        _go_on(view, decision, why)
    return decision


def _go_on(view: View, decision: Decision, why: str) -> None:
    spec = view.stored.spec
    if view.stored.wave + 1 < len(spec.waves) and view.stored.emergency is None:
        decision.wave = view.stored.wave + 1
        decision.reason = f"wave {view.stored.wave + 1}: {why}"
    elif not spec.dynamic and all(
        standing in _OVER or not many
        for tally in view.tallies.values()
        for standing, many in tally.counts.items()
    ):
        decision.order, decision.reason = Order.FINISH, why


def _look_at_slots(view: View, decision: Decision, windows: Windows, *, now_ns: int) -> None:
    groups = {(member.ward, member.device_class) for _, member in view.waiting}
    for target, member in view.slots:
        if target.standing is Standing.RECALLED:
            seen_ns = member.seen_ns if member else 0
            if releasing.freed(target, seen_ns=seen_ns, now_ns=now_ns):
                decision.free.append(target.device)
        elif target.standing is Standing.ASSIGNED:
            why = releasing.recall(
                view.running,
                target,
                member,
                opened=windows.of(view.running, member) if member else _CLOSED,
                others_wait=member is not None and (member.ward, member.device_class) in groups,
                now_ns=now_ns,
            )
            if why or (decision.order is Order.HALT and target.outcome not in releasing.STARTED):
                decision.recall[target.device] = why or decision.reason


def _urgent_first(view: View) -> tuple[bool, int, str]:
    return view.stored.emergency is None, view.stored.created_ns, view.stored.name
