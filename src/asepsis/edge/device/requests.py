"""What the critical compartment does with a request: it may refuse, and mostly it does. Pure.

Nothing here asks who brought it. A request counts if a person at the device confirmed exactly these
bytes, or if an operator's signature over them answers a challenge that this compartment made a
moment ago. Whatever is wrong with it, the limits stay as they are.

Source: IEC 60601-1-8 clause 6.6.2 (alarm limits); CLAIM-REQUEST-001.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import Confirmation
from asepsis.core.wire import gate_request
from asepsis.core.wire.gate_request import LimitRequest
from asepsis.edge.device.catalogue import Limit, Model

CONFIRM_S: Final = 30.0
"""How long a request waits for a person, seconds."""
CHALLENGE_S: Final = 60.0
"""How long a challenge is the newest one, seconds; the one before it still counts."""


class Verdict(StrEnum):
    """What became of a request."""

    WAITS = "waits"
    """For a person at the device."""
    ACCEPTED = "accepted"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why the critical compartment refuses; the words are stable."""

    OFF = "this device takes no such request"
    MALFORMED = "not a request"
    OTHER_DEVICE = "it is meant for another device"
    STATE = "no patient is monitored now"
    NO_LIMIT = "this numeric has no alarm limits"
    SIDE = "a limit would be switched off, or one would be added"
    ORDER = "the lower limit is not below the upper one"
    EXTREME = "beyond the limits of high priority, which no request can move"
    ALARM_ACTIVE = "an alarm condition of this numeric is active"
    BUSY = "another request waits for a person"
    NO_OPERATOR = "no operator's key is installed"
    SIGNATURE = "the operator's signature does not hold"
    STALE = "it answers no challenge of the last two minutes, or one that was answered already"
    PERSON = "a person at the device refused it"
    NOBODY = "nobody confirmed it in time"


STATES: Final[Mapping[ClinicalState, Reason | None]] = {
    ClinicalState.IN_USE: None,
    ClinicalState.ALARMING: None,
    ClinicalState.STANDBY: None,
    # Limits belong to a patient: what is asked for nobody would greet the next one.
    ClinicalState.IDLE: Reason.STATE,
    ClinicalState.CLEANING: Reason.STATE,
    ClinicalState.MAINTENANCE: Reason.STATE,
}
"""In which clinical states limits can be asked for; the reason where they cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as the supervisor's gate handed it in.

    Attributes:
        name: Name of the request in the manifest.
        asker: Compartment, or `panel`; for people and the record only, it gives no right.
        frame: The bytes.
    """

    name: str
    asker: str
    frame: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a request.

    Attributes:
        asked: Which.
        verdict: What.
        reason: Why it was refused.
        request: What it asks for, if that could be read.
        limit: The limits that hold from now on, where it was accepted; the limits asked for where
            it waits.
    """

    asked: Asked
    verdict: Verdict
    reason: Reason | None = None
    request: LimitRequest | None = None
    limit: Limit | None = None

    @property
    def request_id(self) -> str:
        """Name of the request, hexadecimal; empty where it could not be read."""
        return self.request.request_id.hex() if self.request else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bedside:
    """What the desk is told of the present.

    Attributes:
        now_s: Monotonic time, seconds.
        state: Clinical state.
        alarming: Numerics with an active physiological condition.
    """

    now_s: float
    state: ClinicalState
    alarming: frozenset[int]


class _RefusalError(Exception):
    """Carries a reason out of the checks."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Waiting:
    outcome: Outcome
    code: str
    until_s: float


class RequestDesk:
    """Judges requests; knows the one that waits, and the limits in force.

    Args:
        model: Numerics and factory limits.
        device: `device_tag` of this device.
        confirmed_by: Request -> what it needs; one that is not named is off.
        verify: Raises AsepsisError unless a signature over bytes is the operator's; None where no
            operator's key is installed.
        fresh: Makes a challenge.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: bytes,
        confirmed_by: Mapping[str, Confirmation],
        verify: Callable[[bytes, bytes], None] | None,
        fresh: Callable[[], bytes],
    ) -> None:
        self._limits = {limit.handle: limit for limit in model.limits}
        self._device = device
        self._confirmed_by = confirmed_by
        self._verify = verify
        self._fresh = fresh
        self._made: dict[bytes, float] = {}
        self._waiting: _Waiting | None = None

    @property
    def waits(self) -> bool:
        """Whether a request waits for a person."""
        return self._waiting is not None

    @property
    def code(self) -> str:
        """The code that confirms the request that waits; empty if none does."""
        return self._waiting.code if self._waiting else ""

    def challenge(self, now_s: float) -> bytes:
        """Return the challenge that an operator's signature answers now."""
        self._made = {c: at_s for c, at_s in self._made.items() if now_s - at_s < 2 * CHALLENGE_S}
        newest = next(reversed(self._made), None)
        if newest is None or now_s - self._made[newest] >= CHALLENGE_S:
            newest = self._fresh()
            self._made[newest] = now_s
        return newest

    def reset(self, limits: tuple[Limit, ...]) -> None:
        """Put limits in force for the next patient; a request that waits waits on."""
        self._limits = {limit.handle: limit for limit in limits}

    def take(self, asked: Asked, bedside: Bedside) -> Outcome:
        """Judge a request.

        Returns:
            Accepted, and the caller applies it; waits for `confirm`; or refused.
        """
        request: LimitRequest | None = None
        try:
            needs = self._needs(asked)
            request, signature = _read(asked.frame)
            limit = self._judge(request, bedside)
            if needs is Confirmation.BEDSIDE:
                return self._wait(asked, request, limit, bedside.now_s)
            self._require_operator(request, asked.frame, signature, bedside)
        except _RefusalError as refusal:
            return _refused(asked, refusal.reason, request)
        self._limits[request.handle] = limit
        return Outcome(asked=asked, verdict=Verdict.ACCEPTED, request=request, limit=limit)

    def confirm(self, code: str, bedside: Bedside) -> Outcome | None:
        """Take a person's yes to the request with this code; None if no such request waits."""
        waiting = self._taken(code)
        if waiting is None or waiting.outcome.request is None:
            return None
        found = waiting.outcome
        request = waiting.outcome.request
        if bedside.now_s >= waiting.until_s:
            return _refused(found.asked, Reason.NOBODY, request)
        try:
            limit = self._judge(request, bedside)  # The patient may have changed since.
        except _RefusalError as refusal:
            return _refused(found.asked, refusal.reason, request)
        self._limits[request.handle] = limit
        return Outcome(asked=found.asked, verdict=Verdict.ACCEPTED, request=request, limit=limit)

    def refuse(self, code: str) -> Outcome | None:
        """Take a person's no to the request with this code; None if no such request waits."""
        waiting = self._taken(code)
        if waiting is None:
            return None
        return _refused(waiting.outcome.asked, Reason.PERSON, waiting.outcome.request)

    def expire(self, now_s: float) -> Outcome | None:
        """Refuse what nobody confirmed in time; None if nothing is overdue."""
        waiting = self._waiting
        if waiting is None or now_s < waiting.until_s:
            return None
        self._waiting = None
        return _refused(waiting.outcome.asked, Reason.NOBODY, waiting.outcome.request)

    def _needs(self, asked: Asked) -> Confirmation:
        needs = self._confirmed_by.get(asked.name)
        if needs is None or needs is Confirmation.NOTHING:
            raise _RefusalError(Reason.OFF)
        return needs

    def _taken(self, code: str) -> _Waiting | None:
        waiting = self._waiting
        if waiting is None or not hmac.compare_digest(waiting.code.encode(), code.encode()):
            return None
        self._waiting = None
        return waiting

    def _judge(self, request: LimitRequest, bedside: Bedside) -> Limit:
        if request.device != self._device:
            raise _RefusalError(Reason.OTHER_DEVICE)
        reason = STATES[bedside.state]
        if reason:
            raise _RefusalError(reason)
        return wanted(self._limits.get(request.handle), request)

    def _wait(self, asked: Asked, request: LimitRequest, limit: Limit, now_s: float) -> Outcome:
        if self._waiting:
            raise _RefusalError(Reason.BUSY)
        outcome = Outcome(asked=asked, verdict=Verdict.WAITS, request=request, limit=limit)
        self._waiting = _Waiting(outcome, gate_request.code_of(asked.frame), now_s + CONFIRM_S)
        return outcome

    def _require_operator(
        self, request: LimitRequest, frame: bytes, signature: bytes, bedside: Bedside
    ) -> None:
        """From afar nobody sees the patient: so an active condition cannot be wished away."""
        if request.handle in bedside.alarming:
            raise _RefusalError(Reason.ALARM_ACTIVE)
        if self._verify is None:
            raise _RefusalError(Reason.NO_OPERATOR)
        self.challenge(bedside.now_s)
        if request.challenge not in self._made:
            raise _RefusalError(Reason.STALE)
        try:
            self._verify(signature, frame[: gate_request.REQUEST_BYTES])
        except AsepsisError as error:
            raise _RefusalError(Reason.SIGNATURE) from error
        # One challenge, one request: what was signed once cannot be brought a second time.
        del self._made[request.challenge]


def wanted(present: Limit | None, request: LimitRequest) -> Limit:
    """Return the limits that a request would put in force, or refuse.

    The limits of high priority stay: no request moves them, and none switches a limit off.
    """
    if present is None:
        raise _RefusalError(Reason.NO_LIMIT)
    if (present.low is None, present.high is None) != (request.low is None, request.high is None):
        raise _RefusalError(Reason.SIDE)
    low, high = request.low, request.high
    if low is not None and high is not None and low >= high:
        raise _RefusalError(Reason.ORDER)
    if low is not None and present.low_extreme is not None and low < present.low_extreme:
        raise _RefusalError(Reason.EXTREME)
    if high is not None and present.high_extreme is not None and high > present.high_extreme:
        raise _RefusalError(Reason.EXTREME)
    return present._replace(low=low, high=high)


def _read(frame: bytes) -> tuple[LimitRequest, bytes]:
    try:
        return gate_request.decode(frame)
    except AsepsisError as error:
        raise _RefusalError(Reason.MALFORMED) from error


def _refused(asked: Asked, reason: Reason, request: LimitRequest | None) -> Outcome:
    return Outcome(asked=asked, verdict=Verdict.REFUSED, reason=reason, request=request)
