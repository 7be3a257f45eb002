"""Where the hub may connect to: a name is resolved once, judged, and cannot change its mind."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ConfigError, NotPermitted, Unavailable
from asepsis.hub.delivery.dialer import (
    Dialer,
    HostPort,
    check_address,
    is_of_this_computer,
)

OWN = [ipaddress.ip_network("10.9.0.0/16"), ipaddress.ip_network("fd00:9::/32")]


def nowhere(_address: object) -> bool:
    return False


def check(address: str, *, local: bool = False) -> str:
    return check_address(address, own=OWN, local=local, is_here=nowhere)


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.7.7", "203.0.113.9", "fd00:1::5"])
def test_a_hospital_address_is_permitted(address: str) -> None:
    assert check(address) == address


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1", "10.9.4.4", "fd00:9::1"],
)
def test_local_and_own_addresses_need_the_flag(address: str) -> None:
    with pytest.raises(NotPermitted):
        check(address)
    assert check(address, local=True) == address


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "::127.0.0.1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fe80::1%1",
        "0.0.0.0",  # noqa: S104 - what must be refused
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "nonsense",
        "0x7f000001",
        "2130706433",
    ],
)
@pytest.mark.parametrize("local", [False, True])
def test_what_is_never_permitted(address: str, *, local: bool) -> None:
    with pytest.raises(NotPermitted):
        check(address, local=local)


def test_this_computers_own_addresses_are_the_hubs() -> None:
    assert is_of_this_computer(ipaddress.ip_address("127.0.0.1"))
    assert not is_of_this_computer(ipaddress.ip_address("203.0.113.9"))
    with pytest.raises(NotPermitted):
        check_address("203.0.113.9", own=(), local=False, is_here=lambda _: True)


@pytest.mark.parametrize(
    "text", ["host", "host:", ":1", "host:0", "host:65536", "::1:5", "[::1]", "h:1a"]
)
def test_a_place_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError):
        HostPort.parse(text)


def test_places() -> None:
    assert HostPort.parse("ehr.example:2575") == HostPort("ehr.example", 2575)
    assert HostPort.parse("[fd00::5]:2575") == HostPort("fd00::5", 2575)


class Names:
    """A resolver that changes its mind at every question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0)


async def connect(dialer: Dialer, place: HostPort, *, local: bool = False) -> None:
    await dialer.connect(
        asyncio.Protocol,
        place,
        context=ssl.create_default_context(),
        server_name="",
        local=local,
    )


def test_a_name_that_rebinds_is_asked_once_and_its_first_answer_is_used() -> None:
    """Goal: between judging and connecting there is no second question."""
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.setblocking(False)
        names = Names(["203.0.113.9"], ["127.0.0.1"])
        dialer = Dialer(resolve=names, is_here=nowhere)
        place = HostPort("ehr.example", inside.getsockname()[1])

        async def attempt() -> None:
            async with asyncio.timeout(0.3):
                await connect(dialer, place)

        with pytest.raises((Unavailable, TimeoutError)):
            asyncio.run(attempt())
        assert names.asked == 1
        with pytest.raises(BlockingIOError):
            inside.accept()


def test_one_bad_address_among_good_ones_refuses_the_name() -> None:
    names = Names(["203.0.113.9", "127.0.0.1"])
    dialer = Dialer(resolve=names, is_here=nowhere)
    with pytest.raises(NotPermitted):
        asyncio.run(connect(dialer, HostPort("ehr.example", 1)))


def test_the_mapped_loopback_of_the_system_resolver() -> None:
    with pytest.raises(NotPermitted):
        asyncio.run(connect(Dialer(), HostPort.parse("[::ffff:127.0.0.1]:2575")))


@given(st.ip_addresses())
def test_any_address_is_judged_as_the_ranges_say(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    inside = any(address in network for network in OWN)
    try:
        check(str(address))
    except NotPermitted:
        return
    assert not (address.is_loopback)
    assert not (address.is_link_local)
    assert not (address.is_multicast)
    assert not inside
    assert not address.is_unspecified
