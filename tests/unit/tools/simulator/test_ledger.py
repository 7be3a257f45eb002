"""The comparison of ledgers notices what went wrong."""

from pathlib import Path

from asepsis.tools.simulator import ledger


def write(path: Path, *lines: tuple[str, int]) -> Path:
    writer = ledger.LedgerWriter(path)
    for mark, sequence in lines:
        writer.write(mark, ledger.key_of("origin", "urn:x", 1, sequence, bytes([sequence])))
    writer.close()
    return path


def test_nothing_lost_and_nothing_twice(tmp_path: Path) -> None:
    sent = write(tmp_path / "s", *((m, n) for n in (1, 2) for m in (ledger.MADE, ledger.ACKED)))
    got = write(tmp_path / "r", (ledger.GOT, 1), (ledger.GOT, 2))
    found = ledger.compare([sent], [got])
    assert (found.lost, found.duplicated, found.foreign) == ((), 0, 0)


def test_a_dropped_record_is_lost_even_if_it_was_acknowledged_late(tmp_path: Path) -> None:
    sent = write(tmp_path / "s", (ledger.MADE, 1), (ledger.ACKED_LATE, 1))
    assert len(ledger.compare([sent], [write(tmp_path / "r")]).lost) == 1


def test_a_record_made_but_never_acknowledged_is_not_lost(tmp_path: Path) -> None:
    sent = write(tmp_path / "s", (ledger.MADE, 1))
    assert ledger.compare([sent], [write(tmp_path / "r")]).lost == ()


def test_doubles_and_strangers_are_counted(tmp_path: Path) -> None:
    sent = write(tmp_path / "s", (ledger.MADE, 1), (ledger.ACKED, 1))
    got = write(tmp_path / "r", (ledger.GOT, 1), (ledger.GOT, 1), (ledger.GOT, 9))
    found = ledger.compare([sent], [got])
    assert (found.duplicated, found.foreign) == (1, 1)


def test_the_same_number_with_other_bytes_is_lost_and_foreign(tmp_path: Path) -> None:
    """Goal: bytes are compared, not only numbers."""
    sent = write(tmp_path / "s", (ledger.MADE, 1), (ledger.ACKED, 1))
    receiver = ledger.LedgerWriter(tmp_path / "r")
    receiver.write(ledger.GOT, ledger.key_of("origin", "urn:x", 1, 1, b"changed"))
    receiver.close()
    found = ledger.compare([sent], [tmp_path / "r"])
    assert (len(found.lost), found.foreign) == (1, 1)


def test_an_unfinished_last_line_is_not_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "s", (ledger.ACKED, 1))
    with path.open("a") as file:
        file.write("acked origin urn:x 1 2 00")
    assert sum(ledger.read([path], ledger.ACKED).values()) == 1


def test_a_message_is_its_bytes() -> None:
    """Goal: a sender that sends a message again has made nothing new."""
    assert ledger.message_key(b"MSH|1") == ledger.message_key(b"MSH|1")
    assert ledger.message_key(b"MSH|1") != ledger.message_key(b"MSH|2")
