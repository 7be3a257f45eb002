"""What the critical compartment is asked: requests and permits, over its supervisor's control line.

It answers by reports, which wait for nobody. No answer is an answer too: nothing has changed.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from asepsis.core.errors import FramingError
from asepsis.core.model.manifest import Confirmation
from asepsis.core.wire.gate_request import CHALLENGE_BYTES, device_tag
from asepsis.edge.device.catalogue import Limit, Model
from asepsis.edge.device.compartment import Line
from asepsis.edge.device.permit import PermitIssuer, Present, read_question
from asepsis.edge.device.requests import Asked, Bedside, Outcome, RequestDesk, Verdict
from asepsis.edge.sandbox.control import Order

OPERATOR: Final = "operator-key"
"""Name of the operator's key among the descriptors of the first order."""


class Desk:
    """Hears orders of the supervisor that ask for something.

    Args:
        desk: Judges requests; None where requests are off.
        model: For names and factory limits.
        line: Where answers go.
        present: Says what is so now.
        alarming: Numerics with an active physiological condition.
        apply: Puts limits in force.
    """

    def __init__(
        self,
        desk: RequestDesk | None,
        *,
        model: Model,
        line: Line,
        present: Callable[[bool], Present],
        alarming: Callable[[], frozenset[int]],
        apply: Callable[[Limit], None],
    ) -> None:
        self._desk = desk
        self._signs = {sign.handle: sign.name for sign in model.signs}
        self._factory = model.limits
        self._line = line
        self._present = present
        self._alarming = alarming
        self._apply = apply
        self._permits = PermitIssuer()

    def obey(self, order: Order) -> None:
        """Take an order; one that says nothing of requests and permits is ignored."""
        if order.what == "permit":
            self._permit(order.body)
        elif self._desk and order.what == "request":
            self._take(self._desk, order.body)
        elif self._desk and order.what == "person":
            self._hear_person(self._desk, order.body)

    def look(self) -> None:
        """Take back what does not hold any more; called at every tick."""
        now_s = time.monotonic()
        nonce = self._permits.withdrawn(self._present(self._waits), now_s=now_s)
        if nonce:
            self._line.report("permit", nonce=nonce, granted=False, reason="")
        if self._desk:
            self._tell(self._desk.expire(now_s))

    def patient_left(self) -> None:
        """Go back to the factory's limits: changed ones were the last patient's."""
        if self._desk:
            self._desk.reset(self._factory)
        for limit in self._factory:
            self._apply(limit)

    def facts(self) -> dict[str, Any]:
        """Return what the heartbeat says of requests."""
        if self._desk is None:
            return {}
        challenge = self._desk.challenge(time.monotonic()).hex()
        return {"challenge": challenge, "confirm": self._desk.code}

    @property
    def _waits(self) -> bool:
        return self._desk is not None and self._desk.waits

    def _bedside(self) -> Bedside:
        return Bedside(
            now_s=time.monotonic(),
            state=self._present(self._waits).state,
            alarming=self._alarming(),
        )

    def _permit(self, body: Mapping[str, Any]) -> None:
        try:
            question = read_question(body)
        except FramingError as error:
            self._line.report("failed", code=error.code, text=str(error))
            return
        present = self._present(self._waits)
        answer, _ = self._permits.answer(question, present, now_s=time.monotonic())
        self._line.report("permit", **answer)

    def _take(self, desk: RequestDesk, body: Mapping[str, Any]) -> None:
        try:
            asked = Asked(
                name=str(body["request"]),
                asker=str(body["asker"]),
                frame=bytes.fromhex(body["frame"]),
            )
        except (KeyError, TypeError, ValueError):
            return  # Not one of the supervisor's: nothing here ends for it.
        self._tell(desk.take(asked, self._bedside()))

    def _hear_person(self, desk: RequestDesk, body: Mapping[str, Any]) -> None:
        code = str(body.get("code", ""))
        if body.get("yes") is True:
            self._tell(desk.confirm(code, self._bedside()))
        else:
            self._tell(desk.refuse(code))

    def _tell(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        if outcome.verdict is Verdict.ACCEPTED and outcome.limit:
            self._apply(outcome.limit)
        self._line.report(
            "request",
            request=outcome.asked.name[:40],
            asker=outcome.asked.asker[:40],
            id=outcome.request_id,
            verdict=outcome.verdict.value,
            reason=outcome.reason.value if outcome.reason else "",
            code=self._desk.code if self._desk and outcome.verdict is Verdict.WAITS else "",
            text=self._text(outcome),
        )

    def _text(self, outcome: Outcome) -> str:
        request = outcome.request
        if request is None:
            return ""
        name = self._signs.get(request.handle, f"numeric {request.handle}")
        sides = (("low", request.low), ("high", request.high))
        told = ", ".join(f"{side} {limit:g}" for side, limit in sides if limit is not None)
        return f"{name}: {told or 'no limit'}"


def request_desk(order: Order, model: Model) -> RequestDesk | None:
    """Make the desk that the first order asks for; None where requests are off.

    Raises:
        ConfigError: The operator's key is none.
    """
    confirmed_by: Mapping[str, str] = order.body.get("requests") or {}
    if not confirmed_by:
        return None
    verify = None
    if OPERATOR in order.descriptors:
        # Only a device with an operator's key carries the code that verifies it here.
        from asepsis.edge.device.operator_key import read_operator  # noqa: PLC0415

        verify = read_operator(order.descriptors.pop(OPERATOR))
    return RequestDesk(
        model,
        device=device_tag(str(order.body["device"])),
        confirmed_by={name: Confirmation(value) for name, value in confirmed_by.items()},
        verify=verify,
        fresh=lambda: os.urandom(CHALLENGE_BYTES),
    )
