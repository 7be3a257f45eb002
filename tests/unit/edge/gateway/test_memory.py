"""Goal: repetitions are known over restarts, within bounds, and the file says nothing by itself."""

from pathlib import Path

import pytest

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway.memory import Known, Mark, Memory

KEY = bytes(range(32))


def opened(path: Path, *, messages_max: int = 100, age_s: int = 1_000) -> Memory:
    return Memory(path, key=KEY, messages_max=messages_max, age_s=age_s)


def save(memory: Memory) -> None:
    entries, whole = memory.take_unsaved()
    memory.write(entries, whole=whole)


def mark(memory: Memory, number: int, *, body: bytes = b"", peer: str = "bed") -> Mark:
    return memory.mark(peer, b"id-%d" % number, b"%d %b" % (number, body))


def test_what_was_taken_is_known_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    memory = opened(path)
    for number in range(10):
        memory.add(mark(memory, number), now_s=number)
        if number in {3, 6}:
            save(memory)
    save(memory)
    again = opened(path)
    for number in range(10):
        assert again.known(mark(again, number), now_s=20) is Known.DUPLICATE
        other = mark(again, number, body=b"other")
        assert again.known(other, now_s=20) is Known.ID_REUSED
        assert again.known(mark(again, number, peer="else"), now_s=20) is Known.NEW
    assert again.known(mark(again, 10), now_s=20) is Known.NEW


def test_the_oldest_gives_way_in_number_and_in_age(tmp_path: Path) -> None:
    memory = opened(tmp_path / "memory", messages_max=5, age_s=100)
    for number in range(8):
        memory.add(mark(memory, number), now_s=number)
    known = [memory.known(mark(memory, number), now_s=8) for number in range(8)]
    assert known == [Known.NEW] * 3 + [Known.DUPLICATE] * 5
    assert memory.known(mark(memory, 5), now_s=105) is Known.DUPLICATE
    assert memory.known(mark(memory, 5), now_s=106) is Known.NEW
    assert memory.known(mark(memory, 6), now_s=106) is Known.DUPLICATE


def test_a_peer_that_talks_much_forgets_only_its_own(tmp_path: Path) -> None:
    memory = opened(tmp_path / "memory", messages_max=5)
    memory.add(mark(memory, 1, peer="quiet"), now_s=0)
    for number in range(50):
        memory.add(mark(memory, number, peer="loud"), now_s=0)
    assert memory.known(mark(memory, 1, peer="quiet"), now_s=0) is Known.DUPLICATE


def test_an_id_used_twice_is_known_until_both_are_forgotten(tmp_path: Path) -> None:
    memory = opened(tmp_path / "memory", messages_max=2)
    memory.add(mark(memory, 1, body=b"a"), now_s=0)
    memory.add(mark(memory, 1, body=b"b"), now_s=0)
    memory.add(mark(memory, 2), now_s=0)
    assert memory.known(mark(memory, 1, body=b"a"), now_s=0) is Known.ID_REUSED
    memory.add(mark(memory, 3), now_s=0)
    assert memory.known(mark(memory, 1, body=b"b"), now_s=0) is Known.NEW


def test_what_the_hub_refused_is_forgotten_for_good(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    memory = opened(path)
    memory.add(mark(memory, 1), now_s=0)
    memory.add(mark(memory, 2), now_s=0)
    save(memory)
    memory.forget(mark(memory, 1))
    save(memory)
    again = opened(path)
    assert again.known(mark(again, 1), now_s=0) is Known.NEW
    assert again.known(mark(again, 2), now_s=0) is Known.DUPLICATE


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    memory = opened(path, messages_max=100)
    for number in range(10_000):
        memory.add(mark(memory, number), now_s=0)
        if number % 50 == 0:
            save(memory)
    assert path.stat().st_size < 48 * 3_000


@pytest.mark.parametrize("cut", range(1, 48, 5))
def test_a_power_cut_in_the_middle_of_an_entry_costs_that_entry(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "memory"
    memory = opened(path)
    memory.add(mark(memory, 1), now_s=0)
    memory.add(mark(memory, 2), now_s=0)
    save(memory)
    path.write_bytes(path.read_bytes()[:-cut])
    again = opened(path)
    assert again.known(mark(again, 1), now_s=0) is Known.DUPLICATE
    assert again.known(mark(again, 2), now_s=0) is Known.NEW
    again.add(mark(again, 3), now_s=0)
    save(again)
    assert opened(path).known(mark(again, 3), now_s=0) is Known.DUPLICATE


def test_hashes_need_the_key_and_foreign_files_are_refused(tmp_path: Path) -> None:
    one = Memory(tmp_path / "a", key=KEY, messages_max=100, age_s=100)
    other = Memory(tmp_path / "b", key=KEY[::-1], messages_max=100, age_s=100)
    assert mark(one, 1) != mark(other, 1)
    (tmp_path / "c").write_bytes(b"something else")
    with pytest.raises(ConfigError):
        opened(tmp_path / "c")
