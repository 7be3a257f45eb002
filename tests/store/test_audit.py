"""The audit log in the store: one order, proofs, and every touched row found."""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text

from asepsis.core.errors import AsepsisError, ChainBroken, InputError, NotFound
from asepsis.core.trust import merkle
from asepsis.core.trust.signer_values import TreeHead
from asepsis.hub.audit import log
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act, leaf
from asepsis.hub.audit.service import AuditService
from asepsis.hub.store.store import Store

ACT = Act(actor="person:ana", action="revoke-device", subject="urn:x", detail={"patient": "JANE"})


class HashSigner:
    """Signs as the signer does, with a hash instead of a key: the state machine is what counts."""

    def __init__(self) -> None:
        self.seen: list[TreeHead] = []

    async def sign_tree_head(self, head: TreeHead) -> bytes:
        """Remember and answer."""
        self.seen.append(head)
        return hashlib.sha512(head.root).digest()


def write(store: Store, count: int) -> None:
    audit = AuditLog(store.clock)
    for _ in range(count):
        with store.unit_of_work() as connection:
            audit.record(connection, ACT)


def test_an_entry_is_as_durable_as_its_act(store: Store) -> None:
    audit = AuditLog(store.clock)

    def fail() -> None:
        with store.unit_of_work() as connection:
            audit.record(connection, ACT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.reading() as connection:
        assert log.size(connection) == 0
        assert log.check(connection) == 0


def test_the_stored_tree_is_the_tree_of_the_entries(store: Store) -> None:
    write(store, 21)
    with store.reading() as connection:
        state = merkle.Frontier()
        for entry in log.page(connection, after=-1):
            state, _ = state.append(leaf(entry))
            assert log.root(connection, state.size) == state.root()
        assert log.check(connection) == 21


def test_proofs_of_every_entry_and_every_pair_of_sizes(store: Store) -> None:
    write(store, 9)
    with store.reading() as connection:
        entries = log.page(connection, after=-1)
        roots = {n: log.root(connection, n) for n in range(1, 10)}
        for count, root in roots.items():
            for index in range(count):
                merkle.verify_inclusion(
                    leaf(entries[index]),
                    index=index,
                    size=count,
                    proof=log.inclusion(connection, index, count=count),
                    root=root,
                )
            for first in range(1, count + 1):
                merkle.verify_consistency(
                    first=first,
                    first_root=roots[first],
                    second=count,
                    second_root=root,
                    proof=log.consistency(connection, first, count),
                )
        with pytest.raises(InputError):
            log.inclusion(connection, 0, count=10)
        with pytest.raises(InputError):
            log.consistency(connection, 1, 10)


def test_writers_of_two_hubs_make_one_log(store: Store, open_store: Callable[[], Store]) -> None:
    stores = [store, open_store()]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda i: write(stores[i % 2], 5), range(8)))
    with store.reading() as connection:
        assert log.check(connection) == 40


def test_a_page_is_bounded_and_continues(store: Store) -> None:
    write(store, 5)
    with store.reading() as connection:
        first = log.page(connection, after=-1, entries_max=3)
        rest = log.page(connection, after=first[-1].index, entries_max=3)
    assert [e.index for e in first + rest] == [0, 1, 2, 3, 4]


def test_names_from_outside_are_cut_not_refused(store: Store) -> None:
    long = Act(actor="x" * 999, action="y" * 999, subject="z" * 999, outcome="o" * 999)
    with store.unit_of_work() as connection:
        AuditLog(store.clock).record(connection, long)
    with store.reading() as connection:
        assert len(log.page(connection, after=-1)[0].actor) == log.ACTOR_CHARS_MAX
        assert log.check(connection) == 1


def test_details_are_sealed(store: Store) -> None:
    write(store, 1)
    with store.reading() as connection:
        raw = connection.execute(text("SELECT detail FROM audit_entries")).scalar_one()
    assert b"JANE" not in bytes(raw)


TAMPERING = {
    "actor": "UPDATE audit_entries SET actor = 'person:bob' WHERE leaf_index = 3",
    "time": "UPDATE audit_entries SET at_ns = at_ns + 1 WHERE leaf_index = 3",
    "outcome": "UPDATE audit_entries SET outcome = 'x' WHERE leaf_index = 0",
    "removed": "DELETE FROM audit_entries WHERE leaf_index = 3",
    "removed last": "DELETE FROM audit_entries WHERE leaf_index = 6",
    "added": (
        "INSERT INTO audit_entries SELECT 7, at_ns, actor, action, subject, outcome, detail"
        " FROM audit_entries WHERE leaf_index = 3"
    ),
    "detail of another": (
        "UPDATE audit_entries SET detail = (SELECT e.detail FROM audit_entries e"
        " WHERE e.leaf_index = 2) WHERE leaf_index = 3"
    ),
    "leaf": "UPDATE audit_nodes SET hash = (SELECT n.hash FROM audit_nodes n WHERE n.level = 1"
    " AND n.node_index = 0) WHERE level = 0 AND node_index = 3",
    "node": "DELETE FROM audit_nodes WHERE level = 2",
    "size": "UPDATE counters SET value = 6 WHERE name = 'audit'",
    "head": "UPDATE audit_heads SET size = 6",
}


@pytest.mark.parametrize("statement", TAMPERING.values(), ids=TAMPERING.keys())
def test_every_touched_row_is_found(store: Store, statement: str) -> None:
    write(store, 7)
    asyncio.run(AuditService(store, HashSigner(), holder="a").sign_head())
    with store.unit_of_work() as connection:
        connection.execute(text(statement))
    with pytest.raises(AsepsisError) as caught:
        checked(store, log.check)
    assert caught.value.code in {"ASP-204", "ASP-205"}


def checked(store: Store, call: Callable[[Connection], object]) -> object:
    with store.reading() as connection:
        return call(connection)


def test_whoever_rewrites_the_whole_log_meets_the_signed_head(store: Store) -> None:
    """Goal: entries, nodes and counter made anew, consistently; the old head tells."""
    write(store, 3)
    asyncio.run(AuditService(store, HashSigner(), holder="a").sign_head())
    with store.unit_of_work() as connection:
        for statement in (
            "DELETE FROM audit_entries",
            "DELETE FROM audit_nodes",
            "UPDATE counters SET value = 0 WHERE name = 'audit'",
        ):
            connection.execute(text(statement))
    write(store, 4)
    with pytest.raises(ChainBroken, match="first 3"):
        checked(store, log.check)


def test_heads_are_signed_once_a_state(store: Store, open_store: Callable[[], Store]) -> None:
    signer = HashSigner()
    services = [
        AuditService(store, signer, holder="a"),
        AuditService(open_store(), signer, holder="b"),
    ]

    async def scenario() -> None:
        with pytest.raises(NotFound):
            await services[0].sign_head()
        assert await services[0].task.step()
        assert signer.seen == []
        write(store, 2)
        one, two = await asyncio.gather(*(s.sign_head() for s in services))
        assert one == two
        assert await services[1].sign_head() == one
        write(store, 1)
        await asyncio.gather(*(s.task.step() for s in services))

    asyncio.run(scenario())
    with store.reading() as connection:
        found = log.signed_heads(connection)
        assert [h.size for h in found] == [2, 3]
        assert found[1].root == log.root(connection, 3).hex()
        assert log.signed_heads(connection, last=1) == found[1:]
