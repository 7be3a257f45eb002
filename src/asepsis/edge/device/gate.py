"""The request gate: the only way in to the critical compartment, and the supervisor's half of it.

The gate reads no request. It counts them, cuts off who asks too often, hands the bytes in, writes
down what became of each, and carries the answer back. Whether a request counts the critical
compartment decides. Off unless the device is started with requests on.
"""

import contextlib
import json
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import LimitExceeded, SafetyRefusal, Unavailable
from asepsis.core.model.manifest import Confirmation, Criticality, Manifest, Request
from asepsis.core.wire.gate_request import FRAME_BYTES_MAX
from asepsis.edge.device.desk import OPERATOR
from asepsis.edge.device.gate_log import GateLog
from asepsis.edge.device.panel import Panel
from asepsis.edge.device.permit import NONCE_BYTES, PermitBook, Question, UpdateRung
from asepsis.edge.sandbox import domains
from asepsis.edge.sandbox.launcher import Compartment

PANEL: Final = "panel"
"""Who asks where a person does so at the device."""
MINUTE_S: Final = 60.0
FRAMES_A_STEP: Final = 4
"""Requests taken from one line in one round of the supervisor; the rest waits."""
OUTCOMES_KEPT: Final = 16
Tell = Callable[[str, str, Mapping[str, Any]], None]


class Gate:
    """Hands requests in and permits out; a part of the supervisor.

    Args:
        manifest: Which requests there are, and who may make them.
        critical: The compartment that decides.
        on: Whether this device takes requests at all.
        folder: The device's folder: operator's key, panel, record.
        device: The device's name.
        tell: Told what the gate itself refuses.
        note: Told who asked and what became of it, for the security team.

    Resource handling: `close` closes panel, lines and record.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        critical: str,
        on: bool,
        folder: Path,
        device: str,
        tell: Tell,
        note: Callable[[str, str], None],
    ) -> None:
        self._note = note
        self._manifest = manifest
        self._critical = critical
        self._requests = {n: q for n, q in manifest.requests.items() if q.to == critical and on}
        self._key_path = folder / f"{OPERATOR}.pem"
        self._key: int | None = None
        self._device = device
        self._tell = tell
        self._lines: dict[tuple[str, str], tuple[socket.socket, socket.socket]] = {}
        self._asked_s: dict[tuple[str, str], deque[float]] = {}
        self._facts: dict[str, Any] = {}
        self._state = ""
        self._announced: dict[tuple[str, str], str] = {}
        self._outcomes: deque[dict[str, Any]] = deque(maxlen=OUTCOMES_KEPT)
        self._decider: Compartment | None = None
        self._log = GateLog(folder / "requests.log") if on else None
        self.permits = PermitBook()
        self.panel = Panel(folder, answer=self._answer_panel) if on else None

    def handed(self, name: str) -> tuple[dict[str, Any], dict[str, int]]:
        """Return values and descriptors for the first order of a compartment; they stay ours."""
        if name == self._critical:
            return self._for_critical()
        found: dict[str, int] = {}
        for request in self._manifest.compartments[name].requests:
            if request in self._requests:
                for line in self._lines.pop((name, request), ()):
                    line.close()
                with domains.sockets_as("request", request):
                    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self._lines[name, request] = pair
                self._announced.pop((name, request), None)
                found[f"request-{request}"] = pair[1].fileno()
        return {}, found

    def step(self, critical: Compartment | None) -> None:
        """Take what is asked now; never waits.

        Args:
            critical: The compartment that decides; None while it does not run.
        """
        if critical is not self._decider:
            self._decider = critical
            self.permits.void("the critical compartment was started anew")
        for (asker, name), (own, _) in self._lines.items():
            for _ in range(FRAMES_A_STEP):
                try:
                    frame = own.recv(FRAME_BYTES_MAX + 1, socket.MSG_DONTWAIT)
                except OSError:
                    break
                if not frame:
                    break
                self._ask(asker, self._requests[name], frame)
        self._announce()
        if self.panel:
            self.panel.step(time.monotonic())

    def _announce(self) -> None:
        """Tell whoever brings signed requests what they have to answer; it is no secret."""
        challenge = str(self._facts.get("challenge") or "")
        for (asker, name), (own, _) in self._lines.items():
            signed = self._requests[name].confirmed_by is Confirmation.OPERATOR_SIGNATURE
            if signed and challenge and self._announced.get((asker, name)) != challenge:
                self._announced[asker, name] = challenge
                message = json.dumps({"challenge": challenge}).encode()
                with contextlib.suppress(OSError):  # Whoever does not listen is not told.
                    own.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def reported(self, event: str, report: Mapping[str, Any]) -> None:
        """Take what the critical compartment reports."""
        if event == "permit":
            self.permits.answered(report)
        elif event == "state":
            self._state = str(report.get("state", ""))
            self.permits.void("the clinical state has changed")
        elif event == "alive":
            self._facts = {key: report.get(key) for key in ("challenge", "confirm", "state")}
            self._state = str(report.get("state", ""))
        elif event == "request":
            self._ended({key: str(value) for key, value in report.items()})

    def ask_permit(
        self, release: bytes, rung: UpdateRung, *, gap_ms: int, touches: Criticality
    ) -> None:
        """Ask for a permit; the answer is in `permits` a moment later.

        Raises:
            SafetyRefusal: Nobody can answer.
        """
        question = Question(
            release=release,
            rung=rung,
            gap_ms=gap_ms,
            touches=touches,
            nonce=secrets.token_bytes(NONCE_BYTES),
        )
        self.permits.asked(question, now_s=time.monotonic())
        try:
            self._order("permit", question.to_document())
        except Unavailable as error:
            self.permits.void(str(error))
            raise SafetyRefusal(f"no permit: {error}") from error

    def close(self) -> None:
        """Let go of everything."""
        for pair in self._lines.values():
            for line in pair:
                line.close()
        if self.panel:
            self.panel.close()
        self._forget_key()

    def _for_critical(self) -> tuple[dict[str, Any], dict[str, int]]:
        self._forget_key()
        if not self._requests:
            return {}, {}
        body = {
            "device": self._device,
            "requests": {name: q.confirmed_by.value for name, q in self._requests.items()},
        }
        with contextlib.suppress(FileNotFoundError):
            self._key = os.open(self._key_path, os.O_RDONLY | os.O_CLOEXEC)
            domains.label(self._key, "document", OPERATOR)
            return body, {OPERATOR: self._key}
        return body, {}

    def _forget_key(self) -> None:
        if self._key is not None:
            os.close(self._key)
            self._key = None

    def _ask(self, asker: str, request: Request, frame: bytes) -> str:
        """Hand a request in; returns why it was not, or nothing."""
        why = ""
        if len(frame) > FRAME_BYTES_MAX:
            why = "it is too long"
        elif not self._in_time(asker, request):
            why = "it is asked too often"
        else:
            body = {"request": request.name, "asker": asker, "frame": frame.hex()}
            try:
                self._order("request", body)
            except (Unavailable, LimitExceeded) as error:
                why = str(error)
        if why:
            outcome = {"request": request.name, "asker": asker, "verdict": "refused", "reason": why}
            self._ended(outcome)
            self._tell("gate", "request", outcome)
        return why

    def _order(self, what: str, body: Mapping[str, Any]) -> None:
        if self._decider is None:
            raise Unavailable("the critical compartment does not run")
        self._decider.order(what, body)

    def _in_time(self, asker: str, request: Request) -> bool:
        now_s = time.monotonic()
        asked = self._asked_s.setdefault((asker, request.name), deque())
        while asked and now_s - asked[0] >= MINUTE_S:
            asked.popleft()
        if len(asked) >= request.per_minute_max:
            return False
        asked.append(now_s)
        return True

    def _ended(self, outcome: dict[str, Any]) -> None:
        self._outcomes.append(outcome)
        words = (outcome.get(k, "") for k in ("request", "verdict", "reason", "text"))
        self._note(outcome.get("asker", ""), " ".join(filter(None, words)))
        if self._log:
            self._log.write(outcome)
        line = self._lines.get((outcome.get("asker", ""), outcome.get("request", "")))
        if line:
            answer = {k: outcome.get(k, "") for k in ("id", "verdict", "reason")}
            with contextlib.suppress(OSError):  # Whoever does not listen is not told.
                line[0].send(json.dumps(answer).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def _answer_panel(self, do: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one line of the panel.

        Raises:
            AsepsisError: It cannot be done; the panel shows it.
        """
        if do in {"confirm", "refuse"}:
            return self._person(do, str(body.get("code", "")))
        if do == "ask":
            return self._panel_asks(str(body.get("request", "")), str(body.get("frame", "")))
        if do == "permit":
            self._panel_permit(body)
        return {
            "device": self._device,
            "state": self._state,
            "requests": {n: q.confirmed_by.value for n, q in self._requests.items()},
            **self._facts,
            "outcomes": list(self._outcomes),
            "permit": self.permits.reason(now_s=time.monotonic()) or "granted",
        }

    def _person(self, do: str, code: str) -> dict[str, Any]:
        self._order("person", {"yes": do == "confirm", "code": code})
        return {"done": True}

    def _panel_asks(self, name: str, frame: str) -> dict[str, Any]:
        request = self._requests.get(name)
        if request is None:
            raise SafetyRefusal("this device takes no such request")
        try:
            data = bytes.fromhex(frame)
        except ValueError:
            data = b""
        why = self._ask(PANEL, request, data)
        return {"done": not why, "reason": why}

    def _panel_permit(self, body: Mapping[str, Any]) -> None:
        try:
            release = bytes.fromhex(str(body["release"]))
            rung, touches = UpdateRung(body["rung"]), Criticality(body["touches"])
            gap_ms = int(body["gap_ms"])
        except (KeyError, TypeError, ValueError) as error:
            raise SafetyRefusal("not a question for a permit") from error
        self.ask_permit(release, rung, gap_ms=gap_ms, touches=touches)
