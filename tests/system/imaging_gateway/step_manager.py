"""A manager of performed procedure steps (MPPS SCP) on pynetdicom: `PORT FOLDER`.

It writes a file a message: its number, `create` or `set`, the instance, and the step's status.
"""

import sys
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import ModalityPerformedProcedureStep, Verification

KNOWN: set[str] = set()
NO_SUCH_INSTANCE, DUPLICATE = 0x0112, 0x0111


def note(folder: Path, message: str, instance: str, found: Dataset) -> None:
    status = str(found.PerformedProcedureStepStatus).replace(" ", "-")
    name = f"{len(list(folder.glob('*.txt'))) + 1:04}.txt"
    (folder / (name + ".new")).write_text(f"{message} {instance} {status}")
    (folder / (name + ".new")).rename(folder / name)


def created(event: Event, folder: Path) -> tuple[int, None]:
    instance = str(event.request.AffectedSOPInstanceUID)
    if instance in KNOWN:
        return DUPLICATE, None
    KNOWN.add(instance)
    note(folder, "create", instance, event.attribute_list)
    return 0, None


def changed(event: Event, folder: Path) -> tuple[int, None]:
    instance = str(event.request.RequestedSOPInstanceUID)
    if instance not in KNOWN:
        return NO_SUCH_INSTANCE, None
    note(folder, "set", instance, event.modification_list)
    return 0, None


def main() -> None:
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    ae = AE(ae_title="MPPS")
    ae.supported_contexts = []
    for each in (ModalityPerformedProcedureStep, Verification):
        ae.add_supported_context(each)
    handlers = [(evt.EVT_N_CREATE, created, [folder]), (evt.EVT_N_SET, changed, [folder])]
    ae.start_server(("127.0.0.1", port), evt_handlers=handlers)


if __name__ == "__main__":
    main()
