"""What witnesses are shown and what is kept of them, on both databases."""

import pytest
from sqlalchemy import Connection

from asepsis.core.errors import (
    ChainBroken,
    Conflict,
    InputError,
    LimitExceeded,
    NotFound,
    SignatureInvalid,
)
from asepsis.core.trust import libcrypto, merkle, witness
from asepsis.core.trust.witness import CoSignature, Seen
from asepsis.hub.audit import log, witnesses
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.audit.tables import heads
from asepsis.hub.store.store import Store

KEY = libcrypto.generate_key()
ACT = Act(actor="person:ana", action="approve-release", subject="vitals")
HOUR_NS = 3_600 * 10**9
START_NS = 500_000 * HOUR_NS


def write(store: Store, count: int) -> None:
    audit = AuditLog(store.clock)
    for _ in range(count):
        with store.unit_of_work() as connection:
            audit.record(connection, ACT)


def sign_head(store: Store) -> None:
    with store.unit_of_work() as connection:
        size = log.size(connection)
        connection.execute(
            heads.insert().values(
                size=size, root=log.root(connection, size), at_ns=1, signature=bytes(64)
            )
        )


def take(
    connection: Connection, store: Store, given: CoSignature, key: bytes | None = None
) -> None:
    witnesses.take(
        connection,
        AuditLog(store.clock),
        given,
        name="gw-1",
        kind="gateway",
        spki_der=key or KEY.spki_der,
        now_ns=store.clock(),
    )


def cosigned(store: Store, size: int, *, at_ns: int = START_NS) -> CoSignature:
    with store.reading() as connection:
        return witness.cosign(KEY, Seen(size, log.root(connection, size)), at_ns=at_ns)


def test_a_witness_is_shown_head_proof_and_leaves(store: Store) -> None:
    with store.reading() as connection, pytest.raises(NotFound):
        witnesses.growth(connection, 0)
    write(store, 7)
    sign_head(store)
    with store.reading() as connection:
        head, proof = witnesses.growth(connection, 3)
        merkle.verify_consistency(
            first=3,
            first_root=log.root(connection, 3),
            second=7,
            second_root=bytes.fromhex(head.root),
            proof=proof,
        )
        assert witnesses.growth(connection, 0) == (head, ())
        assert witnesses.growth(connection, 9) == (head, ())
        found = witnesses.leaves(connection, first=0, count=7)
        state = merkle.Frontier()
        for place in range(7):
            state, _ = state.append(found[32 * place : 32 * place + 32])
        assert state.root().hex() == head.root
        for first, count, error in ((0, 8, InputError), (-1, 1, InputError),
                                    (0, 9_000, LimitExceeded), (0, 0, LimitExceeded)):  # fmt: skip
            with pytest.raises(error):
                witnesses.leaves(connection, first=first, count=count)


def test_one_signature_of_a_witness_and_hour_is_kept(store: Store) -> None:
    write(store, 9)
    for size, minutes in ((2, 0), (3, 20), (5, 70), (6, 80), (6, 90)):
        with store.unit_of_work() as connection:
            take(connection, store, cosigned(store, size, at_ns=START_NS + minutes * 60 * 10**9))
    with store.reading() as connection:
        assert [one.size for one in witnesses.signed(connection)] == [3, 6]
        (known,) = witnesses.known(connection)
        assert (known.name, known.key) == ("gw-1", KEY.spki_der.hex())
        assert log.page(connection, after=8)[0].action == "witness-log"


def test_what_does_not_fit_is_refused(store: Store) -> None:
    write(store, 4)
    other = witness.cosign(KEY, Seen(3, bytes(32)), at_ns=1)
    beyond = witness.cosign(KEY, Seen(99, bytes(32)), at_ns=1)
    for given in (other, beyond):
        with store.unit_of_work() as connection, pytest.raises(ChainBroken):
            take(connection, store, given)
    given = cosigned(store, 3)
    with store.unit_of_work() as connection, pytest.raises(SignatureInvalid):
        take(connection, store, given, libcrypto.generate_key().spki_der)


def test_another_key_comes_only_after_a_person_ended_the_first(store: Store) -> None:
    write(store, 4)
    with store.unit_of_work() as connection:
        take(connection, store, cosigned(store, 3))
    new = libcrypto.generate_key()
    with store.reading() as connection:
        given = witness.cosign(new, Seen(4, log.root(connection, 4)), at_ns=START_NS)
    with store.unit_of_work() as connection, pytest.raises(Conflict):
        take(connection, store, given, new.spki_der)
    with store.unit_of_work() as connection:
        witnesses.end(connection, AuditLog(store.clock), name="gw-1", actor="person:ana")
        take(connection, store, given, new.spki_der)
    with store.unit_of_work() as connection, pytest.raises(NotFound):
        witnesses.end(connection, AuditLog(store.clock), name="nobody", actor="person:ana")
