"""Puts together the rungs that this device has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.model.manifest import Criticality
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.manifest import shipped
from asepsis.edge.device.permit import UpdateRung
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.update.handing_over import HandOver, HandOverActivator
from asepsis.edge.device.update.image_rung import GAP_MS, ImageActivator
from asepsis.edge.device.update.image_slots import ImageSlots
from asepsis.edge.device.update.on_device import SupervisorActivator
from asepsis.edge.device.update.patch_rung import PatchActivator, ThisKernel
from asepsis.edge.device.update.rungs import Refused, RungActivator, RungPermit, Rungs

PATCHES: Final = "kernel-patch"
"""Component of releases that are live patches."""
PATCH_GAP_MS: Final = 1_000
"""Longest time that a process stands still while a patch takes effect, milliseconds."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rungs of a device beside the swap of compartments.

    Attributes:
        image: Where whole images are; None for none.
        handed_over: What other programs install.
        live_patches: Whether live patches are loaded into the running kernel.
    """

    image: ImageSlots | None
    handed_over: Sequence[HandOver]
    live_patches: bool


def rungs_of(
    wanted: Wanted,
    *,
    releases: Path,
    supervisor: Supervisor,
    activation: Activation,
    refused: Refused,
) -> Rungs:
    """Return every activator of a device.

    Args:
        wanted: The rungs beside the swap of compartments.
        releases: Versions of components.
        supervisor: Of the device.
        activation: The two gates.
        refused: Told what was not installed, and why.

    Raises:
        Unavailable: A program does not say which slot runs.
    """
    others: dict[str, RungActivator] = {}
    compartments = tuple(shipped().compartments.values())
    permit = RungPermit(
        supervisor.gate, UpdateRung.IMAGE, gap_ms=GAP_MS, touches=Criticality.CRITICAL
    )
    if wanted.live_patches:
        others[PATCHES] = PatchActivator(
            PATCHES,
            releases=releases / PATCHES,
            patches=ThisKernel(),
            permit=RungPermit(
                supervisor.gate,
                UpdateRung.LIVE_PATCH,
                gap_ms=PATCH_GAP_MS,
                touches=Criticality.CRITICAL,
            ),
            activation=activation,
            refused=refused,
        )
    if (image := wanted.image) is not None:
        others[image.name] = ImageActivator(
            image,
            releases=releases / image.name,
            permit=permit,
            activation=activation,
            compartments=compartments,
            refused=refused,
        )
    for one in wanted.handed_over:
        others[one.component] = HandOverActivator(
            one,
            releases=releases / one.component,
            permit=permit,
            activation=activation,
            compartments=compartments,
            refused=refused,
        )
    return Rungs(SupervisorActivator(supervisor), others)
