"""Tables of imaging. UIDs stand in clear, for they are what is searched; people never do."""

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, Named, String, Table, TypedColumns

from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.core.wire.inspection import UID_CHARS_MAX
from asepsis.core.wire.relay import ARCHIVE_CHARS_MAX, ID_CHARS
from asepsis.hub.imaging.rules import AE_CHARS_MAX, PERSON_CHARS_MAX
from asepsis.hub.imaging.storage import NAME_CHARS
from asepsis.hub.store.metadata import METADATA
from asepsis.hub.store.sealed import Sealed

PATIENT_ID = "image_instances.patient_id"
ACCESSION = "image_instances.accession"
"""What the two lookup hashes are bound to."""


class InstanceColumns(TypedColumns):
    """Instances that the hub holds."""

    id: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    sop_instance: Named[str] = Column(String(UID_CHARS_MAX), nullable=False, unique=True)
    series: Named[str] = Column(String(UID_CHARS_MAX), nullable=False, index=True)
    study: Named[str] = Column(String(UID_CHARS_MAX), nullable=False, index=True)
    sop_class: Named[str] = Column(String(UID_CHARS_MAX), nullable=False)
    transfer_syntax: Named[str] = Column(String(UID_CHARS_MAX), nullable=False)
    length: Named[int] = Column(BigInteger, nullable=False)
    sha256: Named[bytes] = Column(LargeBinary, nullable=False)
    object: Named[str] = Column(String(NAME_CHARS), nullable=False)
    sender: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    device: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    calling_ae: Named[str] = Column(String(AE_CHARS_MAX), nullable=False)
    # The user that the modality proved to its gateway.
    person: Named[str] = Column(String(PERSON_CHARS_MAX), nullable=False)
    received_at_ns: Named[int] = Column(BigInteger, nullable=False, index=True)
    # Whether the journal tells of it; what a crash left untold is told at the next start.
    told: Named[bool] = Column(Boolean, nullable=False, index=True)
    # When every archive that it is meant for had accepted it; None before.
    accepted_at_ns: Named[int | None] = Column(BigInteger, index=True)
    study_date: Named[str] = Column(String(8), nullable=False, index=True)
    modality: Named[str] = Column(String(16), nullable=False)
    patient_hash: Named[bytes | None] = Column(LargeBinary, index=True)
    accession_hash: Named[bytes | None] = Column(LargeBinary, index=True)
    # DICOM JSON of what searches need: names, identifiers, descriptions.
    attributes: Named[bytes] = Column(Sealed("image_instances.attributes"), nullable=False)


class QuarantineColumns(TypedColumns):
    """Objects that are kept apart, and why."""

    id: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    sop_instance: Named[str] = Column(String(UID_CHARS_MAX), nullable=False)
    sop_class: Named[str] = Column(String(UID_CHARS_MAX), nullable=False)
    reason: Named[str] = Column(String(40), nullable=False)
    length: Named[int] = Column(BigInteger, nullable=False)
    sha256: Named[bytes] = Column(LargeBinary, nullable=False, unique=True)
    object: Named[str] = Column(String(NAME_CHARS), nullable=False)
    sender: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    device: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    calling_ae: Named[str] = Column(String(AE_CHARS_MAX), nullable=False)
    at_ns: Named[int] = Column(BigInteger, nullable=False)


class QuestionColumns(TypedColumns):
    """Questions that are kept until they are answered, and their answers for a while."""

    number: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    id: Named[str] = Column(String(ID_CHARS), nullable=False, unique=True)
    asker: Named[str] = Column(String(NAME_CHARS_MAX), nullable=False)
    archive: Named[str] = Column(String(ARCHIVE_CHARS_MAX), nullable=False)
    # UID of the performed procedure step or the commitment.
    instance: Named[str] = Column(String(UID_CHARS_MAX), nullable=False)
    asked_ns: Named[int] = Column(BigInteger, nullable=False)
    # 0 until there is an answer.
    answered_ns: Named[int] = Column(BigInteger, nullable=False)
    asked: Named[bytes] = Column(Sealed("relay_questions.asked"), nullable=False)
    answer: Named[bytes | None] = Column(Sealed("relay_questions.answer"))


instances = Table("image_instances", METADATA, InstanceColumns)
quarantine = Table("image_quarantine", METADATA, QuarantineColumns)
questions = Table("relay_questions", METADATA, QuestionColumns)
