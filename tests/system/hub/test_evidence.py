"""What a gateway brings is observed only where a person says that it observes."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hub_ward import GATEWAY, UNSIGNED, Ward
from test_live import ALARM, alarm
from watching import View, watching


def told(view: View, number: int) -> str:
    view.wait(lambda event: event["condition_id"].endswith(f"{number:012x}"))
    return next(
        d["assurance"]
        for _, name, d in view.seen
        if name == "alarm" and d["condition_id"].endswith(f"{number:012x}")
    )


def command(ward: Ward, *words: str) -> str:
    started = [sys.executable, "-m", "asepsis.cli.main", "devices", *words]
    done = subprocess.run(
        [*started, "--data", str(ward.hospital.data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_evidence_is_what_a_person_declared(prepared: Callable[..., Ward]) -> None:
    """Goal: REQ-ORG-012, by the command that people use; withdrawn, nothing is taken at all."""
    ward = prepared()
    ward.start()
    gateway, epoch = ward.client(GATEWAY), time.time_ns()

    def send(number: int) -> int:
        headers = ALARM | {"Asepsis-Epoch": str(epoch), "Asepsis-Sequence": str(number)}
        return gateway.post("/alerts", content=alarm(number, "onset"), headers=headers).status_code

    with watching(ward, UNSIGNED) as view:
        assert send(1) == 201
        assert told(view, 1) == "source-claimed"
        assert "evidence observed" in command(ward, "declare", GATEWAY, UNSIGNED, "--observed")
        assert send(2) == 201
        assert told(view, 2) == "gateway-observed"
        assert "evidence claimed" in command(ward, "declare", GATEWAY, UNSIGNED)
        assert send(3) == 201
        assert told(view, 3) == "source-claimed"
    command(ward, "withdraw", GATEWAY, UNSIGNED)
    assert send(4) == 403
