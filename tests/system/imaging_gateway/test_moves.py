"""C-MOVE to ourselves at an archive of pynetdicom, which names itself as originator of the move."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dicom_ward import CT, EXPLICIT, IMPLICIT, free_port
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as MoveStudy
from relay_ward import images

from asepsis.core.wire import relay
from asepsis.core.wire.relay import Asked, Kind, Page
from asepsis.edge.gateway.imaging import hearing
from asepsis.edge.gateway.imaging.answering import FRAME_BYTES_MAX, HEAD, Frame
from asepsis.edge.gateway.imaging.arriving import Moves
from asepsis.edge.gateway.imaging.hearing import Ear, EarServer
from asepsis.edge.gateway.imaging.inquirer import Inquirer
from asepsis.edge.gateway.imaging.requestor import Remote

COUNT = 3


@contextmanager
def archive(files: list[Path], ours: int) -> Iterator[int]:
    """Run an archive that knows us as FAR; gives its port."""

    def move(event: Any) -> Iterator[Any]:
        yield ("127.0.0.1", ours) if event.move_destination == "FAR" else (None, None)
        yield len(files)
        for path in files:
            yield 0xFF00, dcmread(path)

    entity = AE("PACS")
    entity.add_supported_context(MoveStudy)
    entity.add_requested_context(CT, EXPLICIT)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_MOVE, move)]
    )
    assert server is not None
    try:
        yield port
    finally:
        server.shutdown()


async def retrieve(port: int, ours: int, *, title: str, syntax: str) -> tuple[list[bytes], Page]:
    """Ask as the hub does; return the data sets that came whole, and the last page."""
    moves = Moves()
    ear = Ear(
        socket=hearing.bind("127.0.0.1", ours), context=None, address="127.0.0.1",
        calling="PACS", called=title, answer_s=10,
    )  # fmt: skip
    await EarServer(ear, None, moves).open()
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=far, limit=FRAME_BYTES_MAX)
    place = Remote(host="127.0.0.1", port=port, called="PACS", calling=title, answer_s=10)
    serving = asyncio.create_task(
        Inquirer(reader, writer, place, matches_max=10, moves=moves).run()
    )
    pages, asking = await asyncio.open_unix_connection(sock=near, limit=FRAME_BYTES_MAX)
    level = {"00080052": {"vr": "CS", "Value": ["STUDY"]}}
    asked = Asked(
        id="a" * 32, kind=Kind.GET, archive="pacs", device="urn:dev:mac:0000000000000001",
        calling="CT1", dataset=level, contexts=((CT, syntax),),
    )  # fmt: skip
    body = relay.encode(asked)
    asking.write(HEAD.pack(Frame.QUESTION, len(body)) + body)
    found, last = await answer(pages)
    asking.close()
    await serving
    writer.close()
    ear.socket.close()
    return found, last


async def answer(pages: asyncio.StreamReader) -> tuple[list[bytes], Page]:
    whole: list[bytes] = []
    data = b""
    while True:
        kind, length = HEAD.unpack(await pages.readexactly(HEAD.size))
        body = await pages.readexactly(length)
        if kind == Frame.BYTES:
            data += body
            continue
        page = relay.decode_page(body)
        if page.ended == "whole":
            whole.append(data)
            data = b""
        if kind == Frame.LAST:
            return whole, page


def test_what_an_archive_moves_to_us_is_handed_on_whole(tmp_path: Path) -> None:
    files, ours = list(images(tmp_path / "prior", COUNT)), free_port()
    with archive(files, ours) as port:
        found, last = asyncio.run(retrieve(port, ours, title="FAR", syntax=EXPLICIT))
    assert (last.status, last.completed, last.failed) == (0, COUNT, 0)
    pixels = [dcmread(path).PixelData for path in files]
    assert [data[-len(pixels[0]) :] for data in found] == pixels


def test_an_archive_that_does_not_know_us_gives_no_empty_success(tmp_path: Path) -> None:
    files, ours = list(images(tmp_path / "prior", COUNT)), free_port()
    with archive(files, ours) as port:
        found, last = asyncio.run(retrieve(port, ours, title="OTHER", syntax=EXPLICIT))
    assert (found, last.status) == ([], 0xC001)
    assert "OTHER" in last.comment


def test_what_the_asker_does_not_take_is_not_taken(tmp_path: Path) -> None:
    """Goal: nothing is converted, and a retrieval of which nothing came is no success."""
    files, ours = list(images(tmp_path / "prior", COUNT)), free_port()
    with archive(files, ours) as port:
        found, last = asyncio.run(retrieve(port, ours, title="FAR", syntax=IMPLICIT))
    assert found == []
    assert last.status != 0
