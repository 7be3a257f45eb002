"""The SDC ventilator of a story: its certificates, its settings, its process."""

import datetime as dt
import json
import ssl
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec

from asepsis.edge.gateway.sdc.credentials import check_provider, proof
from asepsis.edge.gateway.sdc.plans import sdc_plans
from asepsis.edge.gateway.sdc.settings import SdcEntry
from asepsis.tools.simulator import sdc_process

DEVICE = "urn:dev:mac:0000000000000043"


def test_a_story_starts_it_and_its_settings_are_those_of_a_gateway(tmp_path: Path) -> None:
    issued = sdc_process.credentials(tmp_path / "segment", now=dt.datetime.now(dt.UTC))
    command = [sys.executable, "-m", "asepsis.tools.simulator.sdc_process"]
    with subprocess.Popen(
        [*command, *sdc_process.arguments(issued)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        listening = json.loads(process.stdout.readline())
        process.stdin.write("stop\n")
        process.stdin.flush()
        assert process.wait(20) == 0
    text = sdc_process.sdc_toml(issued, name="v", device=DEVICE, port=listening["port"])
    entries = msgspec.convert(tomllib.loads(text)["sdc"], tuple[SdcEntry, ...])
    (plan,) = sdc_plans(entries, folder=tmp_path)
    assert proof(plan).host == sdc_process.HOST
    leaf = ssl.PEM_cert_to_DER_cert(issued.device.chain.read_text())
    check_provider(leaf, identity=sdc_process.IDENTITY)
