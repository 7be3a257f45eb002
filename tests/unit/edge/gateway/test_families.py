"""Which families run, and which of them renews the gateway's certificate."""

from itertools import chain, combinations
from pathlib import Path

import pytest

from asepsis.edge.gateway.families import FAMILIES, renews, wanted
from asepsis.edge.gateway.settings import Settings, read_settings

PARTS = {
    "pair": '[pair]\npartner = "urn:uuid:4f0c3a6e-0b1a-4c7e-9d4b-1f2e3d4c5b6a"\n'
    'certificate_file = "b.pem"\nlisten_host = "192.0.2.1"\npartner_host = "192.0.2.2"\n',
    "hl7": '[[listeners]]\nname = "l"\nhost = "127.0.0.1"\nport = 0\n',
    "archives": '[[archives]]\ndestination = "pacs"\nhost = "127.0.0.1"\nport = 104\n'
    'called = "PACS"\ncleartext = true\n',
    "outbound": '[[outbound]]\ndestination = "ehr"\nhost = "127.0.0.1"\nport = 2575\n',
}
SETS = list(chain.from_iterable(combinations(PARTS, n) for n in range(1, len(PARTS) + 1)))


def settings(tmp_path: Path, parts: tuple[str, ...]) -> Settings:
    file = tmp_path / "gateway.toml"
    file.write_text("".join(PARTS[part] for part in parts), "utf-8")
    return read_settings(file)


@pytest.mark.parametrize("parts", SETS, ids="+".join)
def test_one_of_those_that_run_renews(tmp_path: Path, parts: tuple[str, ...]) -> None:
    """Goal: whatever families a gateway has, its certificate never expires for want of one."""
    given = settings(tmp_path, parts)
    renewing = [family.name for family in FAMILIES if renews(given, family.name)]
    assert len(renewing) == 1
    assert renewing[0] in {family.name for family in wanted(given)}
    if "pair" in parts:
        assert renewing == ["pair"]  # The others may rest while the other gateway has the address.
