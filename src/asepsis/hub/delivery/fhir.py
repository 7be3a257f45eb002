"""Kinds `fhir` and `rest-hook`: one request for each item, in order.

`fhir` posts a transaction of observations. `rest-hook` posts a notification with the ids of what is
new and no content: who is told reads it over the authorised interfaces.

Source: HL7 FHIR R4 http (transaction), subscription (rest-hook); Subscriptions R5 Backport IG.
"""

from typing import Final

from asepsis.hub.delivery.line import Line
from asepsis.hub.delivery.model import Refusal
from asepsis.hub.delivery.outgoing_http import HttpOut

FHIR_JSON: Final = "application/fhir+json"
WAIT_S: Final = 60.0


class HttpSender:
    """Serves destinations of these kinds.

    Args:
        out: Posts.
    """

    def __init__(self, out: HttpOut) -> None:
        self._out = out

    async def __call__(self, line: Line) -> None:
        """Send what the line has, one item after the other, until something fails.

        Raises:
            TransientError: No answer; the item is sent again.
            TrustError: The address is not permitted.
            ConfigError: The address is no URL.
        """
        while True:
            await line.arrival(0, wait_s=WAIT_S)
            for number, item in line.look(0, items_max=1):
                status, text = await self._out.post(line.destination, item.body, media=FHIR_JSON)
                if 200 <= status < 300:
                    line.accept(number)
                else:
                    line.refused(number, Refusal(f"HTTP {status}", text))
