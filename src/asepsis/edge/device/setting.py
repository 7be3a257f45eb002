"""What a device measures with, as a person chose at its start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asepsis.core.model.manifest import Manifest
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.measured_versions import Measure, not_measured
from asepsis.edge.sandbox.supervision_parts import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the device measures with, and who may be put in its compartments.

    Attributes:
        kind: What sort of device it is.
        seed: Seed of the simulated patient.
        recording: Recording to replay instead; None for the simulated patient.
        pace: How long the supervisor waits for what.
        preludes: Code put before a compartment's own; only tests set it.
        measure: Told of each version of a compartment before it runs.
        requests: Whether compartments and the panel may ask the critical compartment for anything.
        orders: Whether the supervisor takes orders over a local socket.
        manifest: Which compartments there are, with every safety claim judged; None for the
            shipped ones.
        listen_host: Address at which the ports of the manifest listen.
        tpm: TPM that the attester compartment is handed; None for a device that does not attest.
        measured_log: Log of what was changed since the start, for the attester.
        image_number: Number of the image that runs, below which it can never keep itself from
            starting.
        activation: Who is asked before a version is activated, and before it is kept.
    """

    kind: Kind = Kind.MONITOR
    seed: int = 0
    recording: Path | None = None
    pace: Pace = field(default_factory=Pace)
    preludes: Mapping[str, str] = field(default_factory=dict[str, str])
    measure: Measure = not_measured
    requests: bool = False
    orders: bool = False
    manifest: Manifest | None = None
    listen_host: str = "127.0.0.1"
    tpm: Path | None = None
    measured_log: Path | None = None
    image_number: int = 0
    activation: Activation = field(default_factory=Activation)
