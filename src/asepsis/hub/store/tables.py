"""Tables of the store itself: dense counters, the outbox and who consumed it, leases."""

from sqlalchemy import BigInteger, Column, Integer, Named, String, Table, TypedColumns

from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.sealed import Sealed


class CounterColumns(TypedColumns):
    """Numbers without holes, handed out under the store's write lock."""

    name: Named[str] = Column(String(40), primary_key=True)
    value: Named[int] = Column(BigInteger, nullable=False)


class OutboxColumns(TypedColumns):
    """Events that are committed with their state and not yet in the journal."""

    id: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    topic: Named[str] = Column(String(60), nullable=False)
    version: Named[int] = Column(Integer, nullable=False)
    body: Named[bytes] = Column(Sealed("outbox.body"), nullable=False)


class ConsumedColumns(TypedColumns):
    """The last event that each of the hub's own consumers has dealt with."""

    consumer: Named[str] = Column(String(60), primary_key=True)
    event_id: Named[int] = Column(BigInteger, nullable=False)


class LeaseColumns(TypedColumns):
    """Who may do a background task until when; the token grows with every change of holder."""

    name: Named[str] = Column(String(60), primary_key=True)
    holder: Named[str] = Column(String(60), nullable=False)
    token: Named[int] = Column(BigInteger, nullable=False)
    expires_at_ns: Named[int] = Column(BigInteger, nullable=False)


counters = Table("counters", METADATA, CounterColumns)
outbox = Table("outbox", METADATA, OutboxColumns)
consumed = Table("consumed", METADATA, ConsumedColumns)
leases = Table("leases", METADATA, LeaseColumns)
