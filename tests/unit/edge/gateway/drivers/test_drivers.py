"""Every driver passes the conformance check with its scripted peer."""

from random import Random

import pytest

from asepsis.core.errors import InputError
from asepsis.edge.gateway.drivers import intellivue, medibus
from asepsis.edge.gateway.drivers.sdk import Driver
from asepsis.tools.testing.driver_check import PeerMaker, check_driver
from asepsis.tools.testing.intellivue_monitor import Monitor
from asepsis.tools.testing.medibus_ventilator import Ventilator


@pytest.mark.parametrize(
    ("driver", "make_peer"),
    [(intellivue.DRIVER, Monitor), (medibus.DRIVER, Ventilator)],
    ids=["intellivue", "medibus"],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_driver_conforms(driver: Driver, make_peer: PeerMaker, seed: int) -> None:
    assert not check_driver(driver, make_peer, rng=Random(seed))


def test_the_check_finds_a_driver_that_crashes_and_one_that_is_silent() -> None:
    """Goal: the check is no rubber stamp: a machine that breaks a rule is told so."""

    class Deaf(intellivue.IntelliVue):
        def receive(self, data: bytes, now_ns: int) -> tuple[()]:  # noqa: ARG002 - of a machine
            return ()

    class Brittle(intellivue.IntelliVue):
        def receive(self, data: bytes, now_ns: int) -> tuple[()]:  # noqa: ARG002 - of a machine
            raise InputError("any bytes may come")

    deaf = Driver(
        name="deaf",
        title="",
        document="d",
        edition="1",
        unverified="all",
        transport=intellivue.DRIVER.transport,
        make=Deaf,
        metrics={1: intellivue.DRIVER.metrics[16_770], 2: medibus.DRIVER.metrics[0x78]},
    )
    found = {failing.check for failing in check_driver(deaf, Monitor, rng=Random(1))}
    assert found >= {"describes", "measures", "recovers"}
    brittle = Driver(
        name="brittle",
        title="t",
        document="d",
        edition="1",
        unverified="all",
        transport=intellivue.DRIVER.transport,
        port=1,
        make=Brittle,
        metrics={},
    )
    with pytest.raises(InputError):
        check_driver(brittle, Monitor, rng=Random(1))
