"""Everything that is generated from one manifest, as files: name -> text."""

import json
from pathlib import Path
from typing import Any

from asepsis.core.model.manifest import Manifest
from asepsis.core.model.manifest_claims import CLAIMS, breaches
from asepsis.core.model.manifest_flows import data_flow
from asepsis.edge.sandbox.generate import cgroups, host, selinux, systemd
from asepsis.edge.sandbox.generate.selinux_claims import nevers


def artefacts(manifest: Manifest, *, state: Path = Path(systemd.STATE)) -> dict[str, str]:
    """Return the files of a device.

    Args:
        manifest: Which compartments.
        state: Folder of the device, on the device.
    """
    found = {
        "selinux/device.cil": selinux.policy(manifest).text,
        f"systemd/{systemd.unit_name(manifest)}": systemd.unit(manifest),
        "threats/data-flow.json": _json(data_flow(manifest).to_document()),
        "claims.json": _json(claims_document(manifest)),
    }
    for name, compartment in manifest.compartments.items():
        rules = host.rules(compartment, state=state / "compartments" / name, as_root=True)
        found[f"host/{name}.json"] = _json(rules.to_document())
        values = cgroups.values(compartment)
        text = "".join(f"{file} {value}\n" for file, value in values.items())
        found[f"cgroups/{name}.conf"] = text
    return found


def claims_document(manifest: Manifest) -> list[dict[str, Any]]:
    """Return every claim with what enforces it, for the security file."""
    broken = breaches(manifest)
    rules = list(nevers(manifest))
    return [
        {
            "id": claim.id,
            "sentence": claim.sentence,
            "holds": not any(breach.claim == claim.id for breach in broken),
            "neverallow_rules": sum(never.claim == claim.id for never in rules),
        }
        for claim in CLAIMS.values()
    ]


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
