"""Certificates of a device are renewed by its network compartment, which lacks the origin key."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.trust import libcrypto_x509
from asepsis.edge.device.clock import BUILD_NS
from asepsis.edge.device.state import prepare
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import Caretaker
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.folder import IdentityFolder

DAY_NS = 86_400 * 10**9
pytestmark = pytest.mark.slow


def test_both_certificates_are_renewed_with_their_keys_and_without_the_origin_key(
    hub: Any, tmp_path: Path
) -> None:
    """Goal: two thirds into their validity, tls and origin get new ones for the same keys."""
    name = "urn:dev:mac:0012210000000051"
    enrolled = hub.enrolled(name)
    folder = IdentityFolder(prepare(enrolled, user=None))
    assert not folder.origin_key_path.exists()
    ahead_ns = [0]
    renewed: list[None] = []
    caretaker = Caretaker(
        folder,
        name=name,
        hospital=folder.load()[1],
        root_der=folder.load()[2],
        clock=TrustedClock(
            tmp_path / "time.json",
            boot_id=bytes(16),
            monotonic=lambda: time.monotonic_ns() + ahead_ns[0],
            build_ns=BUILD_NS,
        ),
        monotonic=time.monotonic_ns,
        backoff=Backoff(rng=random.Random(1)),
        on_renewed=lambda: renewed.append(None),
    )
    before = {n: libcrypto_x509.read_certificate(folder.leaf(n)) for n in ("tls", "origin")}
    caretaker.care_once()
    assert renewed == [], "they are young"
    ahead_ns[0] = 61 * DAY_NS
    caretaker.care_once()
    assert len(renewed) == 2
    for kind, old in before.items():
        new = libcrypto_x509.read_certificate(folder.leaf(kind))
        assert new.spki_der == old.spki_der
        assert folder.leaf(kind) != enrolled.leaf(kind)
    assert not folder.origin_key_path.exists()
    prepare(enrolled, user=None)
    assert folder.leaf("origin") != enrolled.leaf("origin"), "a start undid the renewal"
