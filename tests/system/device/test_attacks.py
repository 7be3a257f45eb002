"""Full control of a compartment: what can it do? Every attack, with all layers and without some."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.edge.sandbox.layers import Layer, detect

HOLDING = detect().holding
BARE = frozenset({Layer.RING})
NEEDED = frozenset({Layer.BUBBLEWRAP, Layer.LANDLOCK, Layer.SECCOMP})
pytestmark = pytest.mark.slow


def first_address(pid: int) -> int:
    """Return an address that a process can read of itself."""
    return int(Path(f"/proc/{pid}/maps").read_text("ascii").partition("-")[0], 16)


def attacked(ward: ModuleType, folder: Path, holding: frozenset[Layer]) -> dict[str, str]:
    """Run a device whose network compartment is the attacker's; return what each attack came to."""
    with ward.listener() as (hub, _), ward.listener() as (elsewhere, visitors):
        device = ward.enrolled(folder / "device", clinical=hub, enrolment=hub)
        under_test = ward.Ward(device, holding)

        def take_over(compartment: str, event: str) -> None:
            if (compartment, event) == ("origin", "mapped"):
                targets: dict[str, Any] = {
                    "vitals": under_test.supervisor.pid("vitals"),
                    "origin": under_test.supervisor.pid("origin"),
                    "keys": [
                        str(device.origin_key_path),
                        "/state/../origin.key",
                        "/state/origin.key",
                        f"/proc/{under_test.supervisor.pid('origin')}/root{device.origin_key_path}",
                    ],
                    "elsewhere": elsewhere,
                    "outside": str(folder / "outside"),
                    "address": first_address(under_test.supervisor.pid("origin")),
                }
                under_test.preludes["network"] = ward.attacker_prelude(targets)

        under_test.on_event = take_over
        with under_test.running():
            under_test.until(
                lambda: any(d["name"] == "done" for d in under_test.told("network", "attack"))
            )
            vitals = under_test.told("vitals", "alive")
            assert vitals, "the critical compartment did not live through the attack"
        outcomes = {d["name"]: d["outcome"] for d in under_test.told("network", "attack")}
        outcomes.pop("done")
        outcomes["visits elsewhere"] = "SUCCEEDED" if visitors else "denied"
        return outcomes


def succeeded(outcomes: dict[str, str]) -> set[str]:
    return {name for name, outcome in outcomes.items() if outcome == "SUCCEEDED"}


@pytest.fixture(scope="module")
def everything(ward: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return attacked(ward, tmp_path_factory.mktemp("all"), HOLDING)


def test_this_machine_has_the_layers_that_are_claimed() -> None:
    assert HOLDING >= NEEDED


def test_nothing_succeeds_while_the_layers_hold(everything: dict[str, str]) -> None:
    assert len(everything) >= 23
    assert succeeded(everything) == set(), everything


@pytest.mark.parametrize("removed", sorted(NEEDED | {Layer.USERS}, key=lambda layer: layer.name))
def test_without_one_layer_the_others_hold(
    ward: ModuleType, tmp_path: Path, removed: Layer
) -> None:
    """Goal: no layer is the only one, but for system calls that only seccomp refuses."""
    holding = HOLDING - {removed}
    if removed is Layer.BUBBLEWRAP:
        holding -= {Layer.USERS}
    outcomes = attacked(ward, tmp_path, holding)
    carried_alone = {
        Layer.SECCOMP: {"new_socket", "netlink", "executable_memory", "io_uring", "reconnect",
                        "reconnect_by_fastopen", "listen", "visits elsewhere", "new_namespace"},
    }.get(removed, set())  # fmt: skip
    assert succeeded(outcomes) <= carried_alone, outcomes


def test_negative_control_without_layers_the_attacks_are_real(
    ward: ModuleType, tmp_path: Path
) -> None:
    """Goal: with only the seal of the ring left, the attacks succeed; the seal still holds."""
    outcomes = attacked(ward, tmp_path, BARE)
    real = {
        "new_socket", "new_connection", "reconnect", "read_origin_key",
        "read_memory_of_origin", "open_memory_of_vitals", "steal_descriptor", "trace_vitals",
        "slow_vitals", "stop_vitals", "run_shell", "executable_memory", "write_outside",
        "visits elsewhere",
    }  # fmt: skip
    assert real <= succeeded(outcomes), outcomes
    assert outcomes["write_ring"].startswith("denied")
    assert outcomes["answer_wake"].startswith("denied")
    assert outcomes["other_endpoint"].startswith("denied")
