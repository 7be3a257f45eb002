"""Which device is in which wave, and what a wave must show before the next one begins."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from asepsis.core.errors import InputError
from asepsis.hub.fleet.campaigns.model import Gate, Kind, Member, Selector, Spec, Standing, Tally

SECOND_NS: Final = 1_000_000_000


class Verdict(StrEnum):
    """What a gate says."""

    WAIT = "wait"
    PASS = "pass"  # noqa: S105 - no password: the gate lets the next wave begin
    HALT = "halt"


def matches(selector: Selector, member: Member) -> bool:
    """Whether a campaign is about a device."""
    narrowed = (
        (selector.devices, member.device),
        (selector.models, member.model),
        (selector.classes, member.device_class),
        (selector.wards, member.ward),
    )
    return all(not wanted or value in wanted for wanted, value in narrowed) and all(
        member.attributes.get(key) == value for key, value in selector.attributes.items()
    )


def placed(spec: Spec, members: Iterable[Member]) -> dict[str, int]:
    """Return in which wave each device of a new campaign is; the first wave that fits counts.

    Raises:
        InputError: A wave has no device: its gate would say nothing.
    """
    found: dict[str, int] = {}
    canaries = Counter[tuple[int, str, str]]()
    for member in sorted((m for m in members if matches(spec.select, m)), key=_shuffled):
        index = _wave(spec, member, canaries)
        if index is not None:
            found[member.device] = index
    empty = set(range(len(spec.waves))) - set(found.values())
    if empty:
        first = min(empty)
        raise InputError(
            f"wave {first + 1} ({spec.waves[first].kind.name.lower()}) has no device",
            hint="see `asepsis campaign members` for models, classes and wards",
        )
    return found


def joined(spec: Spec, member: Member) -> int | None:
    """Return the wave of a device that comes to match later; None for none. Never a canary."""
    if not (spec.dynamic and matches(spec.select, member)):
        return None
    return _wave(spec, member, None)


def judge(gate: Gate, tally: Tally, *, now_ns: int) -> tuple[Verdict, str]:
    """Say whether a wave lets the next one begin, must be waited for, or halts the campaign."""
    failed = tally.of(Standing.FAILED) - tally.forgiven
    if failed > gate.failed_max:
        return Verdict.HALT, f"{failed} failed, at most {gate.failed_max} may"
    needed = -(-tally.total * gate.verified_percent // 100)
    if tally.verified < needed:
        return Verdict.WAIT, f"{tally.verified} of {needed} verified"
    watched_s = (now_ns - tally.newest_ns) // SECOND_NS
    if tally.newest_ns and watched_s < gate.observe_s:
        return Verdict.WAIT, f"observed for {watched_s} of {gate.observe_s} s"
    return Verdict.PASS, f"{tally.verified} of {tally.total} verified"


def _wave(spec: Spec, member: Member, canaries: Counter[tuple[int, str, str]] | None) -> int | None:
    for index, wave in enumerate(spec.waves):
        if wave.kind is Kind.BENCH:
            if member.device in wave.devices:
                return index
        elif wave.wards and member.ward not in wave.wards:
            continue
        elif wave.kind is not Kind.CANARY:
            return index
        elif canaries is not None:
            key = index, member.model, member.ward
            if canaries[key] < wave.each:
                canaries[key] += 1
                return index
    return None


def _shuffled(member: Member) -> bytes:
    """Order devices so that canaries are not always the oldest of a series."""
    return hashlib.sha256(member.device.encode()).digest()
