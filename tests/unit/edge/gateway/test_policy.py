"""Goal: a policy that contradicts itself never runs, and an address belongs to one peer."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from asepsis.core.errors import ConfigError, NotPermitted
from asepsis.edge.gateway.policy import Door, doors
from asepsis.edge.gateway.settings import Settings, read_settings

PEER: dict[str, Any] = {
    "name": "monitor",
    "listener": "ward",
    "addresses": ["10.1.0.5", "10.1.2.0/24"],
    "senders": [{"application": "MON", "facility": "ICU"}],
    "message_types": ["ORU^R01", "ADT^*"],
    "cleartext": True,
}
LISTENER: dict[str, Any] = {"name": "ward", "host": "10.1.0.1"}
BASE: dict[str, Any] = {
    "device_segments": ["10.1.0.0/16"],
    "listeners": [LISTENER],
    "peers": [PEER],
}


def made(**changes: Any) -> tuple[Door, ...]:
    return doors(msgspec.convert(BASE | changes, Settings))


def test_an_address_belongs_to_one_peer_or_to_none() -> None:
    (door,) = made()
    assert door.peer_at("10.1.0.5").name == "monitor"
    assert door.peer_at("10.1.2.255").name == "monitor"
    for address in ("10.1.0.6", "10.1.3.0", "::1", "fe80::1%eth0"):
        with pytest.raises(NotPermitted):
            door.peer_at(address)


@pytest.mark.parametrize(
    "changes",
    [
        {"device_segments": []},
        {"device_segments": ["10.2.0.0/16"]},
        {"device_segments": ["10.1.0.0/24"]},  # Holds the listener, not the peer's network.
        {"device_segments": ["nonsense"]},
        {"listeners": [LISTENER, LISTENER]},
        {"listeners": [LISTENER | {"host": "0.0.0.0"}]},  # noqa: S104 - the refused case
        {"peers": [PEER, PEER]},
        {"peers": [PEER, PEER | {"name": "other", "addresses": ["10.1.2.7"]}]},
        {"peers": [PEER | {"listener": "none"}]},
        {"peers": [PEER | {"cleartext": False}]},
        {"peers": [PEER | {"addresses": ["10.1.0.0/33"]}]},
        {"peers": [PEER | {"time_zone": "Europe/Nowhere"}]},
        {"peers": [PEER | {"time_zone": "../etc/passwd"}]},
        {"peers": [PEER | {"message_types": ["oru^r01"]}]},
        {"peers": [PEER | {"message_types": ["ORU"]}]},
        {"peers": [PEER | {"devices": [{"name": "no device"}]}]},
        {"peers": [PEER | {"certificate_sha256": ["0" * 64]}]},
        {
            "peers": [
                PEER
                | {
                    "devices": [
                        {"name": "urn:dev:mac:0012210000000001", "identifiers": ["A"]},
                        {"name": "urn:dev:mac:0012210000000002", "identifiers": ["A"]},
                    ]
                }
            ]
        },
    ],
)
def test_a_policy_that_contradicts_itself_is_an_operators_mistake(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        made(**changes)


@pytest.mark.parametrize(
    "text",
    [
        "unknown = 1",
        "[[listeners]]\nname = 'ward'\nhost = '::1'\nsurprise = 1\n",
        "[[peers]]\nname = 'Upper Case'\n",
        "not toml",
        "\udcff",
    ],
)
def test_a_settings_file_with_anything_unknown_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError):
        read_settings(path)
    with pytest.raises(ConfigError):
        read_settings(tmp_path / "absent.toml")
