"""Frames that smuggle, interleave, crawl or swell, and strangers at the port."""

import time
from collections.abc import Callable

import pytest
from gateway_ward import Sender, Ward, oru, peer_text

from asepsis.core.wire.mllp import frame

STRICT = "frame_s = 1.0\nidle_s = 2.0\nmessage_bytes_max = 4096\nconnections_max = 2\n"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    from gateway_ward import make_ward  # noqa: PLC0415 - the fixture's own

    ward = make_ward(
        tmp_path_factory.mktemp("strict"), peers=peer_text("monitor", ["127.0.0.1"], more=STRICT)
    )
    ward.start_hub()
    ward.start_gateway()
    yield ward
    ward.close()


@pytest.mark.parametrize(
    "stream",
    [
        b"\x0b" + oru(1)[:-1] + b"\x0b" + oru(2) + b"\x1c\r",  # A second message inside a field.
        b"\x0b" + oru(1) + b"\x1c" + oru(2) + b"\x1c\r",  # An end that is none.
        b"\x0b" + oru(1)[:60] + frame(oru(2)) + oru(1)[60:] + b"\x1c\r",  # Interleaved.
        b"GET / HTTP/1.1\r\n\r\n",
        oru(1),  # No frame at all.
        b"\x0b\x1c\r",
        b"\r\n" + frame(oru(1)),
    ],
)
def test_what_is_no_frame_ends_the_connection_without_an_answer(
    strict: Ward, stream: bytes
) -> None:
    with Sender(strict.port()) as sender:
        sender.raw(stream)
        assert sender.answer() is None
    assert strict.findings()["framing"] == 1  # Logged once a minute, however often it happens.


def test_a_frame_before_a_smuggled_one_is_acknowledged_and_nothing_after(strict: Ward) -> None:
    with Sender(strict.port()) as sender:
        sender.raw(frame(oru(31)) + b"X" + frame(oru(32)))
        answer = sender.answer()
        # Closed at the broken frame: at most the good one before it was answered.
        assert answer is None or answer.get("MSA-2") == "31"
        assert sender.answer() is None or answer is None


@pytest.mark.parametrize("encoding", [b"^^\\&", b"^~\\^", b"|~\\&", b"A~\\&", b"^~\\&#$"])
def test_confusing_delimiters_are_refused(strict: Ward, encoding: bytes) -> None:
    with Sender(strict.port()) as sender:
        code = sender.send(oru(1, ack=b"").replace(b"^~\\&", encoding, 1))
        assert code in {"AE", None}  # None where not even a header can be read.


def test_other_delimiters_are_understood_and_echoed(strict: Ward) -> None:
    swapped = oru(77).translate(bytes.maketrans(b"|^~\\&", b"!$*/@"))
    with Sender(strict.port()) as sender:
        sender.raw(frame(swapped))
        answer = sender.answer()
        assert answer is not None
        assert answer.get("MSA-1") == "CA"
        assert bytes(answer).startswith(b"MSH!$*/@!")


def test_a_frame_that_crawls_is_cut(strict: Ward) -> None:
    with Sender(strict.port()) as sender:
        began = time.monotonic()
        for byte in frame(oru(1)):
            try:
                sender.raw(bytes([byte]))
            except OSError:
                break
            time.sleep(0.05)
        assert sender.answer() is None
        assert time.monotonic() - began < 4


def test_a_silent_connection_is_closed(strict: Ward) -> None:
    with Sender(strict.port()) as sender:
        assert sender.send(oru(40)) == "CA"
        began = time.monotonic()
        assert sender.answer() is None
        assert 1 < time.monotonic() - began < 4


def test_an_oversized_message_is_rejected_so_that_it_does_not_come_for_ever(strict: Ward) -> None:
    big = oru(55, ack=b"") + b"NTE|1||" + b"x" * 5_000 + b"\r"
    with Sender(strict.port()) as sender:
        sender.raw(frame(oru(54)) + frame(big))
        first, second = sender.answer(), sender.answer()
        assert first is not None
        assert first.get("MSA-2") == "54"
        assert second is not None
        assert (second.get("MSA-1"), second.get("MSA-2")) == ("AR", "55")
        assert sender.answer() is None


def test_a_frame_without_end_costs_no_memory(strict: Ward) -> None:
    with Sender(strict.port()) as sender:
        try:
            for _ in range(1_000):
                sender.raw(b"\x0b" + b"A" * 65_535)
        except OSError:
            return
        assert sender.answer() is None


def test_strangers_and_one_connection_too_many_are_hung_up_on(strict: Ward) -> None:
    with Sender(strict.port(), source="127.0.0.9") as stranger:
        assert stranger.send(oru(1)) is None
    with Sender(strict.port()) as one, Sender(strict.port()) as two:
        assert one.send(oru(61)) == "CA"
        assert two.send(oru(62)) == "CA"
        with Sender(strict.port()) as three:
            assert three.send(oru(63)) is None
        assert one.send(oru(64)) == "CA"
    assert strict.findings()["unknown-sender"] == 1
    assert strict.findings()["too-many-connections"] == 1


def test_a_fast_sender_is_slowed_down_and_loses_nothing(prepared: Callable[..., Ward]) -> None:
    peers = peer_text("monitor", ["127.0.0.1"])
    peers = peers.replace("rate_per_s = 100000.0", "rate_per_s = 40.0")
    ward = prepared(peers=peers.replace("burst = 100000", "burst = 5"))
    ward.start_hub()
    ward.start_gateway()
    sent = [oru(n) for n in range(1, 46)]
    began = time.monotonic()
    with Sender(ward.port()) as sender:
        sender.raw(b"".join(map(frame, sent)))
        assert all(sender.answer() for _ in sent)
    assert time.monotonic() - began > 0.9
    ward.stop_gateway()
    assert ward.journalled() == sent
    assert ward.findings()["rate"] == 1


def test_frames_in_pieces_on_interleaved_connections_stay_whole(
    prepared: Callable[..., Ward],
) -> None:
    """Goal: whatever the pieces and their order, each connection's bytes are its own."""
    addresses = [f"127.0.0.{n}" for n in (2, 3, 4)]
    peers = "".join(peer_text(f"bed-{n}", [one]) for n, one in enumerate(addresses))
    ward = prepared(peers=peers)
    ward.start_hub()
    ward.start_gateway()
    senders = [Sender(ward.port(), source=address) for address in addresses]
    sent = [[oru(n, value=60 + bed) for n in range(1, 5)] for bed in range(3)]
    lines = [b"".join(map(frame, messages)) for messages in sent]
    piece = 37
    for start in range(0, max(map(len, lines)), piece):
        for sender, line in zip(senders, lines, strict=True):
            sender.raw(line[start : start + piece])
    for sender in senders:
        assert [answer.get("MSA-2") for _ in range(4) if (answer := sender.answer())] == [
            "1", "2", "3", "4",
        ]  # fmt: skip
        sender.close()
    assert ward.stop_gateway() == 0
    stored = ward.entries()
    for bed, messages in enumerate(sent):
        own = [e.body for e in stored if e.findings and e.findings.peer.name == f"bed-{bed}"]
        assert own == messages
