"""Takes the plan of an artefact out of its release document, in the verifier."""

import json

from asepsis.core.model.release import ReleaseDocument
from asepsis.edge.device.update.plan import FORMAT


def planned(release: ReleaseDocument, sha256: str) -> bytes:
    """Return the plan of one artefact.

    Args:
        release: The release document; its hash was checked.
        sha256: Of the artefact, hexadecimal.

    Raises:
        InputError: Not of this artefact.
    """
    release.component_of(sha256)
    installing = release.installing
    plan = {
        "format": FORMAT,
        "states": list(installing.states),
        "run_s": installing.run_s,
        "rollback_s": installing.rollback_s,
        "consent": False,
        "acceptance": installing.acceptance,
        "changes": list(installing.changes),
        "tests": [
            {"name": test.name, "low": test.low, "high": test.high, "unit": test.unit}
            for test in release.self_tests
        ],
    }
    return json.dumps(plan, sort_keys=True).encode()
