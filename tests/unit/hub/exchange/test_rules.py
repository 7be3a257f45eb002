"""What a lane takes and from whom."""

import pytest

from asepsis.core.errors import ContentMismatch, InputError, NotPermitted
from asepsis.core.model.identity import Assurance, PrincipalKind
from asepsis.core.model.lanes import Lane
from asepsis.hub.access.principal import Principal
from asepsis.hub.exchange import rules

DEVICE = "urn:dev:mac:0000000000000001"
OTHER = "urn:dev:mac:0000000000000002"
GATEWAY = Principal(
    kind=PrincipalKind.GATEWAY,
    name="urn:uuid:00000000-0000-4000-8000-000000000001",
    declared=frozenset({DEVICE}),
)
ITSELF = Principal(kind=PrincipalKind.DEVICE, name=DEVICE)


@pytest.mark.parametrize(
    ("principal", "signed", "observed", "expected"),
    [
        (ITSELF, True, False, Assurance.DEVICE_ORIGIN),
        (ITSELF, False, False, Assurance.DEVICE_CERTIFICATE),
        (GATEWAY, True, False, Assurance.DEVICE_ORIGIN),
        (GATEWAY, False, True, Assurance.GATEWAY_OBSERVED),
        (GATEWAY, False, False, Assurance.SOURCE_CLAIMED),
    ],
)
def test_assurance_says_what_was_proven(
    principal: Principal, *, signed: bool, observed: bool, expected: Assurance
) -> None:
    assert rules.assurance(principal, DEVICE, signed=signed, observed=observed) is expected


@pytest.mark.parametrize("header", [None, b"", b"-1", b"+1", b"1.0", b"0x1", b" 1", b"9" * 20])
def test_counters_are_decimal_and_bounded(header: bytes | None) -> None:
    with pytest.raises(InputError):
        rules.counter(header, name="Asepsis-Epoch", least=0)


def test_counter_keeps_its_range() -> None:
    assert rules.counter(b"9223372036854775807", name="n", least=1) == rules.EPOCH_MAX
    with pytest.raises(InputError):
        rules.counter(b"0", name="n", least=1)
    with pytest.raises(InputError):
        rules.counter(b"9223372036854775808", name="n", least=1)


def test_bundle_names_its_batch() -> None:
    assert rules.batch_named_by("3/17") == (3, 17)


@pytest.mark.parametrize("text", [None, "", "3", "3/", "/3", "0/1", "1/0", "1/2/3", "a/b", "²/3"])
def test_bundle_that_names_no_batch_is_refused(text: str | None) -> None:
    with pytest.raises(ContentMismatch):
        rules.batch_named_by(text)


def test_content_decides_the_lane_of_a_batch() -> None:
    assert rules.batch_lane(late=False, has_alarms=False) is Lane.VITALS
    assert rules.batch_lane(late=False, has_alarms=True) is Lane.ALERT
    assert rules.batch_lane(late=True, has_alarms=True) is Lane.LATE


def test_unsigned_alarm_of_a_signing_device_is_refused() -> None:
    rules.require_unsigned_allowed(signs=False, what="alarm")
    with pytest.raises(NotPermitted):
        rules.require_unsigned_allowed(signs=True, what="alarm")


def test_devices_do_not_send_messages() -> None:
    rules.require_message_source(GATEWAY)
    with pytest.raises(NotPermitted):
        rules.require_message_source(ITSELF)
