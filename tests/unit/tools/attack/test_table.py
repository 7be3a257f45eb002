"""The table of attacks against itself, its payload, the gateway and what the design measured."""

from pathlib import Path

import pytest

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.confinement import Role
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox.layer import Layer
from asepsis.tools.attack import payload_held, payload_system, sets
from asepsis.tools.attack.payload import ABSENT, DENIED, SUCCEEDED
from asepsis.tools.attack.rig import manifest
from asepsis.tools.attack.table import ATTACKS, CALLS, Vantage, expected
from asepsis.tools.attack.takeover import GATEWAY_LAYERS, PAYLOAD, gateway_blueprint

EVERY = frozenset(Layer)
DEBIAN_12, SIGNALS = 2, 6


def succeeding(label: str, *, abi: int, vantage: Vantage) -> set[str]:
    on = sets.layers(label, holding=EVERY)
    return {
        attack.name
        for attack in ATTACKS
        if expected(attack, vantage=vantage, layers=on, abi=abi, as_root=True) == SUCCEEDED
    }


def test_every_row_is_an_attack_of_the_payload_and_the_other_way_round() -> None:
    functions = payload_system.ATTACKS | payload_held.ATTACKS
    assert sorted(attack.name for attack in ATTACKS) == sorted(functions)
    assert all(attack.title for attack in ATTACKS)
    assert all(bool(attack.why) == attack.always for attack in ATTACKS)


def test_the_payload_needs_nothing_that_a_compartment_does_not_have() -> None:
    """Goal: behind bubblewrap there is no `asepsis.tools`; what it imports comes with it."""
    for name in PAYLOAD:
        text = Path(payload_system.__file__).with_name(f"{name}.py").read_text("utf-8")
        imported = {
            line.split()[1] for line in text.splitlines() if line.startswith("from asepsis")
        }
        assert imported <= {"asepsis.tools.attack.payload"}


@pytest.mark.parametrize("vantage", list(Vantage), ids=lambda v: v.name)
@pytest.mark.parametrize("abi", [DEBIAN_12, 4, SIGNALS, 9])
def test_all_layers_stop_everything_on_every_version(vantage: Vantage, abi: int) -> None:
    assert succeeding(sets.ALL, abi=abi, vantage=vantage) == set()


def test_what_an_old_landlock_does_not_stop() -> None:
    """Goal: the design's figures: no TCP before 4, no signals and names before 6, no paths yet."""
    now = succeeding("only-landlock", abi=SIGNALS, vantage=Vantage.NETWORK)
    old = succeeding("only-landlock", abi=DEBIAN_12, vantage=Vantage.NETWORK)
    assert old - now == {
        "signal", "signal_by_handle", "other_host", "same_port", "other_family",
        "abstract_socket", "reconnect",
    }  # fmt: skip
    assert {"path_socket", "slow", "pin", "limit", "datagram"} <= now
    assert now == succeeding("only-landlock", abi=9, vantage=Vantage.NETWORK)


def test_what_only_the_filter_of_system_calls_stops() -> None:
    assert succeeding("-seccomp", abi=SIGNALS, vantage=Vantage.NETWORK) == {
        "user_namespace", "io_uring", "userfaultfd", "writable_code", "turn_into_code", "fork",
        "memory_program", "any_socket", "netlink", "listen",
    }  # fmt: skip


def test_what_is_not_held_is_not_attacked() -> None:
    ring = next(attack for attack in ATTACKS if attack.name == "map_ring")
    words = [
        expected(ring, vantage=vantage, layers=sets.BARE, abi=0, as_root=True)
        for vantage in (Vantage.DISPLAY, Vantage.GATEWAY)
    ]
    assert words == [DENIED, ABSENT]


def test_the_gateway_of_the_trial_is_confined_as_the_real_one(tmp_path: Path) -> None:
    assert frozenset(confinement.USED) == GATEWAY_LAYERS
    real = confinement.of_role(Settings(data=str(tmp_path)), Role.FRONT)
    ours = gateway_blueprint(EVERY).confinement
    assert (ours.kind, ours.readable, ours.writable) == (real.kind, real.readable, real.writable)
    assert ours.layers == GATEWAY_LAYERS
    assert CALLS[Vantage.GATEWAY] is real.kind


def test_the_added_compartments_keep_every_safety_claim() -> None:
    found = manifest().compartments
    for vantage in (Vantage.NETWORK, Vantage.DISPLAY, Vantage.VERIFIER):
        assert found[vantage.value].syscalls is CALLS[vantage]


@pytest.mark.parametrize("word", ["", "-", "only-", "-ring", "only-users", "everything", "seccomp"])
def test_a_word_that_names_no_layers_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="no set of layers"):
        sets.labels([word])


def test_words_become_sets_of_layers() -> None:
    each = ["all", "-bubblewrap", "-users", "-landlock", "-seccomp", "none"]
    assert sets.labels(["each", "all,none"]) == each
    assert sets.layers("-bubblewrap", holding=EVERY) == EVERY - {Layer.BUBBLEWRAP, Layer.USERS}
    assert sets.layers("only-seccomp", holding=EVERY) == {
        Layer.RING, Layer.SECCOMP, Layer.NO_NEW_PRIVILEGES,
    }  # fmt: skip
