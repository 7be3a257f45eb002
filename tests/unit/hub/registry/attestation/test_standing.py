"""How a device stands in words: nothing old is told as present, "running" never without a log."""

from dataclasses import replace

import pytest

from asepsis.hub.registry.attestation.standing import (
    FRESH_NS,
    TONES,
    Device,
    State,
    words,
)

DEVICE = Device(name="urn:dev:mac:0000000000000001", person="anna", opened_ns=0, until_ns=100)
BOUND = replace(DEVICE, ak=b"key", until_ns=0)
RUNNING = replace(BOUND, standing="running", release="1.4", changes=2, judged_ns=10)


@pytest.mark.parametrize(
    ("device", "now_ns", "state", "text"),
    [
        (DEVICE, 50, State.OPEN, "waits for its TPM"),
        (DEVICE, 100, State.LAPSED, "its TPM did not come in time"),
        (BOUND, 500, State.BOUND, "TPM known, nothing verified yet"),
        (replace(RUNNING, standing="booted"), 20, State.BOOTED, "booted verified: 1.4"),
        (RUNNING, 20, State.RUNNING, "running verified: 1.4 with 2 measured changes"),
        (RUNNING, 10 + FRESH_NS, State.RUNNING, "running verified: 1.4 with 2 measured changes"),
        (
            RUNNING,
            11 + FRESH_NS,
            State.STALE,
            "was running verified 60 min ago, silent since: 1.4",
        ),
        (
            replace(RUNNING, standing="refused", reason="no"),
            11 + FRESH_NS,
            State.REFUSED,
            "NOT VERIFIED: no",
        ),
    ],
)
def test_words(device: Device, now_ns: int, state: State, text: str) -> None:
    assert device.state(now_ns) is state
    assert words(device, now_ns=now_ns) == text


def test_nobody_is_attested_by_default() -> None:
    assert words(None, now_ns=0) == "not attested"


def test_how_the_tpm_is_known_is_said() -> None:
    assert DEVICE.tpm == ""
    assert BOUND.tpm == "TPM certified by its maker"
    assert replace(BOUND, recorded="ab").tpm == "TPM as recorded by anna"


def test_every_state_has_a_tone() -> None:
    assert set(TONES) == set(State)
