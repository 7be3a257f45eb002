"""What pages call the states of campaigns and of their devices. Pure."""

from collections.abc import Mapping
from typing import Final

from asepsis.core.model.update import WaitsFor
from asepsis.hub.console.lines import Word
from asepsis.hub.fleet.campaigns.model import Standing, State, Target

STATES: Final[Mapping[State, Word]] = {
    State.DRAFT: Word("draft"),
    State.RUNNING: Word("running", "good"),
    State.PAUSED: Word("paused", "warn"),
    State.HALTED: Word("halted", "bad"),
    State.FINISHED: Word("finished", "good"),
    State.SUPERSEDED: Word("superseded"),
    State.ROLLED_BACK: Word("rolled back"),
}
STANDINGS: Final[Mapping[Standing, Word]] = {
    Standing.PENDING: Word("waits"),
    Standing.ASSIGNED: Word("has a slot", "info"),
    Standing.RECALLED: Word("slot taken back", "warn"),
    Standing.VERIFIED: Word("verified", "good"),
    Standing.AWAITING_ACCEPTANCE: Word("awaits acceptance", "warn"),
    Standing.ACCEPTED: Word("accepted", "good"),
    Standing.FAILED: Word("failed", "bad"),
    Standing.LEFT: Word("left out"),
}
GATES: Final[Mapping[str, Word]] = {
    "wait": Word("waits"),
    "pass": Word("passes", "good"),
    "halt": Word("halts", "bad"),
}


_WAITS: Final[Mapping[WaitsFor, str]] = {
    WaitsFor.CLINICAL_STATE: "in use",
    WaitsFor.PATIENT: "a patient is associated",
    WaitsFor.WINDOW: "outside its window",
    WaitsFor.POWER: "not on mains power",
    WaitsFor.CONNECTIVITY: "connection not steady",
    WaitsFor.CONSENT: "a person at the device has not agreed",
    WaitsFor.OUT_OF_SERVICE: "a person has to take it out of service",
    WaitsFor.TIME: "no trusted time",
    WaitsFor.PERMIT: "its critical part gives no permit",
    WaitsFor.BANDWIDTH: "bandwidth budget used up",
}


def said(target: Target) -> str:
    """Return what a device said last about its update, in words; empty before it said anything."""
    if target.outcome is None:
        return ""
    words = target.outcome.value.replace("-", " ")
    return f"{words}: {_WAITS[target.waits_for]}" if target.waits_for else words
