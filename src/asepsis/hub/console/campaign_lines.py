"""What a page says of a campaign, line by line. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.hub.console.lines import Word
from asepsis.hub.console.words import GATES, STANDINGS, said
from asepsis.hub.fleet.campaigns import states
from asepsis.hub.fleet.campaigns.model import Order, Standing, State, Tally
from asepsis.hub.fleet.campaigns.planning import Line, Overview
from asepsis.hub.fleet.campaigns.service import Proposal

ORDERS: Final = (
    (Order.START, "Start", "primary"),
    (Order.PAUSE, "Pause", ""),
    (Order.RESUME, "Resume", "primary"),
    (Order.HALT, "Halt", "danger"),
)
"""What a page offers of the orders, with their words and looks."""
_DECIDES: Final = {
    Standing.AWAITING_ACCEPTANCE: "accept",
    Standing.FAILED: "retry",
    Standing.LEFT: "retry",
    Standing.PENDING: "leave",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveLine:
    """A wave in a table.

    Attributes:
        number: From 1.
        kind: Bench, canary, ward or site.
        open: Whether it has begun.
        counts: Words and numbers of its devices.
        done: How many are verified.
        total: How many it has.
        gate: What its gate says.
        why: The gate's reason.
    """

    number: int
    kind: str
    open: bool
    counts: Sequence[tuple[Word, int]]
    done: int
    total: int
    gate: Word
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """A device of a campaign in a table.

    Attributes:
        device: Its name.
        place: Ward, empty if nobody said.
        kind: Class, empty if nobody said.
        wave: From 1.
        standing: In words.
        why: Why it waits or failed, or what the device said.
        next_ns: First moment at which its calendars let it begin; None if that says nothing.
        decides: What a person may decide about it: `accept`, `retry`, `leave` or empty.
        since_ns: Since when it stands so.
    """

    device: str
    place: str
    kind: str
    wave: int
    standing: Word
    why: str
    next_ns: int | None
    decides: str
    since_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyLine:
    """A proposal that waits for the second person.

    Attributes:
        proposal: What it says.
        mine: Whether the one who looks proposed it, and so cannot confirm.
    """

    proposal: Proposal
    mine: bool


def orders_of(state: State) -> list[tuple[Order, str, str]]:
    """Return the orders that a campaign takes in a state, with words and looks."""
    return [one for one in ORDERS if (state, one[0]) in states.CAMPAIGN]


def takes(state: State, order: Order) -> bool:
    """Say whether a campaign takes an order in a state."""
    return (state, order) in states.CAMPAIGN


def emergency_line(proposals: Sequence[Proposal], *, me: str) -> EmergencyLine | None:
    """Return the newest proposal that waits; one of somebody else goes first."""
    if not proposals:
        return None
    others = [one for one in proposals if one.person != me]
    newest = (others or proposals)[-1]
    return EmergencyLine(proposal=newest, mine=not others)


def wave_lines(one: Overview) -> list[WaveLine]:
    """Return the waves of a campaign."""
    lines: list[WaveLine] = []
    for index, wave in enumerate(one.stored.spec.waves):
        tally = one.tallies.get(index, Tally(counts={}))
        verdict, why = one.gates[index]
        lines.append(
            WaveLine(
                number=index + 1,
                kind=wave.kind.name.lower(),
                open=one.stored.state is not State.DRAFT and index <= one.stored.wave,
                counts=[(STANDINGS[s], tally.counts[s]) for s in Standing if tally.counts.get(s)],
                done=tally.verified,
                total=tally.total,
                gate=GATES[verdict],
                why=why,
            )
        )
    return lines


def device_lines(lines: Sequence[Line]) -> list[DeviceLine]:
    """Return the devices of a plan."""
    return [_device(one) for one in lines]


def _device(one: Line) -> DeviceLine:
    target, member = one.target, one.member
    return DeviceLine(
        device=target.device,
        place=member.ward if member else "",
        kind=member.device_class if member else "",
        wave=target.wave + 1,
        standing=STANDINGS[target.standing],
        why=one.reason.text if one.reason else target.reason or said(target),
        next_ns=one.next_ns if target.standing is Standing.PENDING else None,
        decides=_DECIDES.get(target.standing, ""),
        since_ns=target.since_ns,
    )
