"""A ward with a modality that has no identity of its own, and the gateway that speaks for it."""

from pathlib import Path

from hub_ward import Ward, make_ward

from asepsis.core.trust.identity import Profile
from hospital import device_name, system_name

MODALITY = device_name(40)
IMAGER = system_name(40)
"""The gateway that is declared for the modality."""
READER = system_name(41)
"""A consumer that may read images."""
CAREFUL = device_name(42)
"""A modality of its own identity that shall send no private elements."""
IMAGES = f"""
[images]
reserve_bytes = 0
readers = ["{READER}"]
private_tags_of = {{ "{CAREFUL}" = "quarantine" }}
"""


def make_imaging_ward(folder: Path, *, more: str = "") -> Ward:
    """Prepare it; the hub is not started."""
    made = make_ward(folder, more=more or IMAGES)
    machines = [
        *made.hospital.enlist([(IMAGER, Profile.GATEWAY)], declared=[MODALITY]),
        *made.hospital.enlist([(READER, Profile.CONSUMER), (CAREFUL, Profile.DEVICE)]),
    ]
    for machine in machines:
        made.machines[machine.name] = machine
    return made
