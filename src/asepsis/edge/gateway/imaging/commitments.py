"""Storage commitment between a modality, its gateway and an archive, as DIMSE messages. Pure.

Source: DICOM PS3.4 annex J (push model); PS3.7 sections 10.1.1, 10.1.4, 10.3.1 and 10.3.4.
"""

from typing import Final

from asepsis.core.errors import FramingError
from asepsis.core.wire import commitment
from asepsis.core.wire.commitment import Reference
from asepsis.core.wire.relay import DataSet
from asepsis.edge.gateway.imaging import dimse
from asepsis.edge.gateway.imaging.dimse import Command, Field, Tag
from asepsis.edge.gateway.imaging.services import COMMITMENT, COMMITMENT_INSTANCE

ACTION: Final = 1
"""Request storage commitment; table J.3-1."""
ALL_KEPT: Final = 1
SOME_FAILED: Final = 2
"""Event types of table J.3-2."""
_FAILED: Final = "00081198"


def judge(command: Command, document: DataSet) -> str:
    """Check a modality's N-ACTION and return its Transaction UID.

    Raises:
        InputError: It asks for something else, or names no transaction or no instances.
    """
    if command.uid(Tag.REQUESTED_SOP_INSTANCE) != COMMITMENT_INSTANCE:
        raise FramingError("a commitment of an unknown SOP instance")
    if command.number(Tag.ACTION_TYPE) != ACTION:
        raise FramingError("an action that is no commitment")
    commitment.references_of(document)
    return commitment.transaction_of(document)


def action_request(message: int) -> bytes:
    """Return the N-ACTION-RQ that asks an archive."""
    return dimse.command(
        {
            Tag.FIELD: int(Field.N_ACTION_RQ),
            Tag.MESSAGE_ID: message,
            Tag.DATA_SET_TYPE: dimse.HAS_DATA_SET,
            Tag.ACTION_TYPE: ACTION,
        },
        uids={
            Tag.REQUESTED_SOP_CLASS: COMMITMENT,
            Tag.REQUESTED_SOP_INSTANCE: COMMITMENT_INSTANCE,
        },
    )


def event_request(message: int, document: DataSet) -> bytes:
    """Return the N-EVENT-REPORT-RQ that tells a modality the archive's word."""
    return dimse.command(
        {
            Tag.FIELD: int(Field.N_EVENT_REPORT_RQ),
            Tag.MESSAGE_ID: message,
            Tag.DATA_SET_TYPE: dimse.HAS_DATA_SET,
            Tag.EVENT_TYPE: SOME_FAILED if _FAILED in document else ALL_KEPT,
        },
        uids={Tag.SOP_CLASS: COMMITMENT, Tag.SOP_INSTANCE: COMMITMENT_INSTANCE},
    )


def nothing_kept(document: DataSet, *, reason: int) -> DataSet:
    """Return the word that no instance is committed.

    Args:
        document: What was asked.
        reason: Why, for every instance.
    """
    references: tuple[Reference, ...] = commitment.references_of(document)
    failed = [(each, reason) for each in references]
    word = commitment.Word((), failed)
    return commitment.report(commitment.transaction_of(document), "", word)
