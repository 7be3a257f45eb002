"""FHIR R4 Subscription on the clinical listener: a consumer asks to be told at an entered address.

Source: HL7 FHIR R4 Subscription, http (create, read, delete).
"""

from typing import Final

from asepsis.core.errors import NotFound, NotPermitted
from asepsis.core.mapping.fhir_subscription import read_subscription, resource_of
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.delivery.model import Destination
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.routing import Route

MEDIA: Final = b"application/fhir+json"
BODY_BYTES_MAX: Final = 8_192
ONE: Final = "/fhir/Subscription/{id}"


class SubscriptionRoutes:
    """The handlers; one for a hub.

    Args:
        service: The destinations that an administrator entered.
    """

    def __init__(self, service: DeliveryService) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        action = Action.SUBSCRIBE
        return [
            Route("POST", "/fhir/Subscription", self._create, action),
            Route("GET", ONE, self._read, action),
            Route("DELETE", ONE, self._delete, action),
        ]

    async def _create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Subscribe; 201. The endpoint is one that an administrator entered for this consumer."""
        require_media(scope, "application/fhir+json")
        body = await bounded_body(receive, BODY_BYTES_MAX, scope=scope)
        found = read_subscription(body)
        principal: Principal = scope["asepsis.principal"]
        for hook in self._service.hooks_of(principal.name):
            if hook.address == found.channel.endpoint:
                resource = resource_of(hook.name, found)
                await self._service.subscribe(
                    hook.name, resource.decode(), actor=f"consumer:{principal.name}"
                )
                place = f"/fhir/Subscription/{hook.name}".encode()
                await answer(send, 201, resource, media=MEDIA, headers=[(b"location", place)])
                return
        raise NotPermitted("no administrator entered this endpoint for this consumer")

    async def _read(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Return a Subscription of this consumer."""
        resource = self._own(scope).options.subscription
        if not resource:
            raise NotFound("no such Subscription")
        await answer(send, 200, resource.encode(), media=MEDIA)

    async def _delete(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """End a Subscription of this consumer; 204."""
        principal: Principal = scope["asepsis.principal"]
        name = self._own(scope).name
        await self._service.subscribe(name, "", actor=f"consumer:{principal.name}")
        await answer(send, 204, b"", media=MEDIA)

    def _own(self, scope: Scope) -> Destination:
        principal: Principal = scope["asepsis.principal"]
        for hook in self._service.hooks_of(principal.name):
            if hook.name == scope["asepsis.path_params"]["id"]:
                return hook
        raise NotFound("no such Subscription")
