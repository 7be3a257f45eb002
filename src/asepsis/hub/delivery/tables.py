"""Tables of delivery. Messages, receivers' words and options stand sealed."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    Named,
    String,
    Table,
    TypedColumns,
)

from asepsis.hub.delivery.model import ADDRESS_CHARS_MAX, NAME_CHARS_MAX
from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.sealed import Sealed

KEY_CHARS_MAX = 60


class DestinationColumns(TypedColumns):
    """Where data may leave to; exists only by an administrator's entry."""

    name: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    kind: Named[str] = Column(String(12), nullable=False)
    address: Named[str] = Column(String(ADDRESS_CHARS_MAX), nullable=False)
    # JSON of the options.
    options: Named[bytes] = Column(Sealed("destinations.options"), nullable=False)
    created_by: Named[str] = Column(String(160), nullable=False)
    created_ns: Named[int] = Column(BigInteger, nullable=False)


class LineColumns(TypedColumns):
    """What a destination accepted ahead of its cursor in the journal."""

    destination: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    # JSON list of keys.
    ahead: Named[bytes] = Column(LargeBinary, nullable=False)


class LetterColumns(TypedColumns):
    """What a destination did not take, could not be made, or a chart may not have."""

    id: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    destination: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False, index=True)
    item_key: Named[str] = Column(String(KEY_CHARS_MAX), nullable=False)
    kind: Named[str] = Column(String(12), nullable=False)
    route: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    state: Named[str] = Column(String(12), nullable=False, index=True)
    stops: Named[int] = Column(Integer, nullable=False)
    at_ns: Named[int] = Column(BigInteger, nullable=False)
    message_type: Named[str] = Column(String(20), nullable=False)
    # Keyed hashes: a letter is found by what somebody asks for, and a stolen database names nobody.
    patient: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    control_id: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    code: Named[str] = Column(String(20), nullable=False)
    reason: Named[bytes] = Column(Sealed("dead_letters.reason"), nullable=False)
    body: Named[bytes] = Column(Sealed("dead_letters.body"), nullable=False)


class DeliveredColumns(TypedColumns):
    """Instances that an archive accepted, so that retention may purge them."""

    destination: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    instance: Named[str] = Column(String(64), primary_key=True)
    at_ns: Named[int] = Column(BigInteger, nullable=False)


destinations = Table("destinations", METADATA, DestinationColumns)
lines = Table("delivery_lines", METADATA, LineColumns)
letters = Table(
    "dead_letters",
    METADATA,
    LetterColumns,
    Index("uq_dead_letters_destination_item_key", "destination", "item_key", unique=True),
)
delivered = Table("delivered_instances", METADATA, DeliveredColumns)
