"""The director key of a real signer: its public half, and its word to enrolled devices."""

import sys
from pathlib import Path
from typing import Any

import pytest

from asepsis.cli.main import main
from asepsis.core.errors import IssuanceRefused
from asepsis.core.trust.director import DirectorSet
from asepsis.core.trust.metadata.directing import director_key
from asepsis.tools.release import keys


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_the_public_half_goes_to_the_root_and_strangers_are_refused(
    hospital: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital.start()
    file = tmp_path / "director.pub"
    words = ["asepsis", "signer", "director-key", str(file), "--data", str(hospital.data)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = hospital.ask(lambda hub: hub.authorities()).director_der
    assert keys.public_key(str(file)).keyid == director_key(told).keyid
    stranger = DirectorSet(device="urn:dev:mac:0011223344556677", hardware="m5")
    with pytest.raises(IssuanceRefused, match="enrolled"):
        hospital.ask(lambda hub: hub.sign_director(stranger))
