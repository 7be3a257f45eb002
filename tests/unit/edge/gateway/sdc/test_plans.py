"""What settings of SDC devices are refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway.sdc.plans import sdc_plans
from asepsis.edge.gateway.sdc.settings import SdcEntry

GOOD: dict[str, Any] = {
    "name": "vent-1",
    "device": "urn:dev:mac:0250c2fffe00002b",
    "address": "10.1.2.3",
    "port": 6464,
    "path": "abc",
    "ca_file": "ca.pem",
    "chain_file": "/etc/own.pem",
    "key_file": "own.key",
    "identity": "urn:oid:1.2.3",
    "local_address": "10.1.2.1",
}


def entry(**changes: Any) -> SdcEntry:
    return msgspec.convert({**GOOD, **changes}, SdcEntry)


def test_files_count_from_the_settings_and_the_authority_is_the_declared_address() -> None:
    (plan,) = sdc_plans([entry()], folder=Path("/data"))
    assert (plan.ca, plan.chain) == (Path("/data/ca.pem"), Path("/etc/own.pem"))
    assert plan.netloc == "10.1.2.3:6464"
    (plan,) = sdc_plans([entry(address="fd00::1")], folder=Path("/data"))
    assert plan.netloc == "[fd00::1]:6464"


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "ventilator.example"},
        {"local_address": "any"},
        {"local_address": "::"},
        {"device": "ventilator"},
        {"identity": "urn:oid:1.2.3", "host": "ventilator"},
    ],
)
def test_what_does_not_fit_is_an_operator_s_mistake_that_names_the_device(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError, match="vent-1"):
        sdc_plans([entry(**changes)], folder=Path("/data"))


def test_a_name_or_device_is_used_once_also_beside_the_drivers() -> None:
    for taken in [("vent-1", "other")], [("other", GOOD["device"])]:
        with pytest.raises(ConfigError, match="twice"):
            sdc_plans([entry()], folder=Path("/data"), taken=taken)
    with pytest.raises(ConfigError, match="twice"):
        sdc_plans([entry(), entry(name="vent-2")], folder=Path("/data"))


@pytest.mark.parametrize(
    "changes", [{"port": 0}, {"path": "a b"}, {"path": "a" * 201}, {"name": "A"}, {"discover": 1}]
)
def test_a_key_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        entry(**changes)
