"""List the benchmarks, or run one: `run.py [NAME [ARGUMENTS...]]`.

Each benchmark is a program of its own and ends with one JSON line: name, value, unit, peer,
peer_value, ratio, target, met.
"""

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = {
    "vitals": "vitals.py",
    "alerts": "alerts.py",
    "hl7-parse": "hl7_parse.py",
    "durability": "durability.py",
    "handshakes": "handshakes.py",
    "fhir-codec": "fhir_codec.py",
    "hl7-gateway": "hl7_gateway.py",
    "hl7-through": "hl7_through.py",
    "dicom": "dicom.py",
    "stow": "stow.py",
    "ring": "ring.py",
    "ring-stream": "ring_stream.py",
    "image": "image.py",
    "swap": "swap.py",
    "ports": "ports.py",
    "exhaustion": "exhaustion.py",
    "sdc": "sdc.py",
    "reads": "reads.py",
    "ward": "ward.py",
    "campaign": "campaign.py",
    "plan": "plan.py",
    "polls": "polls.py",
    "deltas": "deltas.py",
    "targets": "targets.py",
}


def summary_of(path: Path) -> str:
    """Return the first line of a program's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def main(arguments: list[str]) -> int:
    """List or run; returns the exit code."""
    known = {name: HERE / file for name, file in NAMES.items() if (HERE / file).exists()}
    if not arguments:
        for name, path in known.items():
            print(f"{name:12} {summary_of(path)}")
        return 0
    name, *rest = arguments
    if name not in known:
        print(f"no benchmark {name!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 1
    return subprocess.run([sys.executable, str(known[name]), *rest], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
