"""The end: everybody stops, and the ledgers of separate processes are compared."""

from typing import Final

from asepsis.tools.simulator import ledger
from asepsis.tools.simulator.stage import Stage

DRAIN_S: Final = 60.0


def play(stage: Stage) -> None:
    """Stop the senders, let the subscriber pull the rest, and compare."""
    summary = stage.summary
    for actor in stage.devices.values():
        actor.command("stop")
    for actor in stage.devices.values():
        if actor.stop(timeout_s=DRAIN_S) != 0:
            summary.failures.append(f"{actor.name} ended badly; see its log")
    stage.gateway.stop()
    if stage.subscriber.stop(timeout_s=DRAIN_S) != 0:
        summary.failures.append("the subscriber ended badly; see its log")
    found = ledger.compare(stage.books, [stage.folder / "subscriber.ledger"])
    acknowledged = ledger.read(stage.books, ledger.ACKED, ledger.ACKED_LATE)
    summary.made = found.made
    summary.acknowledged = found.acknowledged
    summary.received = found.received
    summary.late = len(ledger.read(stage.books, ledger.ACKED_LATE))
    summary.messages = sum(1 for key in acknowledged if key.kind == ledger.MESSAGE)
    summary.lost = len(found.lost)
    summary.duplicated = found.duplicated
    summary.foreign = found.foreign
    summary.age_s_max = round(stage.view.witness.age_s_max, 1)
    summary.unrenewed_s_max = round(stage.view.witness.unrenewed_s_max, 1)
    stage.tell(
        "The ledgers are compared",
        f"{found.acknowledged} acknowledged, {found.received} received, {summary.lost} lost, "
        f"{summary.duplicated} twice, {summary.foreign} forged, {summary.late} of them late",
    )
