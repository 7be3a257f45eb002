"""Tables of the fleet and its campaigns. They name devices, wards and people, never patients."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    Named,
    String,
    Table,
    Text,
    TypedColumns,
)

from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.sealed import Sealed


class MemberColumns(TypedColumns):
    """What people noted of a device, and where it stands and how it does, as the hub knows it."""

    device: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    model: Named[str] = Column(String(256), nullable=False)
    ward: Named[str] = Column(String(60), nullable=False)
    device_class: Named[str] = Column(String(60), nullable=False)
    # JSON object of words.
    attributes: Named[str] = Column(Text, nullable=False)
    calendar: Named[str] = Column(String(60), nullable=False)
    in_service: Named[bool] = Column(Boolean, nullable=False)
    idle: Named[bool] = Column(Boolean, nullable=False)
    seen_ns: Named[int] = Column(BigInteger, nullable=False)
    # Number of the fleet's last change about this device: how a campaign finds who joins.
    version: Named[int] = Column(BigInteger, nullable=False, index=True)


class CalendarColumns(TypedColumns):
    """Calendars as they were written."""

    name: Named[str] = Column(String(60), primary_key=True)
    document: Named[str] = Column(Text, nullable=False)
    person: Named[str] = Column(String(160), nullable=False)


class CalendarUseColumns(TypedColumns):
    """Calendars that hold for the whole site or a ward, whatever a campaign names."""

    level: Named[str] = Column(String(4), primary_key=True)
    ward: Named[str] = Column(String(60), primary_key=True)
    calendar: Named[str] = Column(String(60), primary_key=True)


class CampaignColumns(TypedColumns):
    """Campaigns."""

    name: Named[str] = Column(String(60), primary_key=True)
    document: Named[str] = Column(Text, nullable=False)
    release: Named[str] = Column(String(64), nullable=False)
    state: Named[str] = Column(String(12), nullable=False)
    wave: Named[int] = Column(Integer, nullable=False)
    since_ns: Named[int] = Column(BigInteger, nullable=False)
    # A person's own words, which may name a patient.
    reason: Named[bytes] = Column(Sealed("campaigns.reason"), nullable=False)
    person: Named[str] = Column(String(160), nullable=False)
    created_ns: Named[int] = Column(BigInteger, nullable=False)
    successor: Named[str] = Column(String(60), nullable=False)
    component: Named[str] = Column(String(64), nullable=False)
    acceptance: Named[bool] = Column(Boolean, nullable=False)
    # JSON of who lets it skip windows and waves; null for nobody.
    emergency: Named[bytes | None] = Column(Sealed("campaigns.emergency"))
    # Number of the fleet's change up to which joining devices were looked for.
    joined: Named[int] = Column(BigInteger, nullable=False)
    # Failures up to this moment were accepted by the person who resumed it.
    forgiven_ns: Named[int] = Column(BigInteger, nullable=False)


class TargetColumns(TypedColumns):
    """How each campaign stands with each of its devices."""

    campaign: Named[str] = Column(String(60), primary_key=True)
    device: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    wave: Named[int] = Column(Integer, nullable=False)
    standing: Named[str] = Column(String(20), nullable=False)
    outcome: Named[str] = Column(String(20), nullable=False)
    waits_for: Named[str] = Column(String(20), nullable=False)
    since_ns: Named[int] = Column(BigInteger, nullable=False)
    epoch: Named[int] = Column(BigInteger, nullable=False)
    sequence: Named[int] = Column(BigInteger, nullable=False)
    reason: Named[str] = Column(Text, nullable=False)
    # Whether the director was told what the standing means.
    told: Named[bool] = Column(Boolean, nullable=False)


class WorkOrderColumns(TypedColumns):
    """Work for biomedical engineering: acceptance, a failed device, one that nobody saw."""

    id: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    campaign: Named[str] = Column(String(60), nullable=False, index=True)
    device: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False, index=True)
    kind: Named[str] = Column(String(12), nullable=False)
    opened_ns: Named[int] = Column(BigInteger, nullable=False)
    # A person's own words, which may name a patient.
    as_found: Named[bytes] = Column(Sealed("work_orders.as_found"), nullable=False)
    as_left: Named[bytes] = Column(Sealed("work_orders.as_left"), nullable=False)
    # Number in the hospital's own system, empty before it gave one.
    reference: Named[str] = Column(String(120), nullable=False)
    closed_ns: Named[int] = Column(BigInteger, nullable=False)
    person: Named[str] = Column(String(160), nullable=False)


members = Table("fleet_members", METADATA, MemberColumns)
calendars = Table("fleet_calendars", METADATA, CalendarColumns)
calendar_uses = Table("fleet_calendar_uses", METADATA, CalendarUseColumns)
campaigns = Table("campaigns", METADATA, CampaignColumns)
targets = Table("campaign_targets", METADATA, TargetColumns)
work_orders = Table("work_orders", METADATA, WorkOrderColumns)
Index("ix_fleet_members_ward_device_class", members.c.ward, members.c.device_class)
Index("ix_campaign_targets_device", targets.c.device)
Index("ix_campaign_targets_told", targets.c.told)
Index("ix_campaign_targets_standing_campaign", targets.c.standing, targets.c.campaign)
