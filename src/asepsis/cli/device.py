"""`asepsis device`: run an enrolled device in compartments, and say which protections hold here."""

import json as json_module
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import AsepsisError
from asepsis.core.model.manifest import Manifest
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.app import run_device
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.manifest import DISPLAY, SHIPPED, together
from asepsis.edge.device.measured_versions import begin_measuring, not_measured
from asepsis.edge.device.measuring import LOG
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor, Tell
from asepsis.edge.device.update.settings import read_settings
from asepsis.edge.device.update.updating import UpdateSetting, Updating, boot_name
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.uplink.folder import IdentityFolder

app: Final = App(name="device", help="Run a device in compartments, apart from each other.")
_QUIET: Final = frozenset({"alive", "mapped", "confined", "alert-signed", "fate"})
"""Events that people need not see."""


OwnManifest = Annotated[
    Path | None, Parameter(help="Manifest of your own; without it the shipped one.")
]
WithDisplay = Annotated[
    bool, Parameter(help="With the compartment of a screen, as the image of a device has it.")
]
ListenHost = Annotated[str, Parameter(help="Address at which the ports of the manifest listen.")]


@app.command
def layers(*, json: bool = False) -> None:
    """Say which protections hold on this machine, and what that means."""
    found = detect()
    if json:
        show_json(found.as_document())
        return
    rows = [
        (finding.layer.value, "holds" if finding.holds else "ABSENT", finding.detail)
        for finding in found.findings
    ]
    show_table("Layers", ("layer", "here", "found"), rows)
    for finding in found.findings:
        console.print(f"{finding.layer.value}: {finding.meaning}.", markup=False)


@app.command
def run(
    *,
    folder: Annotated[Path, Parameter(help="Folder made by `asepsis enrol device`.")],
    seconds: Annotated[float | None, Parameter(help="How long; without it until stopped.")] = None,
    kind: Annotated[Kind, Parameter(help="What sort of device it is.")] = Kind.MONITOR,
    seed: Annotated[int, Parameter(help="Seed of the simulated patient.")] = 0,
    recording: Annotated[Path | None, Parameter(help="Recording to replay instead.")] = None,
    bedside: Annotated[
        bool, Parameter(help="Read keys of the bedside from standard input, one a line.")
    ] = False,
    requests: Annotated[
        bool, Parameter(help="Take requests for alarm limits, and open the panel's socket.")
    ] = False,
    manifest: OwnManifest = None,
    display: WithDisplay = False,
    listen_host: ListenHost = "127.0.0.1",
    tpm: Annotated[
        Path | None, Parameter(help="TPM that every version of a compartment is measured into.")
    ] = None,
    log: Annotated[Path, Parameter(help="Log of what was measured; with --tpm.")] = LOG,
    updates: Annotated[
        Path | None, Parameter(help="File that says where releases come from; none without it.")
    ] = None,
    json: Annotated[bool, Parameter(help="One JSON object a line for every event.")] = False,
) -> None:
    """Run an enrolled device with all its compartments against its hub.

    Bedside keys: acknowledge, standby, resume, cleaning, maintenance, done. For the simulated
    patient normal and disconnected, and of a monitor tachycardia, desaturation, apnoea,
    hypotension, lead-off; of a ventilator obstruction, leak, apnoea; of a pump occlusion,
    air-in-line, near-end.
    """
    stop = threading.Event()

    def stop_now(_number: int, _frame: object) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_now)
    tell = _tell_script if json else _tell_person
    identity, found, activation = IdentityFolder(folder.resolve()), detect(), Activation()
    update = None
    if updates is not None:
        name, _, _ = identity.load()
        update = read_settings(updates, device=name, kind=kind, layers=found.holding)
    outcome = run_device(
        identity,
        found=found,
        setting=Setting(
            kind=kind,
            seed=seed,
            recording=recording,
            requests=requests,
            orders=True,
            manifest=_safe(manifest, display=display),
            listen_host=listen_host,
            measure=not_measured if tpm is None else begin_measuring(tpm, log=log, tell=tell),
            activation=activation,
        ),
        tell=tell,
        stop=stop,
        seconds=seconds,
        on_start=(lambda supervisor: _listen(supervisor, tell)) if bedside else None,
        beside=update
        and partial(_update, update, folder=identity.path, activation=activation, tell=tell),
    )
    if json:
        _tell_script("device", "summary", asdict(outcome))
        return
    show_facts("Device", asdict(outcome))


def _update(
    setting: UpdateSetting,
    supervisor: Supervisor,
    *,
    folder: Path,
    activation: Activation,
    tell: Tell,
) -> Updating:
    return Updating(
        folder,
        setting=setting,
        supervisor=supervisor,
        activation=activation,
        boot=boot_name(),
        tell=tell,
    )


def _safe(path: Path | None, *, display: bool) -> Manifest | None:
    """Read a manifest; TrustError where it breaks a claim, ConfigError where it is none."""
    if path is None and not display:
        return None
    return together(path or SHIPPED, *([DISPLAY] if display else []))


def _listen(supervisor: Supervisor, tell: Tell) -> None:
    def listen() -> None:
        for line in sys.stdin:
            try:
                supervisor.bedside(line.strip()[:40])
            except AsepsisError as error:
                tell("device", "refused", {"text": str(error)})

    threading.Thread(target=listen, name="bedside", daemon=True).start()


def _tell_script(compartment: str, event: str, details: Mapping[str, Any]) -> None:
    document = {"compartment": compartment, "event": event, **details}
    sys.stdout.write(json_module.dumps(document) + "\n")
    sys.stdout.flush()


def _tell_person(compartment: str, event: str, details: Mapping[str, Any]) -> None:
    if event in _QUIET:
        return
    facts = ", ".join(f"{name} {value}" for name, value in details.items())
    # Words that a compartment chose are shown as text, never as markup or control characters.
    safe = "".join(c if c.isprintable() else "?" for c in f"{compartment}: {event} {facts}")
    console.print(safe[:300], markup=False)
