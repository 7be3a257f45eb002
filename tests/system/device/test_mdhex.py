"""Six flaws in the shape of MDhex: the same break-ins, in one process and in compartments."""

import tempfile
from pathlib import Path

import pytest

from asepsis.edge.sandbox.layers import detect
from asepsis.tools.attack import sets
from asepsis.tools.attack.enrolled import enrolled
from asepsis.tools.attack.mdhex.exploits import FREEZE_S
from asepsis.tools.attack.mdhex.replay import BY_KEYS, Replay, replay
from asepsis.tools.attack.mdhex.services import SERVICES

HOLDING = detect().holding
pytestmark = pytest.mark.slow


def replayed(label: str) -> Replay:
    with tempfile.TemporaryDirectory(prefix="asepsis-mdhex-") as made:
        place = Path(made)
        place.chmod(0o755)
        on = sets.layers(label, holding=HOLDING)
        return replay(enrolled(place / "device"), layers=on, place=place)


def test_what_takes_the_monolith_moves_nothing_in_compartments() -> None:
    """Goal: every break-in succeeds, and in compartments leads nowhere; the keyboard is honest."""
    found = replayed(sets.ALL)
    assert set(found.monolith.outcomes) == set(found.compartments.outcomes) == set(SERVICES)
    for flaw in SERVICES:
        assert len(found.monolith.succeeded(flaw)) == (1 if flaw in BY_KEYS else 6), flaw
        assert len(found.compartments.outcomes[flaw]) == (1 if flaw in BY_KEYS else 6), flaw
    assert found.findings() == []
    assert found.monolith.gap_ms_max >= FREEZE_S * 1_000
    assert found.monolith.facts["silenced"]
    assert found.compartments.facts == {"starts_of_vitals": 1}
    assert found.compartments.blocks > 0
    assert found.wired == "the alarm is acknowledged from the network"
    assert found.claims == ("CLAIM-DIODE-001", "CLAIM-DIODE-002")


def test_negative_control_without_layers_the_same_break_ins_reach_vitals() -> None:
    found = replayed(sets.NONE)
    reached = found.compartments.succeeded("CVE-2020-6961")
    assert {"change an alarm limit", "stop the waveform", "run a shell"} <= set(reached)
    assert found.findings()
