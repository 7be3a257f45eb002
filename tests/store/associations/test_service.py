"""Associations on both databases: who confirms, what ends, what is written beside it."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from asepsis.core.errors import Conflict, InputError, NotFound, NotPermitted
from asepsis.core.model.association import AssociationState, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.patient import PatientId
from asepsis.hub.audit import log as audit_log
from asepsis.hub.store.outbox import EventReader
from asepsis.hub.store.tables import outbox

from .conftest import ADA, BED_A, BED_B, BEN, MONITOR, PUMP, SECOND_NS, Ward, adt


def test_adt_confirms_a_fixed_monitor_and_only_proposes_a_pump(ward: Ward) -> None:
    ward.admit(ADA, BED_A)
    now = ward.book.now(MONITOR)
    assert now is not None
    assert (now.patient, now.basis, now.confirmed_by) == (ADA, Basis.WARD_RULE, "ward-rule")
    assert ward.book.now(PUMP) is None
    (proposal,) = ward.book.proposals()
    assert (proposal.device, proposal.patient, proposal.basis) == (PUMP, ADA, Basis.ADT)
    (bed,) = ward.book.beds()
    assert bed.patient is not None
    assert (bed.patient.name, bed.patient.id) == ("NAME, 1", ADA)
    assert bed.devices == (MONITOR, PUMP)
    assert ward.changed == [MONITOR]
