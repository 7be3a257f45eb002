"""Tables of associations. Who a patient is stands sealed; places and devices stand in clear.

A patient is referred to by a keyed hash of the identifier, so that a stolen database names nobody
and rows can still be found.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    LargeBinary,
    Named,
    String,
    Table,
    TypedColumns,
)

from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.sealed import Sealed

PLACE_KEY_CHARS_MAX = 250


class PatientColumns(TypedColumns):
    """Patients that ADT told of."""

    patient: Named[bytes] = Column(LargeBinary, primary_key=True)
    # JSON of identifier, authority, name and birth date.
    identity: Named[bytes] = Column(Sealed("patients.identity"), nullable=False)
    alias_of: Named[bytes | None] = Column(LargeBinary, index=True)
    recorded_ns: Named[int] = Column(BigInteger, nullable=False)


class StayColumns(TypedColumns):
    """Who was in which bed, by ADT."""

    id: Named[str] = Column(String(36), primary_key=True)
    patient: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    place: Named[str] = Column(String(PLACE_KEY_CHARS_MAX), nullable=False, index=True)
    event_ns: Named[int] = Column(BigInteger, nullable=False)
    start_ns: Named[int] = Column(BigInteger, nullable=False)
    end_ns: Named[int | None] = Column(BigInteger)
    certain: Named[bool] = Column(Boolean, nullable=False)
    cancelled: Named[bool] = Column(Boolean, nullable=False)


class AssociationColumns(TypedColumns):
    """Which device was proposed or confirmed for which patient, from when to when."""

    id: Named[str] = Column(String(36), primary_key=True)
    device: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False, index=True)
    patient: Named[bytes] = Column(LargeBinary, nullable=False, index=True)
    place: Named[str | None] = Column(String(PLACE_KEY_CHARS_MAX), index=True)
    state: Named[str] = Column(String(12), nullable=False, index=True)
    basis: Named[str] = Column(String(12), nullable=False)
    start_ns: Named[int] = Column(BigInteger, nullable=False)
    end_ns: Named[int | None] = Column(BigInteger)
    proposed_by: Named[str] = Column(String(160), nullable=False)
    confirmed_by: Named[str | None] = Column(String(160))
    # A person's own words, which may name a patient.
    end_reason: Named[bytes | None] = Column(Sealed("associations.end_reason"))


class PlacementColumns(TypedColumns):
    """Where a device stands."""

    device: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    place: Named[str] = Column(String(PLACE_KEY_CHARS_MAX), nullable=False, index=True)
    fixed: Named[bool] = Column(Boolean, nullable=False)
    since_ns: Named[int] = Column(BigInteger, nullable=False)


class DeviceUseColumns(TypedColumns):
    """The last change of what a device's signed clinical state said."""

    device: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    epoch: Named[int] = Column(BigInteger, nullable=False)
    use: Named[str] = Column(String(12), nullable=False)
    since_ns: Named[int] = Column(BigInteger, nullable=False)
    vacated_ns: Named[int] = Column(BigInteger, nullable=False)
    unseen: Named[bool] = Column(Boolean, nullable=False)


class WardRuleColumns(TypedColumns):
    """Wards whose fixed monitors follow ADT."""

    ward: Named[str] = Column(String(60), primary_key=True)
    since_ns: Named[int] = Column(BigInteger, nullable=False)
    person: Named[str] = Column(String(160), nullable=False)


patients = Table("patients", METADATA, PatientColumns)
stays = Table("stays", METADATA, StayColumns)
associations = Table("associations", METADATA, AssociationColumns)
placements = Table("placements", METADATA, PlacementColumns)
device_uses = Table("device_uses", METADATA, DeviceUseColumns)
ward_rules = Table("ward_rules", METADATA, WardRuleColumns)
