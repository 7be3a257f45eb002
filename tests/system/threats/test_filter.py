"""A compiled filter in a real kernel: declared flows pass, nothing else does."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from asepsis.analysis.threats.file import read_model
from asepsis.analysis.threats.measures.build import FILTER_FILE, Known, build

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]
PROGRAM = Path(__file__).with_name("filtered.py")
HOSPITAL = (files("asepsis.analysis.threats") / "examples" / "hospital.yaml").read_bytes()
HOSTS = {
    "monitor": "10.20.0.11",
    "central": "10.20.1.10",
    "gateway": "10.20.1.20",
    "pump": "10.20.2.5",
    "archive": "10.30.0.5",
    "office": "10.40.0.9",
}
PORTS = [22, 2575, 7000]
PASSING = ["central gateway 2575", "gateway central 2575", "monitor central 7000"]
"""The flows of the model that cross a border."""
FREE = [
    f"{a} {b} {port}" for a, b in (("archive", "office"), ("office", "archive")) for port in PORTS
]
"""What has nothing to do with the filter."""


def played(folder: Path, *, cards: dict[str, str], lies: list[list[str]]) -> Any:
    model, _ = read_model(HOSPITAL, name="hospital.yaml")
    built = build(model, {"segmentation": 2}, known=Known(cards=cards))
    rules, plan = folder / "rules.nft", folder / "plan.json"
    rules.write_text(built.files[FILTER_FILE])
    plan.write_text(
        json.dumps(
            {
                "hosts": HOSTS,
                "ports": PORTS,
                "passing": [*PASSING, *FREE],
                "cards": {card: name.partition("@")[0] for name, card in cards.items()},
                "lies": lies,
            }
        )
    )
    command = ["unshare", "--net", sys.executable, str(PROGRAM), str(rules), str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads(done.stdout)


def test_declared_flows_pass_and_nothing_else(tmp_path: Path) -> None:
    found = played(
        tmp_path,
        cards={"monitor@bedside": "monitor0", "central@bedside": "central0"},
        lies=[["office", "monitor", "central"]],
    )
    every = len(HOSTS) * (len(HOSTS) - 1) * len(PORTS)
    assert len(found["before"]) == every, "without the filter everything passes"
    assert found["after"] == sorted([*PASSING, *FREE])
    rules = [one["rule"] for one in found["table"]["nftables"] if "rule" in one]
    counted = {rule.get("comment"): rule["expr"] for rule in rules if "comment" in rule}
    assert counted.keys() == {"admissions", "results", "values"}
    spoofed = [
        part["counter"]["packets"]
        for rule in rules
        if rule["chain"] == "forward"
        for part in rule["expr"]
        if "counter" in part
    ]
    assert max(spoofed) == 3, "a monitor's address from the office's side is dropped"
