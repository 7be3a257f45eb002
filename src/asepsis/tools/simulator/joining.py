"""How an actor of a story gets its certificate: with its token, again and again until it has it."""

import time
from random import Random
from typing import Final

from asepsis.core.errors import TransientError
from asepsis.edge.gateway import enrolment as gateway_enrolment
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.enrolment import EnrolmentOrder, enrol
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken
from asepsis.tools.simulator.orders import Order

ATTEMPTS_MAX: Final = 20


def join(folder: IdentityFolder, order: Order, *, rng: Random) -> None:
    """Enrol what the order names, unless it is enrolled already.

    Args:
        folder: Its folder.
        order: Name, token and addresses; `kind` says under which label it enrols.
        rng: Source of jitter.

    Raises:
        TransientError: No contact after `ATTEMPTS_MAX` attempts.
        TrustError: The hub refuses, or it is another hub.
    """
    backoff = Backoff(rng=rng)
    for left in reversed(range(ATTEMPTS_MAX)):
        if folder.enrolled:
            return
        try:
            _enrol(folder, order)
        except TransientError:
            if not left:
                raise
            time.sleep(backoff.failed())


def _enrol(folder: IdentityFolder, order: Order) -> None:
    token = EnrolmentToken.parse(order.token)
    if order.kind == "gateway":
        gateway_enrolment.enrol(folder, order.name, hospital=order.hospital, token=token)
        return
    wanted = EnrolmentOrder(
        name=order.name, hospital=order.hospital, token=token, origin=order.kind == "device"
    )
    enrol(folder, wanted)
