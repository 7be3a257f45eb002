"""Tables of the audit log: entries, the nodes of their Merkle tree, signed heads, witnesses."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Named, String, Table, TypedColumns

from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.sealed import Sealed


class EntryColumns(TypedColumns):
    """What was done, in the order of commits; `detail` may name a patient and is sealed."""

    leaf_index: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    at_ns: Named[int] = Column(BigInteger, nullable=False)
    actor: Named[str] = Column(String(160), nullable=False)
    action: Named[str] = Column(String(60), nullable=False)
    subject: Named[str] = Column(String(160), nullable=False)
    outcome: Named[str] = Column(String(60), nullable=False)
    detail: Named[bytes] = Column(Sealed("audit_entries.detail"), nullable=False)


class NodeColumns(TypedColumns):
    """Roots of complete subtrees: level 0 are leaves, node i of level n covers 2**n of them."""

    level: Named[int] = Column(Integer, primary_key=True, autoincrement=False)
    node_index: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    hash: Named[bytes] = Column(LargeBinary, nullable=False)


class HeadColumns(TypedColumns):
    """Tree heads that the signer signed."""

    size: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    root: Named[bytes] = Column(LargeBinary, nullable=False)
    at_ns: Named[int] = Column(BigInteger, nullable=False)
    signature: Named[bytes] = Column(LargeBinary, nullable=False)


class WitnessColumns(TypedColumns):
    """A witness: an enrolled machine with a key of its own for this."""

    name: Named[str] = Column(String(256), primary_key=True)
    kind: Named[str] = Column(String(20), nullable=False)
    spki: Named[bytes] = Column(LargeBinary, nullable=False)
    since_ns: Named[int] = Column(BigInteger, nullable=False)


class CoSignatureColumns(TypedColumns):
    """A head that a witness signed, with the time of the witness."""

    name: Named[str] = Column(String(256), primary_key=True)
    size: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    root: Named[bytes] = Column(LargeBinary, nullable=False)
    at_ns: Named[int] = Column(BigInteger, nullable=False)
    signature: Named[bytes] = Column(LargeBinary, nullable=False)


entries = Table("audit_entries", METADATA, EntryColumns)
nodes = Table("audit_nodes", METADATA, NodeColumns)
heads = Table("audit_heads", METADATA, HeadColumns)
witnesses = Table("audit_witnesses", METADATA, WitnessColumns)
cosignatures = Table("audit_cosignatures", METADATA, CoSignatureColumns)
