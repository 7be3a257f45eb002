"""Our HL7 v2 reader beside the `hl7` and `hl7lw` packages over real messages, and on the wire."""

import asyncio
import sys
from pathlib import Path

import hl7
import hl7lw
import pytest
from hl7.mllp import HL7StreamReader, HL7StreamWriter, open_hl7_connection, start_hl7_server

from asepsis.core.wire.hl7 import Message, MessageReader
from asepsis.core.wire.hl7_ack import AckCode, acknowledge
from asepsis.core.wire.mllp import FrameReader, frame

DATA = Path(__file__).parents[3] / "shared" / "data" / "hl7v2"
FILES = sorted(DATA.glob("*.hl7"))
MSH_OFFSET = 2  # MSH-1 and MSH-2 hold the delimiters themselves; no reader splits them.
NOW_NS = 1_793_700_930_000_000_000
SEND = Path(sys.executable).with_name("mllp_send")

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public data folder is absent")


def normalised(data: bytes) -> str:
    """Return what the peers need: no byte order mark, CR as the only line end, one at the end."""
    text = data.decode("utf-8-sig").replace("\r\n", "\r").replace("\n", "\r")
    return text.strip("\r") + "\r"


@pytest.mark.data
@needs_data
def test_the_corpus_is_whole() -> None:
    assert len(FILES) == 105


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_same_elements_as_the_hl7_package(path: Path) -> None:
    """Goal: segments, fields, repetitions, components and subcomponents are the same bytes."""
    data = path.read_bytes()
    ours = Message.parse(data)
    theirs = hl7.parse(normalised(data))
    assert bytes(ours).decode() == normalised(data)
    assert [segment.name for segment in ours.segments()] == [str(s[0]) for s in theirs]
    for segment, peer in zip(ours.segments(), theirs, strict=True):
        assert len(segment) == len(peer) - 1
        for number in range(1, len(segment) + 1):
            if number == len(segment) and peer is theirs[-1]:
                assert segment.raw(number).decode().rstrip() == str(peer[number])
                continue  # Documented difference 4: the peer strips the end of the message.
            assert segment.raw(number).decode() == str(peer[number])
            if segment.name != "MSH" or number > MSH_OFFSET:
                compare_parts(segment, number, peer[number])


def compare_parts(segment, number: int, field: hl7.Field) -> None:  # noqa: ANN001
    for r, repetition in enumerate(field, 1):
        if not isinstance(repetition, hl7.Repetition):
            assert segment.raw(number, repetition=r).decode() == str(repetition)
            continue
        for c, component in enumerate(repetition, 1):
            assert segment.raw(number, repetition=r, component=c).decode() == str(component)
            parts = component if isinstance(component, hl7.Component) else [component]
            for s, leaf in enumerate(parts, 1):
                ours = segment.raw(number, repetition=r, component=c, subcomponent=s)
                assert ours.decode() == str(leaf)


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_same_elements_as_the_hl7lw_package(path: Path) -> None:
    data = path.read_bytes()
    ours = Message.parse(data)
    theirs = hl7lw.Hl7Parser().parse_message(normalised(data))
    assert [segment.name for segment in ours.segments()] == [s.name for s in theirs.segments]
    for segment, peer in zip(ours.segments(), theirs.segments, strict=True):
        assert len(segment) == len(peer.fields)
        for number in range(1, len(segment) + 1):
            assert segment.raw(number).decode() == peer[number]
            if segment.name == "MSH" and number <= MSH_OFFSET:
                continue
            field = hl7lw.Hl7Field(peer.parser, peer[number])
            for r, repetition in enumerate(field.repetitions, 1):
                for c, component in enumerate(repetition.components, 1):
                    for s, leaf in enumerate(component.subcomponents, 1):
                        part = segment.raw(number, repetition=r, component=c, subcomponent=s)
                        assert part.decode() == leaf


@pytest.mark.data
@needs_data
def test_text_is_unescaped_as_the_hl7_package_does() -> None:
    r"""Goal: the only escape in the corpus, \T\, in all its 72 places."""
    found = 0
    for path in FILES:
        theirs = hl7.parse(normalised(path.read_bytes()))
        for segment in Message.parse(path.read_bytes()).segments():
            for number in range(3, len(segment) + 1):
                raw = segment.raw(number, repetition=1, component=1, subcomponent=1)
                found += segment.raw(number).count(b"\\T\\")
                assert segment.text(number) == theirs.unescape(raw.decode())
    assert found == 72


@pytest.mark.data
@needs_data
def test_the_one_message_whose_end_a_peer_strips() -> None:
    stripped = [path.stem for path in FILES if Message.parse(path.read_bytes()).body[-2:] == b" \r"]
    assert stripped == ["PC1-Problem-Update-v2.3.1"]


@pytest.mark.data
@needs_data
def test_documented_differences() -> None:
    """Goal: where we differ from a peer, it is on purpose and stated here, in this module.

    1. Line ends: all 105 files end segments with LF. We take them and say so; `hl7` silently sees
       one segment, `hl7lw` refuses the missing CR.
    2. Byte order mark: 21 files. We take it and say so; `hl7` refuses.
    3. A second MSH, VT, FS, NUL, one delimiter for two purposes, text as a segment: refused by us,
       taken by `hl7` (next test).
    4. White space at the end of a message: a field's content to us and to `hl7lw`, stripped by
       `hl7` (one file, a blank after a date).
    """
    marked = [path for path in FILES if path.read_bytes().startswith(b"\xef\xbb\xbf")]
    assert len(marked) == 21
    for path in FILES:
        data = path.read_bytes()
        kinds = {found.kind.name for found in Message.parse(data).tolerated}
        assert ("BYTE_ORDER_MARK" in kinds) == (path in marked)
        assert "LINE_FEEDS" in kinds
        with pytest.raises(hl7lw.InvalidHl7Message):
            hl7lw.Hl7Parser().parse_message(data, encoding="utf-8")
        if path in marked:
            with pytest.raises(hl7.HL7Exception):
                hl7.parse(data)
        else:
            assert len(hl7.parse(data)) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"MSH|^~\\&|A\rMSH|^~\\&|B\r",
        b"MSH|^~\\&|A\rPID|\x0b\r",
        b"MSH|^~\\&|A\rPID|\x00\r",
        b"MSH|^^\\&|A\rPID|1\r",
        b"MSH|^~\\&|A\rsecond line\r",
    ],
)
def test_what_we_refuse_and_the_hl7_package_takes(data: bytes) -> None:
    assert len(hl7.parse(data)) == 2
    with pytest.raises(Exception, match=r".+") as caught:
        Message.parse(data)
    assert type(caught.value).__module__ == "asepsis.core.errors"


MESSAGES = [
    b"MSH|^~\\&|MON|ICU|GW|HOSP|20261103||ORU^R01|%d|P|2.6\rOBX|1|NM|||%d\r" % (n, 60 + n)
    for n in range(20)
]


async def serve_ours(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every frame with AA, as a gateway's receiving side does."""
    frames, parser = FrameReader(), MessageReader()
    while chunk := await reader.read(7):  # Small reads, so that frames never come whole.
        frames.feed(chunk)
        while (payload := frames.next_frame()) is not None:
            header = parser.parse(payload).header
            reply = acknowledge(
                header,
                AckCode.APPLICATION_ACCEPT,
                control_id="R" + header.control_id,
                clock=lambda: NOW_NS,
            )
            writer.write(frame(reply))
            await writer.drain()
    writer.close()


def test_the_hl7_client_talks_to_our_frames() -> None:
    async def run() -> list[str]:
        server = await asyncio.start_server(serve_ours, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await open_hl7_connection("127.0.0.1", port, encoding="utf-8")
        answers: list[str] = []
        for data in MESSAGES:
            writer.writemessage(hl7.parse(data))
            await writer.drain()
            answers.append(str((await reader.readmessage()).segment("MSA")[2]))
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answers

    assert asyncio.run(run()) == [str(n) for n in range(len(MESSAGES))]


def test_our_frames_talk_to_the_hl7_server() -> None:
    async def serve(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        for _ in MESSAGES:
            message = await reader.readmessage()
            writer.writemessage(message.create_ack())
            await writer.drain()
        writer.close()

    async def run() -> list[tuple[str, str]]:
        server = await start_hl7_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(map(frame, MESSAGES)))
        frames, answers = FrameReader(), []
        while chunk := await reader.read(4096):
            frames.feed(chunk)
            while (payload := frames.next_frame()) is not None:
                answer = Message.parse(payload)
                answers.append((answer.get("MSA-1"), answer.get("MSA-2")))
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return answers

    assert asyncio.run(run()) == [("AA", str(n)) for n in range(len(MESSAGES))]


def test_the_mllp_send_command(tmp_path: Path) -> None:
    """Goal: a file of messages with CR LF, sent by the `hl7` package's own command."""
    file = tmp_path / "messages.hl7"
    file.write_bytes(b"".join(MESSAGES).replace(b"\r", b"\r\n"))

    async def run() -> tuple[int | None, bytes]:
        server = await asyncio.start_server(serve_ours, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        sender = await asyncio.create_subprocess_exec(
            str(SEND), "--loose", "--file", str(file), "-p", str(port), "127.0.0.1",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(sender.communicate(), 30)
        server.close()
        await server.wait_closed()
        return sender.returncode, output

    code, output = asyncio.run(run())
    assert code == 0
    assert output.count(b"MSA|AA|") == len(MESSAGES)
