"""Puts together the rungs that this device has."""

from pathlib import Path

from asepsis.core.model.manifest import Criticality
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.manifest import shipped
from asepsis.edge.device.permit import UpdateRung
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.update.image_rung import GAP_MS, ImageActivator
from asepsis.edge.device.update.image_slots import ImageSlots
from asepsis.edge.device.update.on_device import SupervisorActivator
from asepsis.edge.device.update.rungs import Refused, RungActivator, RungPermit, Rungs


def rungs_of(
    image: ImageSlots | None,
    *,
    releases: Path,
    supervisor: Supervisor,
    activation: Activation,
    refused: Refused,
) -> Rungs:
    """Return every activator of a device.

    Args:
        image: Where whole images are; None for none.
        releases: Versions of components.
        supervisor: Of the device.
        activation: The two gates.
        refused: Told what was not installed, and why.
    """
    others: dict[str, RungActivator] = {}
    if image is not None:
        permit = RungPermit(
            supervisor.gate, UpdateRung.IMAGE, gap_ms=GAP_MS, touches=Criticality.CRITICAL
        )
        others[image.name] = ImageActivator(
            image,
            releases=releases / image.name,
            permit=permit,
            activation=activation,
            compartments=shipped().compartments.values(),
            refused=refused,
        )
    return Rungs(SupervisorActivator(supervisor), others)
