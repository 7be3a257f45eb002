"""Tables of the DDI interface: targets, gateways' tokens, modules, actions and their reports."""

from typing import Final

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

from asepsis.core.wire.ddi import NAME_CHARS_MAX, WORD_CHARS_MAX
from asepsis.hub.store.metadata import METADATA

PERSON_CHARS_MAX: Final = 160
DIGEST_CHARS: Final = 64
WORD_CHARS: Final = 24
ADDRESS_CHARS_MAX: Final = 64


class TargetColumns(TypedColumns):
    """Devices as update clients; `changed` is the number of their newest change."""

    name: Named[str] = Column(String(NAME_CHARS_MAX), primary_key=True)
    profile: Named[str] = Column(String(WORD_CHARS), nullable=False)
    token_sha256: Named[str] = Column(String(DIGEST_CHARS), nullable=False)
    blocked: Named[bool] = Column(Boolean, nullable=False)
    # JSON: what the device says of itself.
    attributes: Named[str] = Column(Text, nullable=False)
    wanted: Named[bool] = Column(Boolean, nullable=False)
    # JSON, or empty for nobody.
    auto_confirm: Named[str] = Column(Text, nullable=False)
    installed: Named[int] = Column(BigInteger, nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS_MAX), nullable=False)
    added_ns: Named[int] = Column(BigInteger, nullable=False)
    seen_ns: Named[int] = Column(BigInteger, nullable=False)
    address: Named[str] = Column(String(ADDRESS_CHARS_MAX), nullable=False)
    changed: Named[int] = Column(BigInteger, nullable=False)


class GatewayColumns(TypedColumns):
    """Tokens that speak for every target."""

    name: Named[str] = Column(String(WORD_CHARS_MAX), primary_key=True)
    token_sha256: Named[str] = Column(String(DIGEST_CHARS), nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS_MAX), nullable=False)
    added_ns: Named[int] = Column(BigInteger, nullable=False)


class ModuleColumns(TypedColumns):
    """Software with its files."""

    id: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    name: Named[str] = Column(String(WORD_CHARS_MAX), nullable=False)
    version: Named[str] = Column(String(WORD_CHARS_MAX), nullable=False)
    part: Named[str] = Column(String(WORD_CHARS), nullable=False)
    # JSON: names, sizes and hashes.
    files: Named[str] = Column(Text, nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS_MAX), nullable=False)
    added_ns: Named[int] = Column(BigInteger, nullable=False)


class ActionColumns(TypedColumns):
    """One update of one target."""

    id: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    target: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    name: Named[str] = Column(String(WORD_CHARS_MAX), nullable=False)
    version: Named[str] = Column(String(WORD_CHARS_MAX), nullable=False)
    # JSON: numbers of modules; pairs of moments.
    modules: Named[str] = Column(Text, nullable=False)
    kind: Named[str] = Column(String(WORD_CHARS), nullable=False)
    force_ns: Named[int] = Column(BigInteger, nullable=False)
    windows: Named[str] = Column(Text, nullable=False)
    stage: Named[str] = Column(String(WORD_CHARS), nullable=False)
    outcome: Named[str] = Column(String(WORD_CHARS), nullable=False)
    reason: Named[str] = Column(Text, nullable=False)
    retrieved: Named[bool] = Column(Boolean, nullable=False)
    served: Named[bool] = Column(Boolean, nullable=False)
    boot: Named[str] = Column(String(WORD_CHARS_MAX), nullable=False)
    statuses: Named[int] = Column(Integer, nullable=False)
    person: Named[str] = Column(String(PERSON_CHARS_MAX), nullable=False)
    created_ns: Named[int] = Column(BigInteger, nullable=False)
    closed_ns: Named[int] = Column(BigInteger, nullable=False)


class StatusColumns(TypedColumns):
    """What a client said of an action."""

    action: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    number: Named[int] = Column(Integer, primary_key=True, autoincrement=False)
    at_ns: Named[int] = Column(BigInteger, nullable=False)
    execution: Named[str] = Column(String(WORD_CHARS), nullable=False)
    finished: Named[str] = Column(String(WORD_CHARS), nullable=False)
    code: Named[int | None] = Column(Integer, nullable=True)
    # JSON: sentences.
    details: Named[str] = Column(Text, nullable=False)


targets: Final = Table("ddi_targets", METADATA, TargetColumns)
gateways: Final = Table("ddi_gateways", METADATA, GatewayColumns)
modules: Final = Table("ddi_modules", METADATA, ModuleColumns)
actions: Final = Table("ddi_actions", METADATA, ActionColumns)
statuses: Final = Table("ddi_statuses", METADATA, StatusColumns)
Index("ix_ddi_targets_changed", targets.c.changed)
Index("ix_ddi_actions_target_id", actions.c.target, actions.c.id)
