"""What witnesses of the log are shown, and what they signed, kept for readers.

The hub judges nothing here that a reader relies on: a reader has the witnesses' keys from
elsewhere. It keeps one signature of each witness and hour, and refuses what does not fit its log,
so that a witness that sees another log is told at once.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select

from asepsis.core.errors import ChainBroken, Conflict, InputError, LimitExceeded, NotFound
from asepsis.core.trust import libcrypto, merkle, witness
from asepsis.core.trust.witness import CoSignature
from asepsis.hub.audit import log
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act, SignedHead
from asepsis.hub.audit.tables import cosignatures, nodes, witnesses

WITNESSES_MAX: Final = 64
"""Gateways, vendors and some devices; a reader wants a few that differ, not a crowd."""
HOUR_NS: Final = 3_600 * 10**9
LEAVES_MAX: Final = 8_192
"""Leaf hashes in one answer: 256 KiB."""
COSIGNATURES_MAX: Final = 200_000


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """A witness as readers see it.

    Attributes:
        name: Its enrolled name.
        kind: Gateway, device or consumer; a vendor's witness is enrolled as a consumer.
        key: Public key, SubjectPublicKeyInfo, hexadecimal.
        since_ns: When it came first.
    """

    name: str
    kind: str
    key: str
    since_ns: int


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A cosignature as readers see it; hashes and signature are hexadecimal."""

    witness: str
    size: int
    root: str
    at_ns: int
    signature: str


def growth(connection: Connection, seen: int) -> tuple[SignedHead, tuple[bytes, ...]]:
    """Return the newest signed head and the proof that it grew out of `seen` entries.

    Raises:
        NotFound: No head is signed yet.
    """
    newest = log.signed_heads(connection, last=1)
    if not newest:
        raise NotFound("no head of the audit log is signed yet", hint="one is, every minute")
    head = newest[0]
    if seen == 0 or seen >= head.size:
        return head, ()  # Whoever saw more than this judges it himself, by what is signed here.
    return head, log.consistency(connection, seen, head.size)


def leaves(connection: Connection, *, first: int, count: int) -> bytes:
    """Return leaf hashes one after the other; they tell nothing of the entries.

    Args:
        connection: A consistent view.
        first: Index of the first, from 0.
        count: How many, 1 to `LEAVES_MAX`.

    Raises:
        LimitExceeded: More at once than `LEAVES_MAX`.
        InputError: The log is not that long.
        ChainBroken: A leaf is missing.
    """
    if not 1 <= count <= LEAVES_MAX:
        raise LimitExceeded(f"1 to {LEAVES_MAX} leaves at once")
    if first < 0 or first + count > log.size(connection):
        raise InputError("the log is not that long")
    rows = connection.execute(
        select(nodes.c.hash)
        .where(nodes.c.level == 0, nodes.c.node_index.between(first, first + count - 1))
        .order_by(nodes.c.node_index)
    ).scalars()
    found = b"".join(rows)
    if len(found) != count * merkle.HASH_BYTES:
        raise ChainBroken("leaves of the audit log are missing")
    return found


def take(
    connection: Connection,
    audit: AuditLog,
    given: CoSignature,
    *,
    name: str,
    kind: str,
    spki_der: bytes,
    now_ns: int,
) -> None:
    """Keep a cosignature; the first one of a witness makes its key known.

    Args:
        connection: A unit of work.
        audit: Writes that a witness came.
        given: What it signed.
        name: Who brings it.
        kind: What it is.
        spki_der: Its key.
        now_ns: Time of the hub.

    Raises:
        SignatureInvalid: Not signed by this key.
        Conflict: This witness has another key, or there are too many.
        ChainBroken: It signed another log than this one.
    """
    witness.verify_cosignature(given, spki_der=spki_der)
    _check_key(connection, audit, name=name, kind=kind, spki_der=spki_der, now_ns=now_ns)
    if given.size > log.size(connection) or log.root(connection, given.size) != given.root:
        raise ChainBroken(f"witness {name} signed another log than this one")
    hour_ns = given.at_ns - given.at_ns % HOUR_NS
    of_it = cosignatures.c.name == name
    connection.execute(
        delete(cosignatures).where(
            of_it, cosignatures.c.at_ns >= hour_ns, cosignatures.c.at_ns <= given.at_ns
        )
    )
    connection.execute(delete(cosignatures).where(of_it, cosignatures.c.size == given.size))
    connection.execute(
        insert(cosignatures).values(
            name=name,
            size=given.size,
            root=given.root,
            at_ns=given.at_ns,
            signature=given.signature,
        )
    )


def known(connection: Connection) -> list[Witness]:
    """Return the witnesses by name."""
    rows = connection.execute(select(witnesses).order_by(witnesses.c.name))
    return [
        Witness(name=row.name, kind=row.kind, key=row.spki.hex(), since_ns=row.since_ns)
        for row in rows
    ]


def signed(connection: Connection) -> list[Kept]:
    """Return what witnesses signed, ascending by size, the newest `COSIGNATURES_MAX`."""
    rows = connection.execute(
        select(cosignatures).order_by(cosignatures.c.size.desc()).limit(COSIGNATURES_MAX)
    ).all()
    return [
        Kept(
            witness=row.name,
            size=row.size,
            root=row.root.hex(),
            at_ns=row.at_ns,
            signature=row.signature.hex(),
        )
        for row in reversed(rows)
    ]


def chain(audit_der: bytes, issuing: Sequence[bytes]) -> list[bytes]:
    """Return the audit key's certificate with what stands between it and the root."""
    return [audit_der, *issuing][: witness.CHAIN_MAX]


def _check_key(
    connection: Connection,
    audit: AuditLog,
    *,
    name: str,
    kind: str,
    spki_der: bytes,
    now_ns: int,
) -> None:
    row = connection.execute(select(witnesses).where(witnesses.c.name == name)).one_or_none()
    if row is not None:
        if row.spki != spki_der:
            raise Conflict(
                f"witness {name} has another key here", hint="end it: asepsis audit end-witness"
            )
        return
    if len(known(connection)) >= WITNESSES_MAX:
        raise Conflict(f"there are {WITNESSES_MAX} witnesses already")
    if len(spki_der) > libcrypto.PEM_BYTES_MAX:
        raise LimitExceeded("a key is that long never")
    connection.execute(
        insert(witnesses).values(name=name, kind=kind, spki=spki_der, since_ns=now_ns)
    )
    audit.record(
        connection,
        Act(actor=f"{kind}:{name}", action="witness-log", subject=name,
            detail={"key": spki_der.hex()}),
    )  # fmt: skip


def end(connection: Connection, audit: AuditLog, *, name: str, actor: str) -> None:
    """Forget a witness's key, so that it may come with a new one; what it signed stays.

    Raises:
        NotFound: No such witness.
    """
    done = connection.execute(delete(witnesses).where(witnesses.c.name == name))
    if not done.rowcount:
        raise NotFound(f"no witness {name}")
    audit.record(connection, Act(actor=actor, action="end-witness", subject=name))
