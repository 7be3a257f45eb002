"""Carries what operators signed from the hub to the request gate, and the answers back.

The network compartment does this, and may be owned: what it changes does not verify, what it
repeats answers no challenge any more, and what it withholds was never done.
"""

import base64
import binascii
import json
import select
import socket
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, cast

from asepsis.core.errors import InputError, NotPermitted
from asepsis.core.wire.gate_request import FRAME_BYTES_MAX
from asepsis.edge.device.errands import PATIENCE_S
from asepsis.edge.uplink.connection import HubConnection

SIGNED: Final = "signed-alarm-limit"
SIGNED_LINE: Final = f"request-{SIGNED}"
"""Name of the line for it among the descriptors of the first order."""
HOLD_S: Final = 4.0
"""How long the hub may hold a question open until there is something, seconds."""
ANSWER_S: Final = 2.0
"""How long an answer of the critical compartment is waited for before the hub is asked again."""
MESSAGE_BYTES_MAX: Final = 1_024
REQUESTS_MAX: Final = 4
OUTCOMES_MAX: Final = 16
_JSON: Final = {"Content-Type": "application/json"}


class Carrying:
    """An `Errand`: asks the hub, hands in, and tells what became of it.

    Args:
        line: Line to the request gate; not blocking.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._challenge = ""
        self._outcomes: deque[dict[str, str]] = deque(maxlen=OUTCOMES_MAX)

    def run(self, hub: HubConnection) -> float:
        """Ask once; see `Errand`."""
        self._listen(0.0)
        if not self._challenge:
            return 1.0  # The critical compartment has not told one yet.
        told = list(self._outcomes)
        body = {"challenge": self._challenge, "outcomes": told, "wait_s": 0 if told else HOLD_S}
        try:
            answer = hub.request(
                "POST", "/requests/fetch", body=json.dumps(body).encode(), headers=_JSON
            )
        except NotPermitted:
            return PATIENCE_S  # This hub carries nothing.
        for _ in told:
            self._outcomes.popleft()
        frames = _frames(answer.body)
        for frame in frames:
            self._line.send(frame)
        if frames:
            self._listen(ANSWER_S)
        return 0.0

    def _listen(self, wait_s: float) -> None:
        """Take what the gate says: challenges, and answers to what was handed in."""
        while select.select([self._line], [], [], wait_s)[0]:
            try:
                message = self._line.recv(MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return
            if not message:
                return
            said = cast("Mapping[str, Any]", json.loads(message))  # Our own supervisor's word.
            if "challenge" in said:
                self._challenge = str(said["challenge"])
            elif said.get("id"):
                self._outcomes.append({k: str(said[k])[:120] for k in ("id", "verdict", "reason")})
                wait_s = 0.0


def _frames(body: bytes) -> list[bytes]:
    """Read what the hub gave.

    Raises:
        InputError: It is no answer to what was asked.
    """
    try:
        document = cast("Mapping[str, Any]", json.loads(body))
        found = [
            base64.b64decode(str(one["frame"]), validate=True)
            for one in document["requests"]
            if one["request"] == SIGNED
        ]
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise InputError("the hub's answer holds no requests") from error
    if len(found) > REQUESTS_MAX or any(len(one) > FRAME_BYTES_MAX for one in found):
        raise InputError("the hub gives more than a device takes")
    return found
