"""What waits for a device: signed, for it, answering its challenge, once, for a minute."""

import asyncio
import os

import pytest

from asepsis.core.errors import Conflict, FramingError, InputError, NotPermitted, RateLimited
from asepsis.core.wire import gate_request
from asepsis.core.wire.gate_request import LimitRequest, device_tag
from asepsis.hub.registry.requests.mailboxes import (
    CHALLENGE_NS,
    WAIT_NS,
    WAITING_MAX,
    Mailboxes,
    Told,
)

DEVICE = "urn:dev:mac:0000000000000001"
CHALLENGE = bytes(range(16))


class Clock:
    """A monotonic clock that a test sets."""

    now_ns = 1

    def __call__(self) -> int:
        return self.now_ns


def frame(*, device: str = DEVICE, challenge: bytes = CHALLENGE, signature: int = 64) -> bytes:
    request = LimitRequest(
        handle=1,
        low=50,
        high=120,
        device=device_tag(device),
        challenge=challenge,
        request_id=os.urandom(8),
    )
    return gate_request.encode(request) + bytes(signature)


def told(name: str) -> Told:
    return Told(request_id=name, verdict="accepted", reason="", at_ns=5)


def taken(boxes: Mailboxes) -> list[bytes]:
    return [one.frame for one in asyncio.run(boxes.take(DEVICE, wait_s=0))]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def boxes(clock: Clock) -> Mailboxes:
    found = Mailboxes(clock, on=True)
    found.hear(DEVICE, CHALLENGE, ())
    return found


def test_a_hub_carries_nothing_unless_it_was_told_to(clock: Clock) -> None:
    with pytest.raises(NotPermitted, match="carries no requests"):
        Mailboxes(clock, on=False).require_on()
    Mailboxes(clock, on=True).require_on()


def test_a_request_is_given_once_and_its_outcome_is_kept(boxes: Mailboxes) -> None:
    asked = frame()
    name = boxes.put(DEVICE, asked)
    assert boxes.waiting(DEVICE) == (name,)
    assert taken(boxes) == [asked]
    assert taken(boxes) == []
    boxes.hear(DEVICE, CHALLENGE, (told(name), told("ff" * 8)))  # The other was never carried.
    assert boxes.outcomes(DEVICE) == (told(name),)
    with pytest.raises(Conflict, match="already"):
        boxes.put(DEVICE, asked)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (b"", FramingError),
        (frame(signature=0), InputError),
        (frame(device="urn:dev:mac:0000000000000002"), InputError),
        (frame(challenge=bytes(16)), Conflict),
    ],
    ids=["no frame", "not signed", "another device", "another challenge"],
)
def test_what_cannot_count_does_not_wait(
    boxes: Mailboxes, wrong: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        boxes.put(DEVICE, wrong)
    assert boxes.waiting(DEVICE) == ()


def test_little_waits_and_not_for_long(boxes: Mailboxes, clock: Clock) -> None:
    for _ in range(WAITING_MAX):
        boxes.put(DEVICE, frame())
    with pytest.raises(RateLimited):
        boxes.put(DEVICE, frame())
    clock.now_ns += WAIT_NS
    assert boxes.waiting(DEVICE) == ()
    assert taken(boxes) == []
    clock.now_ns += CHALLENGE_NS
    assert boxes.challenge(DEVICE) == b""
    with pytest.raises(Conflict):
        boxes.put(DEVICE, frame())


def test_a_device_that_never_asked_or_was_revoked_gets_nothing(boxes: Mailboxes) -> None:
    boxes.put(DEVICE, frame())
    boxes.drop(DEVICE)
    with pytest.raises(Conflict):
        boxes.put(DEVICE, frame())
    assert boxes.outcomes(DEVICE) == ()


def test_what_comes_ends_the_wait(boxes: Mailboxes) -> None:
    async def both() -> int:
        waiting = asyncio.create_task(boxes.take(DEVICE, wait_s=20))
        await asyncio.sleep(0)
        boxes.put(DEVICE, frame())
        return len(await waiting)

    assert asyncio.run(both()) == 1
