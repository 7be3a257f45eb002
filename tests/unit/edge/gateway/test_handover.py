"""What the processes of a gateway say to each other, and what a taken one is not believed."""

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from asepsis.core.errors import FramingError, InputError, Unavailable
from asepsis.edge.gateway import handover
from asepsis.edge.gateway.handover import Channel, Message, Messages, Outcome, Outcomes, Said
from asepsis.edge.gateway.ledger import Ledger
from asepsis.edge.gateway.policy import Peer, peer_of
from asepsis.edge.gateway.settings import DeviceEntry, PeerEntry, SenderName

OURS, OTHER = "urn:dev:mac:0012210000000001", "urn:dev:mac:0012210000000002"
MESSAGE = Message(1, "monitor", b"A\rB\r1", ((b"M1", OURS),), 60, 5, 0, b"MSH|...")


def peer() -> Peer:
    return peer_of(
        PeerEntry(
            name="monitor",
            listener="ward",
            addresses=("10.0.0.1",),
            senders=(SenderName(application="A"),),
            message_types=("ORU^R01",),
            devices=(DeviceEntry(name=OURS),),
        )
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"peer": "another"},
        {"devices": ((b"M1", OTHER),)},
        {"devices": ((b"M1", OURS), (b"M2", OTHER))},
        {"found": 1},
        {"found": 64},
        {"found": -1},
        {"offset_min": 1_441},
        {"body": b""},
    ],
)
def test_a_taken_front_speaks_for_nobody_else(wrong: dict[str, Any]) -> None:
    unused: Any = SimpleNamespace()
    ledger = Ledger(
        peers={"monitor": peer()},
        spool=unused,
        memory=unused,
        forwarder=unused,
        findings=unused,
        wall=lambda: 0,
        loop_s=lambda: 0.0,
        wait_s=1.0,
        tell=lambda _: None,
    )
    values = {name: getattr(MESSAGE, name) for name in MESSAGE.__struct_fields__} | wrong
    with pytest.raises(FramingError):
        ledger.take(Message(**values))


def test_only_errors_have_names() -> None:
    assert isinstance(handover.error_of("InputError", "why"), InputError)
    assert isinstance(handover.error_of("Unavailable", "why"), Unavailable)
    for wrong in ("ConfigError", "annotations", "nothing", "__builtins__"):
        with pytest.raises(FramingError):
            handover.error_of(wrong, "")


def exchange(send: Callable[[Channel, socket.socket], None]) -> tuple[list[Said], bool]:
    """Return what one end took of what the other sent, and whether it hung up."""

    async def play() -> tuple[list[Said], bool]:
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        taken: list[Said] = []
        lost = asyncio.Event()
        reader, writer = Channel(taken.append, lost.set), Channel(lambda _: None, lambda: None)
        await loop.create_connection(lambda: reader, sock=one)
        raw = other.dup()
        await loop.create_connection(lambda: writer, sock=other)
        send(writer, raw)
        await asyncio.sleep(0.05)
        hung_up = lost.is_set()
        reader.close()
        writer.close()
        raw.close()
        await asyncio.sleep(0.01)
        return taken, hung_up

    return asyncio.run(play())


def test_frames_arrive_whole_and_in_order() -> None:
    said = [Messages((MESSAGE,) * 3), Outcomes((Outcome(1), Outcome(2, "withheld", "ASP-401")))]
    taken, hung_up = exchange(lambda channel, _: [channel.say(one) for one in said] and None)
    assert taken == said
    assert not hung_up


@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x03\x92\xa1x\x01"]
)
def test_what_is_no_frame_ends_the_line(raw: bytes) -> None:
    taken, hung_up = exchange(lambda _, other: other.sendall(raw))
    assert taken == []
    assert hung_up
