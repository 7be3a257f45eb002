"""`asepsis devices ask`: an operator's signed request, carried by the hub."""

import base64
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import app as devices_app
from asepsis.cli.devices import people
from asepsis.cli.output import show_facts, show_json
from asepsis.core.errors import SafetyRefusal, Unavailable
from asepsis.core.trust import libcrypto
from asepsis.core.wire import gate_request
from asepsis.core.wire.gate_request import LimitRequest
from asepsis.tools.people import PeopleClient

ANSWER_S: Final = 30.0
LOOK_S: Final = 0.5


@devices_app.command
def ask(
    device: Annotated[str, Parameter(help="Which device.")],
    /,
    *,
    numeric: Annotated[int, Parameter(help="Handle of the numeric; see the device model.")],
    operator_key: Annotated[Path, Parameter(help="The operator's private key, which signs.")],
    low: Annotated[float | None, Parameter(help="New lower limit, in its unit.")] = None,
    high: Annotated[float | None, Parameter(help="New upper limit, in its unit.")] = None,
    dry_run: Annotated[bool, Parameter(help="Say what would be asked; ask nothing.")] = False,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Ask a device for other alarm limits of one numeric from afar; both limits are given anew.

    The operator's signature counts, not who brings it: the hub only carries it. Device and hub must
    both have been told to take requests. The device refuses while an alarm condition of this
    numeric is active, and never moves limits of high priority. What is printed is what its network
    compartment says; the device's signed word stands in the audit log.
    """
    path = f"/api/devices/{quote(device, safe='')}/requests"
    with closing(people(data)) as client:
        challenge = client.get(path)["challenge"]
        if not challenge:
            raise Unavailable(
                "the device has told no challenge", hint="does it run with --requests, and online?"
            )
        plain = gate_request.encode(
            LimitRequest(
                handle=numeric,
                low=low,
                high=high,
                device=gate_request.device_tag(device),
                challenge=bytes.fromhex(challenge),
                request_id=os.urandom(gate_request.ID_BYTES),
            )
        )
        frame = plain + libcrypto.read_key(operator_key).sign(plain)
        asked = {"device": device, "numeric": numeric, "low": low, "high": high}
        if not dry_run:
            body = {"frame": base64.b64encode(frame).decode("ascii")}
            asked |= _outcome(client, path, client.post(path, body)["id"])
    if json:
        show_json(asked)
    else:
        show_facts("Would ask" if dry_run else "Asked", asked)


def _outcome(client: PeopleClient, path: str, number: str) -> dict[str, Any]:
    until_s = time.monotonic() + ANSWER_S
    while time.monotonic() < until_s:
        for one in client.get(path)["outcomes"]:
            if one["id"] == number:
                if one["verdict"] == "refused":
                    raise SafetyRefusal(f"refused: {one['reason']}")
                return {"id": number, "verdict": one["verdict"]}
        time.sleep(LOOK_S)
    raise Unavailable("the device has not answered", hint="what it decided stands in the audit log")
