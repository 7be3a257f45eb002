"""Who plays: eight devices that can be told apart, and peers that the gateway understands."""

from dataclasses import fields
from pathlib import Path

import pytest

from asepsis.core.model.identity import DeviceId
from asepsis.edge.gateway.settings import read_settings
from asepsis.tools.simulator import cast, gateway
from asepsis.tools.simulator.summary import Summary


def test_everybody_can_be_told_apart() -> None:
    assert len(cast.PLAYERS) == 8
    assert len({player.name for player in cast.PLAYERS}) == 8
    assert len({player.key for player in cast.PLAYERS}) == 8
    assert len({player.address for player in cast.LEGACY}) == len(cast.LEGACY)
    assert {player.kind for player in cast.NEW} == set(cast.Kind)
    assert all(DeviceId.parse(player.name).uri == player.name for player in cast.PLAYERS)


def test_a_bed_is_free_for_the_patient_who_moves() -> None:
    occupied = {person.bed for person in cast.PATIENTS}
    assert cast.FREE_BED not in occupied
    assert cast.MOVING.bed in occupied
    assert {player.bed for player in cast.PLAYERS} == occupied | {cast.FREE_BED}


def test_peers_are_settings_that_the_gateway_reads(tmp_path: Path) -> None:
    player = cast.LEGACY[0]
    peer = gateway.Peer(
        name=player.key,
        address=player.address,
        application="MON",
        facility='"quoted"',
        types=("ORU^R01",),
        devices=((player.name, player.eui64),),
    )
    file = tmp_path / "gateway.toml"
    listener = f'[[listeners]]\nname = "{gateway.LISTENER}"\nhost = "127.0.0.1"\n'
    file.write_text(listener + peer.to_toml())
    (read,) = read_settings(file).peers
    assert read.senders[0].facility == '"quoted"'
    assert read.devices[0].name == player.name
    assert read.cleartext


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("lost", 1),
        ("duplicated", 1),
        ("foreign", 1),
        ("attacks_succeeded", ["write the ring"]),
        ("ended_shown_s", 0.01),
        ("unrenewed_s_max", 7.0),
        ("failures", ["outage"]),
    ],
)
def test_whatever_goes_wrong_makes_the_summary_bad(what: str, value: object) -> None:
    summary = Summary()
    assert not summary.bad
    setattr(summary, what, value)
    assert summary.bad


def test_every_figure_is_explained() -> None:
    page = Path(__file__).parents[4] / "docs" / "reference" / "demo.md"
    text = page.read_text(encoding="utf-8")
    assert [field.name for field in fields(Summary) if f"`{field.name}`" not in text] == []
