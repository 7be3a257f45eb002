"""Old devices and old archives: both ends speak as they always did, between them the standard.

A monitor of one maker's own protocol, a ventilator that speaks SDC and a computed tomograph come in
through a second gateway; what the ward sends by HL7 leaves through it to an old record, and the
image to an old PACS.
"""

import datetime as dt
import json
import time
from contextlib import ExitStack
from typing import Final
from urllib.parse import quote

from asepsis.core.errors import AsepsisError
from asepsis.tools.simulator import archive, cast, intellivue_process, modality, sdc_process
from asepsis.tools.simulator.archive import Archive
from asepsis.tools.simulator.ehr import Ehr
from asepsis.tools.simulator.live_view import LiveView
from asepsis.tools.simulator.stage import START_S, Stage
from asepsis.tools.testing import sdc_mdib

LIVE_S: Final = 30.0
ARRIVAL_S: Final = 30.0
MESSAGES: Final = 10
TICK_S: Final = 0.1
GATEWAY_TITLE: Final = "ASEPSIS"
FAMILY: Final = "imaging"


def play(stage: Stage) -> None:
    """Let everything of the old kind come in and go out."""
    try:
        with ExitStack() as stack:
            _play(stage, stack)
    except AsepsisError as error:
        stage.fail("old devices", error)


def _play(stage: Stage, stack: ExitStack) -> None:
    ehr = Ehr()
    stack.callback(ehr.close)
    pacs = Archive(stage.folder / "pacs") if archive.installed() else None
    if pacs:
        stack.callback(pacs.close)
    monitor = stage.actor("intellivue_process", cast.VISITING.key, ["--port", "0"])
    segment = sdc_process.credentials(stage.folder / "segment", now=_now())
    ventilator = stage.actor("sdc_process", cast.BREATHING.key, sdc_process.arguments(segment))
    port = int(monitor.wait_for("listening", timeout_s=START_S)["port"])
    _enter_destinations(stage)
    sections = _sections(ehr=ehr.port, pacs=pacs.port if pacs else 0, monitor=port)
    sections += sdc_process.sdc_toml(
        segment,
        name=cast.BREATHING.key,
        device=cast.BREATHING.name,
        port=int(ventilator.wait_for("listening", timeout_s=START_S)["port"]),
    )
    second = stage.open_second_gateway(sections, family=FAMILY)
    stack.callback(second.stop)
    ready = json.loads((stage.folder / "second-gateway" / "run" / f"{FAMILY}.json").read_text())
    began_s = time.monotonic()
    view = stage.second_view([cast.VISITING.name, cast.BREATHING.name])
    stack.callback(view.close)
    _watch_monitor(stage, view)
    _watch_ventilator(stage, view, began_s=began_s)
    _store_image(stage, pacs, port=int(ready["listeners"]["radiology"]["port"]))
    _read_messages(stage, ehr)
    monitor.command("stop")
    ventilator.command("stop")


def _now() -> dt.datetime:
    return dt.datetime.fromtimestamp(time.time(), dt.UTC)


def _enter_destinations(stage: Stage) -> None:
    """Enter where data may leave to, as an administrator does."""
    for name, carries in (("ehr", "messages"), ("pacs", "images")):
        options = {"gateway": stage.second_gateway, "carries": carries, "from_start": True}
        body = {"name": name, "kind": "gateway", "address": "", "options": options}
        stage.people.post("/api/destinations", body)
    for player in (cast.VISITING, cast.BREATHING):
        stage.people.put(
            f"/api/devices/{quote(player.name, safe='')}/place",
            {"place": {"point_of_care": cast.WARD, "room": "1", "bed": player.bed}, "fixed": False},
        )


def _sections(*, ehr: int, pacs: int, monitor: int) -> str:
    """Return what the second gateway's settings have beyond the usual."""
    drivers = intellivue_process.drivers_toml(
        name=cast.VISITING.key, device=cast.VISITING.name, host="127.0.0.1", port=monitor
    )
    archives = f"""\
[[archives]]
destination = "pacs"
host = "127.0.0.1"
port = {pacs}
called = "{archive.AE_TITLE}"
cleartext = true
"""
    return f"""\
{drivers}
[imaging]
[[imaging.listeners]]
name = "radiology"
host = "127.0.0.1"
port = 0
ae_titles = ["{GATEWAY_TITLE}"]

[[imaging.peers]]
name = "ct-1"
listener = "radiology"
addresses = ["{cast.SCANNER_ADDRESS}"]
ae_titles = ["{modality.AE_TITLE}"]
device = "{cast.SCANNER}"
sop_classes = ["storage"]
cleartext = true

[[outbound]]
destination = "ehr"
host = "127.0.0.1"
port = {ehr}
cleartext = true
in_flight = 8

{archives if pacs else ""}"""


def _watch_monitor(stage: Stage, view: LiveView) -> None:
    took_s = view.until(
        lambda: view.live(cast.VISITING.name), "the IntelliVue monitor live", timeout_s=LIVE_S
    )
    stage.summary.intellivue_live_s = round(took_s, 1)
    stage.tell(
        "A monitor of one maker's own protocol",
        "a scripted Philips IntelliVue monitor, read by a driver of the second gateway, is live "
        f"after {took_s:.1f} s; it stands in the view as what a gateway claims, never as proven",
    )


def _watch_ventilator(stage: Stage, view: LiveView, *, began_s: float) -> None:
    wanted, name = len(sdc_mdib.METRICS), cast.BREATHING.name
    view.until(lambda: view.live(name) >= wanted, "the SDC ventilator live", timeout_s=LIVE_S)
    stage.summary.sdc_live_s = round(time.monotonic() - began_s, 1)
    stage.tell(
        "A ventilator that speaks SDC",
        f"the reference provider of sdc11073, read over mutual TLS by a gateway that checked its "
        f"certificate's purpose and identity: {wanted} values live after "
        f"{stage.summary.sdc_live_s:.1f} s, and {len(sdc_mdib.WAVES)} waveforms beside them",
    )


def _store_image(stage: Stage, pacs: Archive | None, *, port: int) -> None:
    file, began_s = modality.image(), time.monotonic()
    modality.store(file, port=port, called=GATEWAY_TITLE, address=cast.SCANNER_ADDRESS)
    stage.summary.image_stored_s = round(time.monotonic() - began_s, 2)
    stored = f"durable at the hub after {stage.summary.image_stored_s:.1f} s"
    if pacs is None:
        stage.tell("A CT image", f"{stored}; no Orthanc is installed here: it waits for its PACS")
        return
    found: list[bytes] = []
    while not found and time.monotonic() < began_s + ARRIVAL_S:
        time.sleep(TICK_S)
        found = pacs.instances()
    stage.summary.image_archived_s = round(time.monotonic() - began_s, 2) if found else None
    if not found or not modality.same_pixels(file, found[0]):
        stage.summary.failures.append("image: it did not come to the PACS as it was")
        return
    stage.tell(
        "A CT image",
        f"{stored}, in the old PACS (Orthanc) after {stage.summary.image_archived_s:.1f} s, "
        "pixel for pixel",
    )


def _read_messages(stage: Stage, ehr: Ehr) -> None:
    deadline_s = time.monotonic() + ARRIVAL_S
    while len(ehr.control_ids) < MESSAGES and time.monotonic() < deadline_s:
        time.sleep(TICK_S)
    stage.summary.ehr_messages = len(ehr.control_ids)
    if stage.summary.ehr_messages < MESSAGES:
        stage.summary.failures.append("the old EHR got too few messages")
        return
    kinds = ", ".join(f"{ehr.types.count(kind)} {kind}" for kind in sorted(set(ehr.types)))
    stage.tell(
        "The old EHR reads on",
        f"it got what the ward sent since the start over MLLP, in order: {kinds}; in clear only "
        "on the last metre",
    )
