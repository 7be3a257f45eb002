"""Batches and character sets at a real gateway: each message judged and answered for itself."""

from gateway_ward import Sender, Ward, oru

from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_batch import read_batch
from asepsis.core.wire.mllp import FrameReader, frame

HEAD = b"FHS|^~\\&|MON|ICU|||||||F-1\rBHS|^~\\&|MON|ICU|||||||B-1\r"


def exchange(sender: Sender, payload: bytes) -> bytes:
    sender.raw(frame(payload))
    reader = FrameReader()
    while (answer := reader.next_frame()) is None:
        data = sender.socket.recv(65_536)
        assert data, "the gateway closed instead of answering"
        reader.feed(data)
    return answer


def test_each_message_of_a_batch_is_judged_and_answered(ward: Ward) -> None:
    good = [oru(n, ack=b"") for n in range(901, 906)]
    evil = oru(950, ack=b"", sender=b"EVIL|ICU")
    body = HEAD + b"".join((*good[:3], evil, *good[3:])) + b"BTS|6\rFTS|1\r"
    with Sender(ward.port()) as sender:
        answer = read_batch(exchange(sender, body))
        codes = [Message.parse(one).get("MSA-1") for one in answer.messages]
        assert codes == ["AA", "AA", "AA", "AR", "AA", "AA"]
        assert answer.batches[0].header is not None
        assert answer.batches[0].header.raw(12) == b"B-1"
        # A count that lies: nothing is taken, and the answer names the batch.
        lost = Message.parse(exchange(sender, HEAD + oru(960, ack=b"") + b"BTS|2\r"))
        assert (lost.get("MSA-1"), lost.get("MSA-2")) == ("AE", "F-1")
        assert sender.send(oru(970, ack=b"")) == "AA"  # The connection goes on.
        # Those that want no answer have none; the batch is answered all the same.
        quiet = exchange(sender, HEAD + oru(971, ack=b"||NE|NE") + b"BTS|1\rFTS|1\r")
        assert read_batch(quiet).messages == []
    ward.wait_journalled()


def test_a_batch_larger_than_what_may_be_in_flight_is_answered_whole(ward: Ward) -> None:
    bodies = [oru(2_000 + n, ack=b"") for n in range(200)]
    with Sender(ward.port()) as sender:
        answer = read_batch(exchange(sender, HEAD + b"".join(bodies) + b"BTS|200\rFTS|1\r"))
        assert [Message.parse(one).get("MSA-2") for one in answer.messages] == [
            Message.parse(one).get("MSH-10") for one in bodies
        ]


def test_a_character_set_that_nobody_reads_is_refused_with_its_place(ward: Ward) -> None:
    def with_set(name: bytes, number: int) -> bytes:
        head, rest = oru(number, ack=b"").split(b"\r", 1)
        fields = head.split(b"|")
        fields += [b""] * (17 - len(fields))
        return b"|".join((*fields[:17], name)) + b"\r" + rest

    with Sender(ward.port()) as sender:
        for number, name in enumerate((b"8859/1", b"8859/14", b"ISO IR6", b"8859/2~ISO IR87")):
            assert sender.send(with_set(name, 3_000 + number)) == "AA"
        for number, name in enumerate((b"BIG-5", b"UNICODE UTF-16", b"KLINGON")):
            answer = Message.parse(exchange(sender, with_set(name, 3_100 + number)))
            assert answer.raw("MSA-1") == b"AR"  # Its set is that of the message: not read.
            assert answer.raw("ERR-2") == b"MSH^1^18"
            assert answer.raw("ERR-3.1") == b"103"
