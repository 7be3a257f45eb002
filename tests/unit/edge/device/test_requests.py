"""Requests to the critical compartment: what it takes, and everything it refuses."""

from itertools import count

import pytest

from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import Confirmation
from asepsis.core.trust import libcrypto
from asepsis.core.wire import gate_request
from asepsis.core.wire.gate_request import LimitRequest, code_of, device_tag, encode
from asepsis.edge.device import models
from asepsis.edge.device.requests import (
    CHALLENGE_S,
    CONFIRM_S,
    STATES,
    Asked,
    Bedside,
    Outcome,
    Reason,
    RequestDesk,
    Verdict,
)

HEART = models.HEART_RATE.handle
OXYGEN = models.SATURATION.handle
TAG = device_tag("urn:dev:mac:0012210000000001")
KEY = libcrypto.generate_key()
CONFIRMED_BY = {
    "limit": Confirmation.BEDSIDE,
    "signed": Confirmation.OPERATOR_SIGNATURE,
    "free": Confirmation.NOTHING,
}


def desk(*, operator: bool = True) -> RequestDesk:
    numbers = count(1)
    return RequestDesk(
        models.MONITOR,
        device=TAG,
        confirmed_by=CONFIRMED_BY,
        verify=(lambda s, m: libcrypto.verify(KEY.spki_der, s, m)) if operator else None,
        fresh=lambda: next(numbers).to_bytes(16, "big"),
    )


def now(
    s: float = 100.0,
    *,
    state: ClinicalState = ClinicalState.IN_USE,
    alarming: frozenset[int] = frozenset(),
) -> Bedside:
    return Bedside(now_s=s, state=state, alarming=alarming)


def frame(
    handle: int = HEART,
    *,
    low: float | None = 45,
    high: float | None = 130,
    challenge: bytes = gate_request.NO_CHALLENGE,
    device: bytes = TAG,
    key: libcrypto.PrivateKey | None = None,
) -> bytes:
    plain = encode(
        LimitRequest(
            handle=handle,
            low=low,
            high=high,
            device=device,
            challenge=challenge,
            request_id=bytes(8),
        )
    )
    return plain + key.sign(plain) if key else plain


def ask(on: RequestDesk, data: bytes, bedside: Bedside, *, name: str = "limit") -> Outcome:
    return on.take(Asked(name=name, asker="network", frame=data), bedside)


def reason(on: RequestDesk, data: bytes, bedside: Bedside, *, name: str = "limit") -> Reason | None:
    outcome = ask(on, data, bedside, name=name)
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.limit is None
    return outcome.reason


def test_a_request_counts_only_once_a_person_has_confirmed_these_very_bytes() -> None:
    on = desk()
    data = frame()
    assert ask(on, data, now()).verdict is Verdict.WAITS
    assert on.code == code_of(data)
    assert on.confirm("000000", now()) is None
    assert on.confirm(code_of(frame(high=131)), now()) is None
    done = on.confirm(code_of(data), now())
    assert done
    assert done.verdict is Verdict.ACCEPTED
    assert done.limit == models.MONITOR.limits[0]._replace(low=45, high=130)
    assert on.confirm(code_of(data), now()) is None


def test_a_person_refuses_and_a_person_who_does_not_come_refuses_too() -> None:
    on = desk()
    ask(on, frame(), now(0))
    refused = on.refuse(on.code)
    assert refused
    assert refused.reason is Reason.PERSON
    ask(on, frame(), now(0))
    assert on.expire(CONFIRM_S - 0.1) is None
    code = on.code
    late = on.confirm(code, now(CONFIRM_S))
    assert late
    assert late.reason is Reason.NOBODY
    ask(on, frame(), now(0))
    overdue = on.expire(CONFIRM_S)
    assert overdue
    assert overdue.reason is Reason.NOBODY
    assert not on.waits


def test_one_request_waits_at_a_time_and_the_patient_may_leave_meanwhile() -> None:
    on = desk()
    ask(on, frame(), now())
    assert reason(on, frame(high=125), now()) is Reason.BUSY
    left = on.confirm(on.code, now(state=ClinicalState.IDLE))
    assert left
    assert left.reason is Reason.STATE


def test_an_operators_signature_over_the_present_challenge_counts_once() -> None:
    on = desk()
    data = frame(challenge=on.challenge(100), key=KEY)
    assert ask(on, data, now(), name="signed").verdict is Verdict.ACCEPTED
    assert reason(on, data, now(), name="signed") is Reason.STALE


def test_a_challenge_counts_for_two_minutes_at_most_even_if_nobody_looked() -> None:
    on = desk()
    first = on.challenge(0)
    second = on.challenge(CHALLENGE_S)
    assert first != second
    data = frame(challenge=first, key=KEY)
    late = now(2 * CHALLENGE_S)
    assert reason(on, data, late, name="signed") is Reason.STALE
    on = desk()
    data = frame(challenge=on.challenge(0), key=KEY)
    assert ask(on, data, now(2 * CHALLENGE_S - 1), name="signed").verdict is Verdict.ACCEPTED
    on = desk()
    data = frame(challenge=on.challenge(0), key=KEY)
    assert reason(on, data, now(3_600), name="signed") is Reason.STALE


def test_a_forged_signature_is_refused_and_spends_no_challenge() -> None:
    on = desk()
    challenge = on.challenge(100)
    stranger = libcrypto.generate_key()
    changed = bytearray(frame(challenge=challenge, key=KEY))
    changed[11] ^= 1
    for data in (
        frame(challenge=challenge, key=stranger),
        frame(challenge=challenge),
        bytes(changed),
    ):
        assert reason(on, data, now(), name="signed") is Reason.SIGNATURE
    good = frame(challenge=challenge, key=KEY)
    assert ask(on, good, now(), name="signed").verdict is Verdict.ACCEPTED


def test_without_an_operators_key_no_signature_counts() -> None:
    on = desk(operator=False)
    data = frame(challenge=on.challenge(100), key=KEY)
    assert reason(on, data, now(), name="signed") is Reason.NO_OPERATOR


def test_from_afar_nobody_wishes_an_active_condition_away() -> None:
    on = desk()
    data = frame(challenge=on.challenge(100), key=KEY)
    alarming = now(alarming=frozenset({HEART}))
    assert reason(on, data, alarming, name="signed") is Reason.ALARM_ACTIVE
    assert ask(on, frame(), alarming).verdict is Verdict.WAITS


@pytest.mark.parametrize("name", ["free", "unknown", ""])
def test_what_nothing_confirms_or_nobody_declared_is_off(name: str) -> None:
    assert reason(desk(), frame(), now(), name=name) is Reason.OFF


@pytest.mark.parametrize("state", list(ClinicalState))
def test_limits_belong_to_a_patient(state: ClinicalState) -> None:
    outcome = ask(desk(), frame(), now(state=state))
    assert outcome.reason is STATES[state]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"nonsense", Reason.MALFORMED),
        (frame(device=bytes(16)), Reason.OTHER_DEVICE),
        (frame(99), Reason.NO_LIMIT),
        (frame(OXYGEN, low=88, high=100), Reason.SIDE),
        (frame(OXYGEN, low=None, high=None), Reason.SIDE),
        (frame(low=None), Reason.SIDE),
        (frame(low=120, high=60), Reason.ORDER),
        (frame(low=39), Reason.EXTREME),
        (frame(high=141), Reason.EXTREME),
        (frame(OXYGEN, low=84, high=None), Reason.EXTREME),
    ],
)
def test_no_request_switches_a_limit_off_or_moves_those_of_high_priority(
    data: bytes, expected: Reason
) -> None:
    on = desk()
    assert reason(on, data, now()) is expected
    assert not on.waits


def test_the_next_patient_has_the_factorys_limits() -> None:
    on = desk()
    ask(on, frame(low=41, high=139), now())
    on.confirm(on.code, now())
    on.reset(models.MONITOR.limits)
    waiting = ask(on, frame(low=40, high=140), now())
    assert waiting.limit == models.MONITOR.limits[0]._replace(low=40, high=140)
