"""Compartments that only the manifest knows: what they may need, and what they are told.

Source: docs/reference/supervisor.md, "Compartments of your own".
"""

from typing import Any

from asepsis.core.errors import ConfigError
from asepsis.core.model.manifest import Compartment, Manifest
from asepsis.edge.sandbox.layer import Layer


def require_startable(declared: Compartment) -> None:
    """Check that a compartment needs nothing that only code can hand it.

    Raises:
        ConfigError: It does.
    """
    folder = ["a folder"] if declared.folder else []
    needs = [*declared.writes, *declared.says, *declared.hears, *declared.handed, *folder]
    if needs or len(declared.reads) > 1:
        raise ConfigError(
            f"nothing here starts compartment {declared.name} with "
            + (", ".join(needs) or "two rings"),
            hint="by the manifest alone: one ring to read, endpoints, ports",
        )


def facts_of(manifest: Manifest, *, device: str, layers: frozenset[Layer]) -> dict[str, Any]:
    """Return what such a compartment may know of the device, and tell: nothing of a patient."""
    return {
        "device": device,
        "model": manifest.device,
        "manifest": manifest.version,
        "layers": sorted(layer.value for layer in layers),
    }
