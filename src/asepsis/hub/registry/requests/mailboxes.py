"""What waits for each device, and what each device said of it. In memory, for one event loop.

A request answers a challenge that the device makes anew every minute, so nothing here is worth
keeping over a restart: whoever asked sees no outcome and asks again. Nothing is acknowledged but
that it waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import Conflict, InputError, NotPermitted, RateLimited
from asepsis.core.wire import gate_request

WAIT_NS: Final = 60 * 10**9
"""How long a request waits for its device; the challenge in it is good for two minutes at most."""
CHALLENGE_NS: Final = 90 * 10**9
"""How long a challenge that a device told is answered here."""
WAITING_MAX: Final = 4
OUTCOMES_KEPT: Final = 16
DEVICES_MAX: Final = 20_000
SIGNED: Final = "signed-alarm-limit"
"""The one request that is carried; who brings it counts for nothing, its signature does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request that waits for its device.

    Attributes:
        request_id: Its name, hexadecimal.
        frame: The bytes.
        until_ns: Monotonic time until which it waits.
    """

    request_id: str
    frame: bytes
    until_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a device's network compartment said became of a request; hearsay.

    Attributes:
        request_id: Which.
        verdict: `accepted`, `refused` or `waits`.
        reason: Why it was refused.
        at_ns: When, nanoseconds since 1970.
    """

    request_id: str
    verdict: str
    reason: str
    at_ns: int


@dataclass(slots=True)
class _Mailbox:
    challenge: bytes = b""
    told_ns: int = 0
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    carried: deque[str] = field(default_factory=lambda: deque[str](maxlen=OUTCOMES_KEPT))
    outcomes: deque[Told] = field(default_factory=lambda: deque[Told](maxlen=OUTCOMES_KEPT))
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Mailboxes:
    """One for each device that asks for its requests.

    Args:
        monotonic: Monotonic clock, nanoseconds.
        on: Whether this hub carries requests at all.
    """

    def __init__(self, monotonic: Callable[[], int], *, on: bool) -> None:
        self._monotonic = monotonic
        self._on = on
        self._boxes: dict[str, _Mailbox] = {}

    def require_on(self) -> None:
        """Check that this hub carries requests.

        Raises:
            NotPermitted: It does not.
        """
        if not self._on:
            raise NotPermitted(
                "this hub carries no requests to devices",
                hint="carry_requests = true under [devices] in hub.toml turns it on",
            )

    def put(self, device: str, frame: bytes) -> str:
        """Let a request wait for its device; returns its name.

        Raises:
            InputError: Not a signed request, or one to another device.
            Conflict: It answers no challenge that this device told, or was asked already.
            RateLimited: Too many wait.
        """
        request, signature = gate_request.decode(frame)
        if not signature:
            raise InputError("only what an operator signed is carried to a device")
        if request.device != gate_request.device_tag(device):
            raise InputError("the request is meant for another device")
        box = self._boxes.get(device)
        challenge = self.challenge(device)
        if box is None or not challenge or request.challenge != challenge:
            raise Conflict(
                "it answers no challenge of this device that is known here",
                hint="ask for the challenge first; a device tells one only if it takes requests",
            )
        name = request.request_id.hex()
        if name in box.carried:
            raise Conflict("this request was asked already")
        now_ns = self._monotonic()
        box.waiting = [one for one in box.waiting if one.until_ns > now_ns]
        if len(box.waiting) >= WAITING_MAX:
            raise RateLimited(f"at most {WAITING_MAX} requests wait for a device")
        box.carried.append(name)
        box.waiting.append(Waiting(request_id=name, frame=frame, until_ns=now_ns + WAIT_NS))
        box.arrived.set()
        return name

    def hear(self, device: str, challenge: bytes, outcomes: Iterable[Told]) -> None:
        """Take what a device says of itself.

        Raises:
            RateLimited: Too many devices.
        """
        box = self._boxes.get(device)
        if box is None:
            if len(self._boxes) >= DEVICES_MAX:
                raise RateLimited("too many devices ask for requests")
            box = self._boxes.setdefault(device, _Mailbox())
        box.challenge, box.told_ns = challenge, self._monotonic()
        for one in outcomes:
            if one.request_id in box.carried:
                box.outcomes.append(one)

    async def take(self, device: str, *, wait_s: float) -> list[Waiting]:
        """Return what waits for a device, waiting a moment for something; each is given once."""
        box = self._boxes[device]
        if not box.waiting:
            box.arrived.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await box.arrived.wait()
            except TimeoutError:
                return []
        now_ns = self._monotonic()
        found = [one for one in box.waiting if one.until_ns > now_ns]
        box.waiting = []
        return found

    def challenge(self, device: str) -> bytes:
        """Return the challenge that a device told last; empty where it told none lately."""
        box = self._boxes.get(device)
        if box is None or self._monotonic() - box.told_ns > CHALLENGE_NS:
            return b""
        return box.challenge

    def outcomes(self, device: str) -> tuple[Told, ...]:
        """Return what a device said of its requests, newest last."""
        box = self._boxes.get(device)
        return tuple(box.outcomes) if box else ()

    def waiting(self, device: str) -> tuple[str, ...]:
        """Return the names of what waits for a device."""
        now_ns = self._monotonic()
        box = self._boxes.get(device)
        return tuple(one.request_id for one in box.waiting if one.until_ns > now_ns) if box else ()

    def drop(self, device: str) -> None:
        """Forget a device that was revoked."""
        self._boxes.pop(device, None)
