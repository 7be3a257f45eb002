"""The attester compartment: has the TPM state what started and what was changed since.

It has the TPM and nothing else: no way out, no folder, no key in its memory. Who asks is the
network compartment, which may be owned; so what can be asked is four things of fixed form, and none
of them changes what the device is measured as. The floor is not raised above the image that runs.
"""

import contextlib
import json
import os
import select
import socket
from collections.abc import Callable
from typing import Any, Final

from asepsis.core.errors import FramingError, InputError
from asepsis.core.trust.attestation_log import Line as Measured
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.device.measuring import read_log
from asepsis.edge.device.prover_line import MESSAGE_BYTES_MAX, answer, read_question
from asepsis.edge.device.proving import Prover, TpmProver
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.sandbox.control import Order

IDLE_S: Final = 0.5
SEND_S: Final = 5.0
"""Longest wait for a line that is full; whoever does not listen gets no answer."""
MEASURED_LOG: Final = "measured-log"
TPM: Final = "tpm"
_PRELOADED: Final = (json,)


class AttesterCompartment:
    """Answers until its supervisor is gone.

    Args:
        prover: Has the TPM.
        questions: Line from whoever asks.
        evidence: Line to whoever asked.
        line: Control line.
    """

    def __init__(
        self, prover: Prover, *, questions: socket.socket, evidence: socket.socket, line: Line
    ) -> None:
        self._prover = prover
        self._questions = questions
        self._evidence = evidence
        self._line = line
        self._answered = self._dropped = 0

    def run(self) -> None:
        """Answer."""
        while True:
            readable, _, _ = select.select([self._line.socket, self._questions], [], [], IDLE_S)
            if self._line.socket in readable:
                order = self._line.order()
                if order is None or order.what == "stop":
                    return
            if self._questions in readable:
                self._answer_one()
            self._line.heartbeat(self._facts)

    def _answer_one(self) -> None:
        with contextlib.suppress(BlockingIOError):
            message = self._questions.recv(MESSAGE_BYTES_MAX + 1)
            try:
                asked = read_question(message)
            except FramingError:
                self._dropped += 1
                return
            for piece in answer(asked, self._prover):
                if not select.select([], [self._evidence], [], SEND_S)[1]:
                    self._dropped += 1
                    return
                self._evidence.send(piece)
            self._answered += 1

    def _facts(self) -> dict[str, Any]:
        return {"answered": self._answered, "dropped": self._dropped}


def measured_lines(descriptor: int) -> tuple[Measured, ...]:
    """Read the log of changes from its first line on.

    Raises:
        InputError: It cannot be read, or a line is none.
        LimitExceeded: It is too long.
    """
    try:
        # The position is shared with every earlier start, and there is no `pread` here.
        os.lseek(descriptor, 0, os.SEEK_SET)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            return read_log(file)
    except OSError as error:
        raise InputError("the log of changes cannot be read") from error


def build(order: Order, line: Line) -> Callable[[], AttesterCompartment]:
    """Take TPM, log and lines; the rights go after this."""
    tpm = Tpm(take(order, TPM))
    log = order.descriptors.pop(MEASURED_LOG, None)
    number = order.body.get("image_number")
    lines = [socket.socket(fileno=take(order, name)) for name in ("question", "evidence")]
    for one in lines:
        one.setblocking(False)
    prover = TpmProver(
        tpm,
        lambda: () if log is None else measured_lines(log),
        number=number if isinstance(number, int) else 0,
    )
    return lambda: AttesterCompartment(prover, questions=lines[0], evidence=lines[1], line=line)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
