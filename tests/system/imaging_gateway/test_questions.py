"""A modality behind one gateway asks PACS, worklist and step manager behind another.

DCMTK and pynetdicom ask, Orthanc and pynetdicom answer, a real hub is between; nothing is replaced.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_ward import run
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityPerformedProcedureStep
from relay_ward import STUDY, RelayWard, images, make_relay_ward

pytestmark = pytest.mark.slow
LEVEL = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}")
COUNT = 3
STEP = ModalityPerformedProcedureStep


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayWard]:
    """Return a running ward whose PACS has one study."""
    made = make_relay_ward(tmp_path_factory.mktemp("priors"))
    try:
        made.start_pacs()
        made.start_viewer()
        files = images(made.folder / "prior", COUNT)
        run("storescu", "-aec", "PACS", "127.0.0.1", made.pacs_port, *files, check=True)
        yield made
    finally:
        made.close()


def test_a_query_is_answered_by_the_pacs_behind_the_other_gateway(ward: RelayWard) -> None:
    said = ward.find(
        "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName", "-k", "PatientID=4711",
        "-k", "StudyInstanceUID",
    )  # fmt: skip
    assert STUDY in said, said + ward.log
    assert "ller^J" in said
    assert "Find Response: 1" in said or "Find Response 1" in said
    assert "Final Find Response (Success)" in said


def test_a_worklist_keeps_names_and_numbers_as_they_are(ward: RelayWard) -> None:
    said = ward.find(
        "-W", "-k", "PatientName", "-k", "PatientID=W7", "-k", "PatientWeight",
        "-k", "ScheduledProcedureStepSequence[0].Modality=CT",
        "-k", "ScheduledProcedureStepSequence[0].ScheduledProcedureStepID",
    )  # fmt: skip
    assert "[70.50 ]" in said, said + ward.log
    assert "[ISO_IR 100]" in said
    assert "[S7]" in said
    assert "Success" in said


def test_a_query_without_an_end_is_bounded_and_can_be_cancelled(ward: RelayWard) -> None:
    """Goal: 30 entries match, 20 are given, and the last word is no success."""
    said = ward.find("-W", "-k", "PatientName", "-k", "PatientID")
    assert "OutOfResources" in said, said
    assert "Find Response: 20" in said
    assert "Find Response: 21" not in said
    cancelled = ward.find("-W", "--cancel", 1, "-k", "PatientName", "-k", "PatientID=W1*")
    assert "Cancel" in cancelled, cancelled


def test_c_get_returns_the_priors_on_the_same_association(ward: RelayWard, tmp_path: Path) -> None:
    done = run(
        "getscu", "-v", "-S", "-aet", "CT1", "-aec", "GATE", "-od", tmp_path, *LEVEL,
        "127.0.0.1", ward.port,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + ward.log
    assert same(list(tmp_path.iterdir()), ward)


def test_an_archive_that_only_moves_gives_priors_too(ward: RelayWard, tmp_path: Path) -> None:
    """Goal: what Orthanc stores to the far gateway returns to whoever asked, and nobody else."""
    done = run(
        "getscu", "-v", "-S", "-aet", "MR1", "-aec", "GATE", "-od", tmp_path, *LEVEL,
        "127.0.0.1", ward.port,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + ward.log
    assert same(list(tmp_path.iterdir()), ward)
    unasked = run(
        "storescu", "-aet", "PACS", "-aec", "FAR", "127.0.0.1", ward.moves_port,
        next(tmp_path.iterdir()),
    )  # fmt: skip
    assert unasked.returncode != 0
    said = move(ward, "VIEWER", title="MR1")
    assert "Success" in said, said + ward.log
    assert same(ward.received(), ward)
    for path in ward.received():
        path.unlink()


def move(ward: RelayWard, destination: str, *, title: str = "CT1") -> str:
    done = run(
        "movescu", "-v", "-S", "-aet", title, "-aec", "GATE", "-aem", destination, *LEVEL,
        "127.0.0.1", ward.port,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_c_move_brings_the_priors_to_a_declared_destination_and_to_no_other(
    ward: RelayWard,
) -> None:
    refused = move(ward, "ELSEWHERE")
    assert "MoveDestinationUnknown" in refused or "a801" in refused.lower(), refused
    assert ward.received() == []
    said = move(ward, "VIEWER")
    assert "Success" in said, said + ward.log
    assert same(ward.received(), ward)


def test_who_is_not_listed_asks_nothing(ward: RelayWard) -> None:
    stranger = ward.find("-S", *LEVEL, title="STRANGER")
    assert "Rejected" in stranger
    undeclared = ward.find("-S", *LEVEL, title="OLD")
    assert "No Acceptable Presentation Contexts" in undeclared


def test_nobody_hears_an_empty_success_while_the_pacs_is_away(ward: RelayWard) -> None:
    ward.stop("orthanc")
    try:
        for service in ("-S", "-W"):
            said = ward.find(service, *LEVEL)
            assert "UnableToProcess" in said, said + ward.log
        assert "Success" not in move(ward, "VIEWER")
    finally:
        ward.start_pacs()


def same(files: list[Path], ward: RelayWard) -> bool:
    """Whether these are the instances of the prior study, value for value."""
    wanted = {read(path) for path in (ward.folder / "prior").iterdir()}
    return {read(path) for path in files} == wanted and len(files) == COUNT


def read(path: Path) -> tuple[str, str, bytes]:
    found = dcmread(path)
    return str(found.SOPInstanceUID), str(found.PatientName), found.PixelData


def associated(ward: RelayWard) -> Association:
    ae = AE(ae_title="CT1")
    ae.add_requested_context(STEP)
    found = ae.associate("127.0.0.1", ward.port, ae_title="GATE")
    assert found.is_established
    return found


def step(status: str) -> Dataset:
    found = Dataset()
    found.PerformedProcedureStepStatus = status
    found.PatientID, found.Modality = "4711", "CT"
    return found


def create(ward: RelayWard, instance: UID) -> int:
    link = associated(ward)
    status, _ = link.send_n_create(step("IN PROGRESS"), STEP, instance)
    link.release()
    return status.Status


def change(ward: RelayWard, instance: UID) -> int:
    link = associated(ward)
    status, _ = link.send_n_set(step("COMPLETED"), STEP, instance)
    link.release()
    return status.Status


def wait_steps(ward: RelayWard, count: int, *, within_s: float = 20) -> list[tuple[str, str]]:
    deadline = time.monotonic() + within_s
    while len(ward.steps()) < count:
        assert time.monotonic() < deadline, ward.log
        time.sleep(0.05)
    return ward.steps()


def test_the_step_managers_own_word_is_given_and_its_absence_is_bridged(ward: RelayWard) -> None:
    """Goal: while it is away and the hub dies, what was a success reaches it, in order."""
    ward.start_steps()
    known = generate_uid()
    assert create(ward, known) == 0
    assert create(ward, known) == 0x0111
    assert change(ward, generate_uid()) == 0x0112
    assert wait_steps(ward, 1) == [("create", "IN-PROGRESS")]
    ward.stop("steps")
    kept = generate_uid()
    assert create(ward, kept) == 0
    assert change(ward, kept) == 0
    assert ward.near.hub is not None
    ward.near.hub.kill()
    assert create(ward, generate_uid()) == 0x0110
    ward.near.hub = ward.near.hospital.start_hub()
    ward.start_steps()
    assert wait_steps(ward, 3)[1:] == [("create", "IN-PROGRESS"), ("set", "COMPLETED")]
    assert ward.near.findings()["step-kept"]
