"""Every check of a hub, in the order in which they are tried."""

from collections.abc import Sequence
from typing import Final

from asepsis.tools.conformance import (
    hub_alarms,
    hub_answers,
    hub_identity,
    hub_images,
    hub_messages,
    hub_origin,
    hub_tls,
    hub_values,
)
from asepsis.tools.conformance.bench import HubBench
from asepsis.tools.conformance.checks import Check

HUB_CHECKS: Final[Sequence[Check[HubBench]]] = (
    *hub_tls.CHECKS,
    *hub_identity.CHECKS,
    *hub_origin.CHECKS,
    *hub_values.CHECKS,
    *hub_alarms.CHECKS,
    *hub_messages.CHECKS,
    *hub_images.CHECKS,
    *hub_answers.CHECKS,
    *hub_identity.LAST,
    *hub_tls.LAST,
)
