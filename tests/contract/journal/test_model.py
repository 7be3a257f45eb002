"""Any order of live, late, repeated and forked records, crashes between: journal against model."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from asepsis.core.errors import ChainBroken, InputError, LimitExceeded
from asepsis.core.journal.ports import Link, Outcome
from asepsis.core.model.lanes import Account, Lane

LANES = st.sampled_from([Lane.ALERT, Lane.VITALS, Lane.LATE, Lane.WAVEFORM])
PRODUCERS = st.sampled_from(["bed-1", "bed-2"])
GAPS_MAX = 4
SEQUENCES = 12


@dataclass
class Model:
    """The journal in a dozen lines: sets of sequences, and streams as lists."""

    received: dict[tuple[Account, str, int], set[int]] = field(default_factory=dict)
    streams: dict[Lane, list[tuple[str, int, int]]] = field(default_factory=dict)

    def gaps(self, key: tuple[Account, str, int]) -> tuple[tuple[int, int], ...]:
        have = sorted({0} | self.received.get(key, set()))
        pairs = pairwise(have)
        return tuple((low + 1, high - 1) for low, high in pairs if high > low + 1)

    def judge(self, record: Any) -> str:
        """Return "duplicate", "stored" or the name of the error."""
        key = (record.account, record.producer, record.epoch)
        have = self.received.get(key, set())
        if record.sequence in have:
            return "duplicate"
        newest = max((e for a, p, e in self.received if (a, p) == key[:2]), default=-1)
        after = Model({key: have | {record.sequence}}).gaps(key)
        late = record.lane is Lane.LATE
        hole = next((g for g in self.gaps(key) if g[0] <= record.sequence <= g[1]), None)
        if late and hole is not None and hole[0] != record.sequence:
            return "InputError"
        if len(after) > GAPS_MAX and len(after) > len(self.gaps(key)):
            return "LimitExceeded"
        return "InputError" if record.epoch < newest and not late else "stored"

    def store(self, record: Any) -> None:
        key = (record.account, record.producer, record.epoch)
        self.received.setdefault(key, set()).add(record.sequence)
        entry = (record.producer, record.epoch, record.sequence)
        self.streams.setdefault(record.lane, []).append(entry)


class JournalMachine(RuleBasedStateMachine):
    """Drives one desk; `desk_type` and `kind` come from the test below."""

    desk_type: Any
    kind: str

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.desk = self.desk_type(self.kind, Path(self.folder.name))
        self.model = Model()

    def record(self, lane: Lane, producer: str, epoch: int, sequence: int, **more: Any) -> Any:
        if lane is Lane.LATE and sequence % 2:
            more |= {"account": Account.WAVEFORM, "link": None}
        return self.desk.record(sequence, lane, producer=producer, epoch=epoch, **more)

    @rule(
        records=st.lists(
            st.tuples(LANES, PRODUCERS, st.integers(1, 2), st.integers(1, SEQUENCES)),
            min_size=1,
            max_size=6,
        )
    )
    def send(self, records: list[tuple[Lane, str, int, int]]) -> None:
        """Several at once, so that they meet in one group."""
        sent = [self.record(*values) for values in records]
        futures = [self.desk.journal.submit(record) for record in sent]
        # Two files work side by side: judge each in its own order, which is that of submission.
        for record, future in zip(sent, futures, strict=True):
            expected = self.model.judge(record)
            error = future.exception(timeout=20)
            if error is None:
                assert future.result().outcome is Outcome(expected), record
                if expected == "stored":
                    self.model.store(record)
            else:
                assert type(error).__name__ == expected, (record, error)
                assert isinstance(error, InputError | LimitExceeded)

    @rule(producer=PRODUCERS, epoch=st.integers(1, 2), sequence=st.integers(1, SEQUENCES))
    def fork(self, producer: str, epoch: int, sequence: int) -> None:
        """Another record under a sequence that is taken is refused, whatever its lane."""
        key = (Account.ORIGIN, producer, epoch)
        if sequence in self.model.received.get(key, set()):
            own = self.desk.record(sequence, producer=producer, epoch=epoch)
            link = Link(b"f" * 32, own.link.previous)
            with pytest.raises(ChainBroken):
                self.desk.append(sequence, producer=producer, epoch=epoch, link=link)

    @rule(producer=PRODUCERS, sequence=st.integers(2, SEQUENCES))
    def break_chain(self, producer: str, sequence: int) -> None:
        """A record that does not follow its stored neighbour is never taken."""
        have = self.model.received.get((Account.ORIGIN, producer, 2), set())
        if sequence - 1 in have and sequence not in have:
            link = Link(self.desk.record(sequence, producer=producer).link.digest, b"b" * 32)
            with pytest.raises(ChainBroken):
                self.desk.append(sequence, producer=producer, epoch=2, link=link)

    @rule()
    def reopen(self) -> None:
        self.desk.reopen()

    @invariant()
    def streams_are_equal(self) -> None:
        for lane in (Lane.ALERT, Lane.VITALS, Lane.WAVEFORM, Lane.LATE):
            held = self.desk.journal.read(lane, after=0, records_max=1000)
            found = [(r.append.producer, r.append.epoch, r.append.sequence) for r in held]
            positions = [r.position for r in held]
            assert positions == sorted(set(positions))
            if lane is Lane.LATE:  # Its order between the two accounts is the writers' affair.
                found, expected = sorted(found), sorted(self.model.streams.get(lane, []))
            else:
                expected = self.model.streams.get(lane, [])
            assert found == expected

    @invariant()
    def accounts_are_equal(self) -> None:
        for key, received in self.model.received.items():
            state = self.desk.journal.account(*key)
            assert (state.highest, state.gaps) == (max(received), self.model.gaps(key))

    def teardown(self) -> None:
        self.desk.close()
        self.folder.cleanup()


def test_journal_equals_its_model(desk: Any) -> None:
    """Goal: no order of events makes journal and model differ."""

    class Machine(JournalMachine):
        desk_type = type(desk)
        kind = desk.kind

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
