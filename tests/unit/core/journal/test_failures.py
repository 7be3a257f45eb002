"""Anomalies: every statement, commit and key file is made to fail once, at call 1, 2, 3..."""

import sqlite3
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

import pytest

from asepsis.core.errors import BackPressure, ConfigError, TransientError, Unavailable
from asepsis.core.journal import schema, writer
from asepsis.core.journal.ports import Outcome
from asepsis.core.model.lanes import Account, Lane

Make = Callable[..., Any]


class FailingConnection(sqlite3.Connection):
    """A connection whose n-th call fails, before or after SQLite has done it."""

    left: ClassVar[float] = float("inf")
    afterwards: ClassVar[bool] = False

    def _fail_if_due(self) -> None:
        FailingConnection.left -= 1
        if FailingConnection.left == 0:
            raise sqlite3.OperationalError("disk I/O error, made by the test")

    def execute(self, *args: Any) -> sqlite3.Cursor:
        if self.afterwards:
            cursor = super().execute(*args)
            self._fail_if_due()
            return cursor
        self._fail_if_due()
        return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self._fail_if_due()
        return super().executemany(*args)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[FailingConnection]:
    connect = sqlite3.connect

    def make(*args: Any, **options: Any) -> sqlite3.Connection:
        return connect(*args, **options, factory=FailingConnection)

    FailingConnection.left = float("inf")
    FailingConnection.afterwards = False
    monkeypatch.setattr(schema.sqlite3, "connect", make)
    return FailingConnection


@pytest.mark.parametrize("afterwards", [False, True], ids=["before", "after"])
def test_a_failed_call_leaves_nothing_behind(
    failing: Any, make_journal: Make, make_record: Make, tmp_path: Any, *, afterwards: bool
) -> None:
    """Goal: after any failure, memory equals the disk and the same records can be sent again.

    "after" is the worst case: SQLite has done it, the commit too, and reports an error.
    """
    for n in count(1):
        folder = tmp_path / str(n)
        journal = make_journal(folder)
        journal.submit(make_record(1)).result(20)
        journal.register("charts", {Lane.VITALS: True})
        failing.afterwards, failing.left = afterwards, n
        errors = [journal.submit(make_record(3)).exception(20)]
        errors.append(journal.submit(make_record(1, Lane.ALERT, producer="new")).exception(20))
        failed = failing.left <= 0
        failing.left = float("inf")
        assert all(error is None or isinstance(error, TransientError) for error in errors)
        again = [journal.submit(make_record(n)) for n in (3, 2, 4)]
        assert all(future.result(20) for future in again)
        _check_equal(journal, make_journal, folder)
        if not failed:
            assert n > 5, "the failures must have reached the group"
            return


def _check_equal(journal: Any, make_journal: Make, folder: Any) -> None:
    states = []
    for opened in (journal, None):
        now = opened or make_journal(folder)
        held = now.read(Lane.VITALS, after=0, records_max=10)
        states.append(
            (
                [(record.position, record.append.sequence) for record in held],
                now.account(Account.ORIGIN, "bed", 1),
                now.status(),
                now.cursor("charts", Lane.VITALS),
            )
        )
        now.close()
    assert states[0] == states[1]
    assert sorted(sequence for _, sequence in states[0][0]) == [1, 2, 3, 4]


@pytest.mark.parametrize("call", range(1, 12))
def test_failed_housekeeping_can_be_repeated(
    failing: Any, make_journal: Make, make_record: Make, call: int
) -> None:
    journal = make_journal()
    for n in (1, 2):
        journal.submit(make_record(n, received_at_ns=n)).result(20)
    failing.left = call
    for job in (
        lambda: journal.register("charts", {Lane.VITALS: False}),
        lambda: journal.expire(10**18),
    ):
        try:
            job()
        except TransientError:
            failing.left = float("inf")
            job()
    assert journal.read(Lane.VITALS, after=0, records_max=10) == []
    assert journal.submit(make_record(2)).result(20).outcome is Outcome.DUPLICATE
    assert journal.cursor("charts", Lane.VITALS) == 0


def test_a_bug_in_the_writer_is_told_to_everyone_who_waits(
    make_journal: Make, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: our own bug stops the journal; nobody is left waiting or wrongly acknowledged."""

    class Bug(BaseException):
        pass

    def fail(*_: object) -> None:
        raise Bug

    seen: list[Any] = []
    monkeypatch.setattr("threading.excepthook", seen.append)
    monkeypatch.setattr(writer.Group, "write", fail)
    journal = make_journal()
    futures = [journal.submit(make_record(n)) for n in (1, 2)]
    assert all(isinstance(future.exception(20), Unavailable) for future in futures)
    journal.close()
    assert [args.exc_type for args in seen] == [Bug]


def test_without_space_for_a_new_key_nothing_is_stored(
    make_journal: Make, make_record: Make, tmp_path: Any
) -> None:
    """Goal: a day's first record on a full disk is back-pressure, and goes through later."""
    journal = make_journal()
    keys = tmp_path / "keys"
    blocker = keys / "vitals.20000.key.partial"
    blocker.symlink_to("/dev/full")
    assert isinstance(journal.submit(make_record(1)).exception(20), BackPressure)
    blocker.unlink(missing_ok=True)
    assert journal.submit(make_record(1)).result(20).position == 1


def test_a_second_process_is_kept_out(make_journal: Make) -> None:
    journal = make_journal()
    with pytest.raises(ConfigError, match="open"):
        make_journal()
    journal.close()
    make_journal()


def test_a_foreign_file_is_refused(make_journal: Make, tmp_path: Any) -> None:
    make_journal().close()
    with sqlite3.connect(tmp_path / "journal" / "signed.db") as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(ConfigError, match="format 99"):
        make_journal()
    (tmp_path / "journal" / "signed.db").write_bytes(b"not a database, certainly" * 300)
    with pytest.raises(ConfigError):
        make_journal()


def test_a_file_at_its_quota_is_back_pressure(
    make_journal: Make, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: no space means refusal, nothing stored, and all goes on once there is space."""
    quota = (*schema.WRITER_PRAGMAS, "PRAGMA max_page_count=60")
    with monkeypatch.context() as small:
        small.setattr(schema, "WRITER_PRAGMAS", quota)
        journal = make_journal()
    errors = [journal.submit(make_record(n, body=bytes(4000))).exception(20) for n in range(1, 100)]
    first = next(n for n, error in enumerate(errors, 1) if error is not None)
    assert isinstance(errors[first - 1], BackPressure)
    assert journal.account(Account.ORIGIN, "bed", 1).highest == first - 1
    assert journal.submit(make_record(1)).result(20).outcome is Outcome.DUPLICATE
    journal.close()
    again = make_journal()
    assert again.submit(make_record(first)).result(20).position == first
