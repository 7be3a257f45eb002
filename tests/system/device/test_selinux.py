"""A real kernel takes the generated policy, decides by it, and refuses what root inside tries."""

import os

import pytest

from asepsis.edge.device.manifest import whole
from asepsis.edge.sandbox.generate import selinux
from asepsis.edge.sandbox.generate.selinux_types import compartments
from asepsis.tools.attack import guest
from asepsis.tools.attack.guest import GuestTrial
from asepsis.tools.attack.guest_payload import WITHOUT_A_DOMAIN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
DOMAINS = compartments(whole())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> GuestTrial:
    """Boot a kernel with SELinux, and return what it told."""
    if guest.missing():
        assert not os.environ.get("CI"), "CI must have user-mode-linux and secilc"
        pytest.skip("needs the packages user-mode-linux and secilc")
    return guest.attacked(whole(), folder=tmp_path_factory.mktemp("selinux"))


def expected() -> set[tuple[str, str, str, str]]:
    found: set[tuple[str, str, str, str]] = set()
    for allow in selinux.policy(whole()).allows:
        for source in DOMAINS if allow.source == "compartment" else [allow.source]:
            target = source if allow.target == "self" else allow.target
            found |= {(source, target, allow.kind, name) for name in allow.permissions}
    return found


def test_the_kernel_allows_what_the_manifest_names_and_nothing_else(told: GuestTrial) -> None:
    assert told.allowed == expected()


def test_whoever_owns_a_compartment_as_root_is_refused(told: GuestTrial) -> None:
    """Goal: at least 25 attacks from every domain; memory of its own is the control."""
    assert told.findings() == []
    assert len(told.outcomes) - 1 >= 25
    assert all(set(found) == set(DOMAINS[1:]) for found in told.outcomes.values())


def test_the_same_attempts_succeed_without_a_domain(told: GuestTrial) -> None:
    """Goal: it is the policy that refuses, not the guest that cannot."""
    assert set(told.control) == set(WITHOUT_A_DOMAIN)
    assert set(told.control.values()) == {0}
