"""Compares a ledger of acknowledgements with what a journal holds after the crash."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from _durability_load import body_of, open_journal
from asepsis.core.errors import AsepsisError
from asepsis.core.journal.ports import Append, Journal
from asepsis.core.model.lanes import Account, Lane

PAGE = 2000
_ACK = re.compile(rb"ack (\S+) (\S+) (\d+) (\d+)\r?\n")

Key = tuple[str, str, int, int]
"""Account, producer, epoch, sequence."""


@dataclass
class Damage:
    """What is wrong with a journal.

    Attributes:
        held: Records found.
        acknowledged: Records in the ledger.
        missing: Acknowledged, but not there.
        twice: There more than once.
        changed: There with another body.
        miscounted: Accounts whose highest and gaps differ from the records.
    """

    held: int = 0
    acknowledged: int = 0
    missing: int = 0
    twice: int = 0
    changed: int = 0
    miscounted: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All faults together."""
        return self.missing + self.twice + self.changed + self.miscounted


def acknowledged(output: bytes) -> set[Key]:
    """Return the acknowledgements in the output of a load; a line cut short does not count."""
    return {
        (account.decode(), producer.decode(), int(epoch), int(sequence))
        for account, producer, epoch, sequence in _ACK.findall(output)
    }


def check(folder: Path, passphrase_file: Path, ledger: Iterable[Key]) -> Damage:
    """Open a journal after the crash and compare; one that cannot be read has lost everything."""
    wanted = set(ledger)
    damage = Damage(acknowledged=len(wanted))
    try:
        journal = open_journal(folder, passphrase_file)
        try:
            _compare(journal, wanted, damage)
        finally:
            journal.close()
    except AsepsisError as error:
        damage.missing, damage.examples = len(wanted), [str(error)]
    return damage


def _compare(journal: Journal, wanted: set[Key], damage: Damage) -> None:
    found: Counter[Key] = Counter()
    for record in _records(journal):
        found[record.account.value, record.producer, record.epoch, record.sequence] += 1
        damage.changed += record.body != body_of(record.account, record.producer, record.sequence)
    lost = wanted - found.keys()
    damage.held, damage.missing = found.total(), len(lost)
    damage.twice = sum(count > 1 for count in found.values())
    damage.examples = [str(key) for key in sorted(lost)[:5]]
    sequences: dict[tuple[str, str, int], set[int]] = {}
    for key in found:
        sequences.setdefault(key[:3], set()).add(key[3])
    for (account, producer, epoch), have in sequences.items():
        state = journal.account(Account(account), producer, epoch)
        gaps = {n for first, last in state.gaps for n in range(first, last + 1)}
        damage.miscounted += have | gaps != set(range(1, state.highest + 1)) or bool(have & gaps)


def _records(journal: Journal) -> Iterator[Append]:
    for lane in Lane:
        after = 0
        while page := journal.read(lane, after=after, records_max=PAGE):
            after = page[-1].position
            yield from (entry.append for entry in page)
