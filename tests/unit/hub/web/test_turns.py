"""Turns: who can wait stands in line, and never longer lines than a turn of the loop can bear."""

import asyncio

from asepsis.hub.web.turns import STARTS_MAX, STARTS_MIN, TURN_S, Turns


class Loop:
    """Calls what is soon when a test says that a turn passes."""

    def __init__(self) -> None:
        self.soon: list[tuple[object, ...]] = []
        self.cpu_s = 0.0

    def call_soon(self, callback: object, *_: object) -> None:
        self.soon.append((callback,))

    def turn(self, *, cost_s: float) -> None:
        self.cpu_s += cost_s
        now, self.soon = self.soon, []
        for (callback,) in now:
            assert callable(callback)
            callback()


def turns() -> tuple[Loop, Turns]:
    loop = Loop()
    return loop, Turns(loop, cpu=lambda: loop.cpu_s)  # type: ignore[arg-type]


def test_a_quiet_loop_begins_at_once() -> None:
    loop, line = turns()
    begun: list[int] = []
    for number in range(5):
        line.begin(lambda number=number: begun.append(number))
        loop.turn(cost_s=0)
    assert begun == [0, 1, 2, 3, 4]
    assert not loop.soon, "nobody waits, so nothing turns"


def test_a_crowd_stands_in_line_and_keeps_its_order() -> None:
    """Goal: long turns begin fewer, down to a floor; short ones more; nobody is forgotten."""
    loop, line = turns()
    begun: list[int] = []
    for number in range(1_000):
        line.begin(lambda number=number: begun.append(number))
    assert len(begun) == STARTS_MAX
    sizes: list[int] = []
    while len(line):
        before = len(begun)
        loop.turn(cost_s=2 * TURN_S if len(sizes) < 20 else 0)
        sizes.append(len(begun) - before)
    assert begun == list(range(1_000))
    assert min(sizes[:20]) == STARTS_MIN
    assert max(sizes[20:]) > STARTS_MIN


def test_it_turns_on_a_real_loop() -> None:
    async def play() -> None:
        line = Turns(asyncio.get_running_loop())
        begun: list[int] = []
        for number in range(3 * STARTS_MAX):
            line.begin(lambda number=number: begun.append(number))
        async with asyncio.timeout(10):
            while len(line):  # noqa: ASYNC110 - only turns of the loop are counted
                await asyncio.sleep(0)
        assert begun == list(range(3 * STARTS_MAX))

    asyncio.run(play())
