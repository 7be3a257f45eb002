"""The service address moves between two computers; a sender on their segment follows at once."""

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

SERVICE = "10.77.0.1"


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def segment() -> Iterator[tuple[str, str, str]]:
    """Return the namespaces of a sender and of two gateways on one bridge of the sender's."""
    tag = secrets.token_hex(3)
    names = tuple(f"{part}-{tag}" for part in ("sender", "one", "two"))
    try:
        for name in names:
            run("ip", "netns", "add", name)
        sender = names[0]
        inside = ("ip", "netns", "exec", sender)
        run(*inside, "ip", "link", "add", "br0", "type", "bridge")
        run(*inside, "ip", "address", "add", "10.77.0.9/24", "dev", "br0")
        run(*inside, "ip", "link", "set", "br0", "up")
        for number, name in enumerate(names[1:]):
            run(*inside, "ip", "link", "add", f"v{number}", "type", "veth", "peer", "eth0", "netns",
                name)  # fmt: skip
            run(*inside, "ip", "link", "set", f"v{number}", "master", "br0", "up")
            run("ip", "netns", "exec", name, "ip", "link", "set", "eth0", "up")
        yield (names[0], names[1], names[2])
    finally:
        for name in names:
            with contextlib.suppress(AssertionError):
                run("ip", "netns", "del", name)


def move(namespace: str, verb: str) -> None:
    module = "asepsis.edge.gateway.pair.address"
    command = (sys.executable, "-m", module, verb, "eth0", f"{SERVICE}/24")
    run("ip", "netns", "exec", namespace, *command)


def hardware(namespace: str) -> str:
    return run("ip", "netns", "exec", namespace, "cat", "/sys/class/net/eth0/address").strip()


@pytest.mark.root
def test_neighbours_follow_the_address(segment: tuple[str, str, str]) -> None:
    sender, one, two = segment
    move(one, "take")
    move(one, "take")  # It is there already: no error.
    probe = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        f" s.sendto(b'x', ('{SERVICE}', 9))"
    )
    run("ip", "netns", "exec", sender, sys.executable, "-c", probe)
    neighbours = ("ip", "netns", "exec", sender, "ip", "neigh", "show", SERVICE)
    assert hardware(one) in run(*neighbours)
    move(one, "give")
    move(one, "give")
    move(two, "take")
    assert hardware(two) in run(*neighbours), "it heard the announcement and asked nobody"
