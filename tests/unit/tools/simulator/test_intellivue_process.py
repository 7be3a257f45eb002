"""The IntelliVue monitor of a story, as a process, heard by the driver."""

import json
import subprocess
import sys
import tomllib

from asepsis.core.model.identity import DeviceId
from asepsis.edge.gateway.drivers.catalogue import DRIVERS, Plan
from asepsis.edge.gateway.drivers.channel import Report
from asepsis.edge.gateway.drivers.line import Talk
from asepsis.edge.gateway.drivers.sdk import Conditions, LineSettings, Values
from asepsis.edge.gateway.drivers.settings import DriverEntry
from asepsis.edge.gateway.drivers.transports import open_line
from asepsis.tools.simulator.intellivue_process import drivers_toml

DEVICE = "urn:dev:mac:0000000000000041"


def test_a_story_hears_it_measure_and_alarm() -> None:
    command = [sys.executable, "-m", "asepsis.tools.simulator.intellivue_process", "--port", "0"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        listening = json.loads(process.stdout.readline())
        process.stdin.write("high\n")
        process.stdin.flush()
        text = drivers_toml(name="m", device=DEVICE, host="127.0.0.1", port=listening["port"])
        entry = DriverEntry(**tomllib.loads(text)["drivers"][0])
        driver = DRIVERS[entry.driver]
        plan = Plan(entry=entry, driver=driver, device=DeviceId(DEVICE), line=LineSettings())
        line = open_line(plan)
        told: list[object] = []

        def report(found: Report) -> bool:
            told.extend(found.told)
            talk.stopping = any(isinstance(t, Conditions) and t.active for t in told)
            return True

        talk = Talk(driver.make(), line, report=report)
        talk.run()
        line.close()
        process.stdin.write("stop\n")
        process.stdin.flush()
        assert process.wait(10) == 0
    rates = {v.value for t in told if isinstance(t, Values) for v in t.values if v.code == 147_842}
    assert rates == {152}
