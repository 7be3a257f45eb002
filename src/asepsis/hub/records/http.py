"""The reads of the record, as bare ASGI, on the clinical and the people listener.

Source: HL7 FHIR R4 http and search; docs/reference/records.md.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from asepsis.core.errors import AsepsisError, InputError, NotFound, TransientError
from asepsis.core.mapping.fhir_search import device_resource, metric_resource, searchset
from asepsis.core.mapping.fhir_server import outcome_of
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.fhir import Device, DeviceMetric
from asepsis.core.wire.fhir_codec import encode
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.records import params
from asepsis.hub.records.ports import KnownDevice
from asepsis.hub.records.service import Addresses, RecordService
from asepsis.hub.web.asgi import Receive, Scope, Send, answer, header
from asepsis.hub.web.problems import status_of
from asepsis.hub.web.routing import Route

FHIR_JSON: Final = b"application/fhir+json"
JSON: Final = b"application/json"
OBSERVATIONS: Final = "/fhir/Observation"
DEVICES: Final = "/fhir/Device"
METRICS: Final = "/fhir/DeviceMetric"
ALARMS: Final = "/alarms"
TRENDS: Final = "/trends"
_HOST: Final = re.compile(
    rb"[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](?::\d{1,5})?"
)

READ: Final = (
    DEVICES,
    DEVICES + "/{id}",
    METRICS,
    METRICS + "/{id}",
    OBSERVATIONS,
    OBSERVATIONS + "/$lastn",
)
"""What is read as FHIR; `GET /metadata` says so too."""

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class RecordRoutes:
    """The handlers; one for a hub.

    Args:
        service: The use cases.
    """

    def __init__(self, service: RecordService) -> None:
        self._service = service

    def routes(self) -> Sequence[Route]:
        """Return the routes, the same for both listeners."""
        handlers: Sequence[Handler] = (
            self._devices,
            self._device,
            self._metrics,
            self._metric,
            self._search,
            self._last,
        )
        own: Sequence[tuple[str, Handler]] = ((ALARMS, self._alarms), (TRENDS, self._trends))
        table = [
            (path, _as_fhir(self._admitted(handler)))
            for path, handler in zip(READ, handlers, strict=True)
        ]
        table += [(path, self._admitted(handler)) for path, handler in own]
        return [Route("GET", path, handler, Action.READ_RECORD) for path, handler in table]

    def _admitted(self, handler: Handler) -> Handler:
        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            self._service.admit(_principal(scope))
            await handler(scope, receive, send)

        return handle

    async def _search(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?device=&patient=&code=&date=ge..&date=lt..&_lastUpdated=&_count=&_profile=`."""
        read = params.parse_search(scope["query_string"])
        body = await self._service.page(_principal(scope), read, _addresses(scope, read))
        await answer(send, 200, body, media=FHIR_JSON)

    async def _last(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?device=&patient=&code=&max=`: the newest values of each metric."""
        read = params.parse_lastn(scope["query_string"])
        body = await self._service.last(_principal(scope), read, _addresses(scope, read))
        await answer(send, 200, body, media=FHIR_JSON)

    async def _alarms(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?device=&patient=&date=ge..&date=lt..&_lastUpdated=&_count=`: alarm events."""
        read = params.parse_alarms(scope["query_string"])
        body = await self._service.page(_principal(scope), read, _addresses(scope, read))
        await answer(send, 200, body, media=JSON)

    async def _trends(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?device=&patient=&code=&handle=&date=ge..&date=lt..&points=`: numbers over time."""
        read, handle = params.parse_trend(scope["query_string"])
        found = await self._service.trends(_principal(scope), read, handle)
        await answer(send, 200, msgspec.json.encode({"trends": found}), media=JSON)

    async def _devices(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?_count=&_cursor=`: devices by name."""
        given = params.parse_one(scope["query_string"], *params.DEVICES)
        count, after = params.page_size(given), given.get(params.CURSOR, "")
        known = [d for d in await self._service.known() if d.name > after]
        base = _base(scope) + DEVICES
        following = None
        if len(known) > count:
            last = quote(known[count - 1].name, safe="")
            following = f"{base}?_count={count}&{params.CURSOR}={last}"
        page = [_device_resource(device) for device in known[:count]]
        body = encode(searchset(page, self_url=_self(scope), next_url=following))
        await answer(send, 200, body, media=FHIR_JSON)

    async def _device(self, scope: Scope, _receive: Receive, send: Send) -> None:
        device = self._service.by_id(
            scope["asepsis.path_params"]["id"], await self._service.known()
        )
        await answer(send, 200, encode(_device_resource(device)), media=FHIR_JSON)

    async def _metrics(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?source=Device/<id>`: what was seen in a device's data."""
        given = params.parse_one(scope["query_string"], *params.METRICS)
        known = await self._service.known()
        if not given.get("source"):
            raise InputError("a search for metrics names its source", hint="source=Device/<id>")
        device = self._service.resolve(given["source"], known)
        found = await self._metric_resources(device.name)
        body = encode(searchset(found, self_url=_self(scope), next_url=None))
        await answer(send, 200, body, media=FHIR_JSON)

    async def _metric(self, scope: Scope, _receive: Receive, send: Send) -> None:
        wanted: str = scope["asepsis.path_params"]["id"]
        device = self._service.by_id(wanted.partition("-")[0], await self._service.known())
        for metric in await self._metric_resources(device.name):
            if metric.id == wanted:
                await answer(send, 200, encode(metric), media=FHIR_JSON)
                return
        raise NotFound("the device has no such metric in its record")

    async def _metric_resources(self, name: str) -> list[DeviceMetric]:
        # An id names one resource: a handle that was seen with two codes is shown with one.
        found = {
            metric.handle: metric_resource(
                DeviceId(name),
                handle=metric.handle,
                mdc_code=metric.mdc_code,
                unit_code=metric.unit_code,
                is_waveform=metric.wave,
            )
            for metric in await self._service.metrics(name)
        }
        return list(found.values())


def _as_fhir(handler: Handler) -> Handler:
    """Answer deliberate errors as FHIR clients expect them; others are the router's business."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await handler(scope, receive, send)
        except AsepsisError as error:
            headers: list[tuple[bytes, bytes]] = []
            if isinstance(error, TransientError):
                headers.append((b"retry-after", b"%d" % max(1, error.retry_after_s)))
            body = encode(outcome_of(error))
            await answer(send, status_of(error), body, media=FHIR_JSON, headers=headers)

    return handle


def _device_resource(device: KnownDevice) -> Device:
    return device_resource(DeviceId(device.name), model=device.model, active=device.active)


def _principal(scope: Scope) -> Principal:
    principal: Principal = scope["asepsis.principal"]
    return principal


def _base(scope: Scope) -> str:
    """Return scheme and authority as the client wrote them; a strange one is left out."""
    host = header(scope, b"host") or b""
    return f"https://{host.decode('ascii')}" if _HOST.fullmatch(host) else ""


def _self(scope: Scope) -> str:
    query: bytes = scope["query_string"]
    path = _base(scope) + str(scope["path"])
    return f"{path}?{query.decode('ascii', 'replace')}" if query else path


def _addresses(scope: Scope, read: params.Read) -> Addresses:
    following = f"{_base(scope)}{scope['path']}?{read.query}&{params.CURSOR}="
    return Addresses(this=_self(scope), following=following)
