"""What the agent says leaves the device signed, numbered and in a form that the hub reads."""

import math

from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.model.update import Outcome, TestResult, WaitsFor
from asepsis.core.trust import libcrypto
from asepsis.core.wire.update_report import decode
from asepsis.edge.device.update.memory import Held
from asepsis.edge.device.update.report_signing import ReportSigner, to_order
from asepsis.tools.testing.updating_device import target

NAME = DeviceId.parse("urn:dev:mac:0012210000000001")
KEY = libcrypto.generate_key()
NOW = Instant(bytes(16), 1, 1_700_000_000_000_000_000, 5)


def signer() -> ReportSigner:
    return ReportSigner(NAME, key=KEY, epoch=4, instant=lambda: NOW)


def test_each_state_is_signed_and_numbered() -> None:
    signing = signer()
    test = TestResult(name="gap", measured=math.nan, low=0, high=50, unit="ms")
    held = Held(target=target(), outcome=Outcome.ROLLED_BACK, reason="zu früh\n", tests=(test,))
    first = signing.sign(to_order(Held(target=target())))
    second = signing.sign(to_order(held))
    assert first
    assert second
    report, _, signed, signature = decode(second)
    libcrypto.verify(KEY.spki_der, signature, signed)
    assert (report.epoch, report.sequence, report.device, report.at) == (4, 2, NAME, NOW)
    assert (report.outcome, report.reason) == (Outcome.ROLLED_BACK, "zu fr?h?")
    assert math.isnan(report.tests[0].measured)
    assert report.release == target().release


def test_what_waits_says_what_for() -> None:
    held = Held(target=target(), outcome=Outcome.WAITING, waits_for=WaitsFor.PATIENT)
    signed = signer().sign(to_order(held))
    assert signed
    assert decode(signed)[0].waits_for is WaitsFor.PATIENT


def test_an_order_that_is_none_uses_no_number() -> None:
    signing = signer()
    for body in ({}, {**to_order(Held(target=target())), "outcome": "fine"}):
        assert signing.sign(body) is None
    signed = signing.sign(to_order(Held(target=target())))
    assert signed
    assert decode(signed)[0].sequence == 1
