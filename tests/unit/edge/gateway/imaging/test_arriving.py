"""What counts as a sub-operation of our own move, and how its instances are handed on."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from asepsis.core.errors import Unavailable
from asepsis.core.wire.relay import Begun, Page
from asepsis.edge.gateway.imaging import dimse
from asepsis.edge.gateway.imaging.arriving import Move, Moves
from asepsis.edge.gateway.imaging.dimse import Command
from asepsis.edge.gateway.imaging.pdu_values import ProposedContext

CT, EXPLICIT, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BEGUN = Begun(sop_class=CT, sop_instance="1.2.3", transfer_syntax=EXPLICIT)


def made(pages: list[Page | bytes]) -> Move:
    async def send(page: Page | bytes) -> None:
        await asyncio.sleep(0)
        pages.append(page)

    return Move(titles=("FAR", "PACS"), message=7, pairs=[(CT, EXPLICIT)], send=send)


def store(originator: tuple[str, int] | None) -> Command:
    data = dimse.store_request(1, sop_class=CT, sop_instance="1.2.3", originator=originator)
    return Command.decode(data)


@pytest.mark.parametrize("originator", [None, ("FAR", 7), ("PACS", 7)])
def test_an_archive_may_leave_out_whose_instance_it_is_or_name_itself(
    originator: tuple[str, int] | None,
) -> None:
    assert made([]).is_origin_of(store(originator))


@pytest.mark.parametrize("originator", [("FAR", 8), ("NEAR", 7)])
def test_an_instance_of_another_move_is_none_of_ours(originator: tuple[str, int]) -> None:
    assert not made([]).is_origin_of(store(originator))


def test_only_what_the_asker_takes_is_taken() -> None:
    move = made([])
    assert move.syntax_of(ProposedContext(1, CT, (IMPLICIT, EXPLICIT))) == EXPLICIT
    assert move.syntax_of(ProposedContext(3, CT, (IMPLICIT,))) == ""
    assert move.syntax_of(ProposedContext(5, "1.2.3", (EXPLICIT,))) == ""


async def pieces(*data: bytes, cut: bool = False) -> AsyncIterator[bytes]:
    for piece in data:
        await asyncio.sleep(0)
        yield piece
    if cut:
        raise Unavailable("cut")


def test_instances_of_two_associations_do_not_mix() -> None:
    pages: list[Page | bytes] = []

    async def both() -> None:
        move = made(pages)
        move.remaining = 2
        await asyncio.gather(
            move.take(BEGUN, pieces(b"a", b"b")), move.take(BEGUN, pieces(b"c", b"d"))
        )
        await move.settled()

    asyncio.run(both())
    kinds = ["bytes" if isinstance(p, bytes) else p.ended or f"begun {p.remaining}" for p in pages]
    assert kinds == ["begun 1", "bytes", "bytes", "whole", "begun 0", "bytes", "bytes", "whole"]


def test_an_instance_that_was_cut_breaks_the_move() -> None:
    """Goal: half an instance is never followed by a success."""

    async def cut() -> None:
        move = made([])
        with pytest.raises(Unavailable):
            await move.take(BEGUN, pieces(b"a", cut=True))
        with pytest.raises(Unavailable):
            await move.settled()

    asyncio.run(cut())


def test_one_move_at_a_time() -> None:
    seen: list[str] = []

    async def one(moves: Moves, move: Move, name: str) -> None:
        async with moves.under_way(move):
            assert moves.current is move
            seen.append(f"{name} begins")
            await asyncio.sleep(0)
            seen.append(f"{name} ends")

    async def both() -> None:
        moves = Moves()
        await asyncio.gather(one(moves, made([]), "a"), one(moves, made([]), "b"))
        assert moves.current is None

    asyncio.run(both())
    assert seen == ["a begins", "a ends", "b begins", "b ends"]
