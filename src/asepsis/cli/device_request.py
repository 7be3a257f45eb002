"""`asepsis device request` and `asepsis device permit`: what the critical compartment is asked."""

import os
import time
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import InputError, SafetyRefusal, Unavailable
from asepsis.core.model.manifest import Criticality
from asepsis.core.trust import libcrypto
from asepsis.core.wire import gate_request
from asepsis.core.wire.gate_request import LimitRequest
from asepsis.edge.device.desk import OPERATOR
from asepsis.edge.device.operator_key import public_pem
from asepsis.edge.device.panel import ask_panel
from asepsis.edge.device.permit import UpdateRung
from asepsis.edge.uplink.files import write_durably

app: Final = App(name="request", help="Ask a running device for other alarm limits.")
ANSWER_S: Final = 5.0
LOOK_S: Final = 0.1
BEDSIDE: Final = "alarm-limit"
SIGNED: Final = "signed-alarm-limit"
Folder = Annotated[Path, Parameter(help="Folder of the device, started with --requests.")]
Json = Annotated[bool, Parameter(help="One JSON document.")]


@app.command
def show(*, folder: Folder, json: Json = False) -> None:
    """Show which requests the device takes, which one waits, and what became of the others."""
    status = ask_panel(folder, "status")
    if json:
        show_json(status)
        return
    outcomes = status.pop("outcomes")
    requests = status.pop("requests")
    show_facts("Device", {name: value or "nothing" for name, value in status.items()})
    show_table("Takes", ("request", "counts if confirmed by"), list(requests.items()))
    rows = [[str(o.get(k, "")) for k in ("text", "asker", "verdict", "reason")] for o in outcomes]
    show_table("Outcomes, newest last", ("asked for", "by", "became", "because"), rows)


@app.command
def limit(
    *,
    folder: Folder,
    numeric: Annotated[int, Parameter(help="Handle of the numeric; see the device model.")],
    low: Annotated[float | None, Parameter(help="New lower limit, in its unit.")] = None,
    high: Annotated[float | None, Parameter(help="New upper limit, in its unit.")] = None,
    operator_key: Annotated[
        Path | None, Parameter(help="Sign with this key, instead of a person's word at the device.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Say what would be asked; ask nothing.")] = False,
    json: Json = False,
) -> None:
    """Ask for other alarm limits of one numeric; both limits are given anew.

    Without a key the request waits half a minute for a person at the device: `request confirm`.
    With the operator's key it counts at once, unless an alarm condition of this numeric is active.
    Limits of high priority stay as they are, and no limit can be switched off.
    """
    status = ask_panel(folder, "status")
    signed = operator_key is not None
    challenge = bytes.fromhex(str(status.get("challenge") or "")) if signed else b""
    if signed and not challenge:
        raise Unavailable("the device has not told a challenge yet", hint="try again in a second")
    plain = gate_request.encode(
        LimitRequest(
            handle=numeric,
            low=low,
            high=high,
            device=gate_request.device_tag(str(status["device"])),
            challenge=challenge or gate_request.NO_CHALLENGE,
            request_id=os.urandom(gate_request.ID_BYTES),
        )
    )
    frame = plain + libcrypto.read_key(operator_key).sign(plain) if operator_key else plain
    name = SIGNED if signed else BEDSIDE
    asked = {
        "device": status["device"],
        "request": name,
        "numeric": numeric,
        "low": low,
        "high": high,
        "code": gate_request.code_of(frame),
        "frame": frame.hex(),
    }
    outcome = asked if dry_run else _ask(folder, name, frame)
    if json:
        show_json(outcome)
    else:
        show_facts("Would ask" if dry_run else "Asked", outcome)


@app.command
def confirm(code: str, /, *, folder: Folder) -> None:
    """Say yes, as a person at the device, to the request that shows this code."""
    _person(folder, "confirm", code)


@app.command
def refuse(code: str, /, *, folder: Folder) -> None:
    """Say no, as a person at the device, to the request that shows this code."""
    _person(folder, "refuse", code)


@app.command
def operator(
    key: Annotated[Path, Parameter(help="The operator's private key; made if there is none.")],
    /,
    *,
    folder: Annotated[Path, Parameter(help="Folder of the device.")],
    dry_run: Annotated[bool, Parameter(help="Say what would be written; write nothing.")] = False,
) -> None:
    """Install the public half of the operator's key; it counts from the next start of the device.

    The private key stays where it is: keep it off the device and off the network.
    """
    target = folder / f"{OPERATOR}.pem"
    if dry_run:
        made = "is there" if key.exists() else "would be made"
        console.print(f"{key} {made}; {target} would be written", markup=False)
        return
    if not key.exists():
        libcrypto.write_key(libcrypto.generate_key(), key)
    write_durably(target, public_pem(libcrypto.read_key(key).spki_der), mode=0o644)
    console.print(f"{target} written", markup=False)


def permit(
    *,
    folder: Folder,
    rung: Annotated[UpdateRung, Parameter(help="How an update would take effect.")],
    gap_ms: Annotated[int, Parameter(help="Longest gap it would cause, milliseconds.")] = 0,
    touches: Annotated[
        Criticality, Parameter(help="The most critical compartment it would replace.")
    ] = Criticality.EXPENDABLE,
    release: Annotated[str, Parameter(help="SHA-256 of the release, hexadecimal.")] = "00" * 32,
    json: Json = False,
) -> None:
    """Ask the critical compartment whether an update could be activated now; nothing is activated.

    The exit code is 0 for a permit and 3 for a reason why there is none.
    """
    body = {"rung": rung.value, "gap_ms": gap_ms, "touches": touches.value, "release": release}
    ask_panel(folder, "permit", **body)
    deadline_s = time.monotonic() + ANSWER_S
    status: dict[str, Any] = {}
    while time.monotonic() < deadline_s:
        status = ask_panel(folder, "status")
        if "not answered" not in status["permit"]:
            break
        time.sleep(LOOK_S)
    facts = {"state": status.get("state"), "permit": status.get("permit"), **body}
    if json:
        show_json(facts)
    else:
        show_facts("Permit", facts)
    if status.get("permit") != "granted":
        raise SafetyRefusal(f"no permit: {status.get('permit')}")


def _ask(folder: Path, request: str, frame: bytes) -> dict[str, Any]:
    handed = ask_panel(folder, "ask", request=request, frame=frame.hex())
    if not handed.get("done"):
        raise SafetyRefusal(f"not handed in: {handed.get('reason')}")
    own = gate_request.decode(frame)[0].request_id.hex()
    deadline_s = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline_s:
        for outcome in reversed(ask_panel(folder, "status")["outcomes"]):
            if outcome.get("id") == own:
                if outcome["verdict"] == "refused":
                    raise SafetyRefusal(f"refused: {outcome['reason']}")
                return outcome
        time.sleep(LOOK_S)
    raise Unavailable("the critical compartment has not answered")


def _person(folder: Path, do: str, code: str) -> None:
    status = ask_panel(folder, "status")
    if not code or status.get("confirm") != code:
        raise InputError(
            f"no request with code {code} waits", hint="see: asepsis device request show"
        )
    ask_panel(folder, do, code=code)
    console.print(f"{do}ed" if do == "confirm" else "refused", markup=False)
