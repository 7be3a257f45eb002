"""The posting routes of the clinical listener, as bare ASGI: the hot path of the hub.

Parse, authorise, call, render; the checks that need no body come before a byte of it is read.

Source: ADP/1 REQ-OBS, REQ-WAV, REQ-ALM, REQ-MSG, REQ-ORG, REQ-ERR; docs/reference/lanes.md.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from asepsis.core.errors import Conflict
from asepsis.core.journal.ports import Outcome, Receipt
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.wire.message_record import AGE_UNKNOWN_MS
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.alarms import AlarmLane
from asepsis.hub.exchange.bundles import BundleLane
from asepsis.hub.exchange.limiter import RateLimiter
from asepsis.hub.exchange.message_batches import BatchLane, Opened, open_batch
from asepsis.hub.exchange.messages import Answer, MessageLane
from asepsis.hub.exchange.rules import ROUTE_RULES
from asepsis.hub.exchange.security import SecurityLane
from asepsis.hub.exchange.signed import SignedLane
from asepsis.hub.exchange.update_reports import UpdateLane
from asepsis.hub.exchange.waveforms import WaveformLane
from asepsis.hub.web.asgi import App, Receive, Scope, Send, answer, header
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.routing import Route

JSON: Final = b"application/json"
HL7V2: Final = rules.HL7V2.encode()
FHIR: Final = b"application/fhir+json"
EPOCH: Final = "Asepsis-Epoch"
SEQUENCE: Final = "Asepsis-Sequence"


Fenced = Callable[[str, str], bool]
"""Given a gateway and its `Asepsis-Fence`, says whether what it brings counts as late; raises
Conflict if the lease of its pair is newer."""


def no_pairs(_gateway: str, _fence: str) -> bool:
    """Judge where no gateway is one of a pair: nothing is late for that reason."""
    return False


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes that the routes serve.

    Attributes:
        signed: Origin batches.
        waveforms: Waveform packets.
        alarms: Alarm documents.
        bundles: FHIR bundles.
        messages: HL7 v2, one by one.
        batches: HL7 v2, many at once.
        security: Security events of devices.
        updates: How far updates are on devices.
        limiter: Rates per producer.
        monotonic: Monotonic clock, nanoseconds.
        metadata: CapabilityStatement as JSON.
        fenced: Judges what a gateway says of the lease of its pair.
    """

    signed: SignedLane
    waveforms: WaveformLane
    alarms: AlarmLane
    bundles: BundleLane
    messages: MessageLane
    batches: BatchLane
    security: SecurityLane
    updates: UpdateLane
    limiter: RateLimiter
    monotonic: Callable[[], int]
    metadata: bytes
    fenced: Fenced = no_pairs


_Take = Callable[[Principal, Scope, str, bytes], Awaitable[Receipt]]


def routes(lanes: Lanes) -> Sequence[Route]:
    """Return the routes of the exchange, for the clinical listener."""
    takers: Mapping[rules.Route, _Take] = {
        rules.Route.ORIGIN: _origin(lanes),
        rules.Route.ALERTS: _alerts(lanes),
        rules.Route.WAVEFORMS: _waveforms(lanes),
        rules.Route.LATE: _late(lanes),
        rules.Route.FHIR: _fhir(lanes),
    }
    posts = [
        Route("POST", route.value, _post(lanes, route, take), ROUTE_RULES[route].action)
        for route, take in takers.items()
    ]
    return (
        *posts,
        Route("POST", rules.Route.HL7V2.value, _message(lanes), Action.SUBMIT_HL7V2),
        Route("GET", "/metadata", _metadata(lanes), Action.READ_METADATA),
    )


def _post(lanes: Lanes, route: rules.Route, take: _Take) -> App:
    async def post(scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal = scope["asepsis.principal"]
        _check_lane(lanes, route, scope)
        media, body = await _admitted_body(lanes, route, scope, receive)
        receipt = await take(principal, scope, media, body)
        stored = receipt.outcome is Outcome.STORED
        await answer(
            send,
            201 if stored else 200,
            b'{"outcome":"%s","position":%d}' % (receipt.outcome.value.encode(), receipt.position),
            media=JSON,
        )

    return post


async def _admitted_body(
    lanes: Lanes, route: rules.Route, scope: Scope, receive: Receive
) -> tuple[str, bytes]:
    principal: Principal = scope["asepsis.principal"]
    rule = ROUTE_RULES[route]
    media = require_media(scope, *rule.media)
    if lanes.signed.intake.supervisor.is_gateway(principal.name):
        await lanes.signed.intake.gateway_heard(principal.name)
    lanes.limiter.take(
        route,
        principal.name,
        devices=max(1, len(principal.declared)),
        now_ns=lanes.monotonic(),
    )
    return media, await bounded_body(receive, rule.body_bytes_max, scope=scope)


def _fenced(lanes: Lanes, scope: Scope) -> bool:
    """Return whether what a gateway brings counts as late; errors as `Fenced`."""
    principal: Principal = scope["asepsis.principal"]
    if principal.kind is not PrincipalKind.GATEWAY:
        return False
    return lanes.fenced(principal.name, (header(scope, b"asepsis-fence") or b"").decode("latin-1"))


def _check_lane(lanes: Lanes, route: rules.Route, scope: Scope) -> None:
    """Judge the lease on the lanes where naming it is optional.

    Raises:
        Conflict: It is old, or what counts as late is not on the late lane.
    """
    named = header(scope, b"asepsis-fence") is not None
    if named and _fenced(lanes, scope) and route is not rules.Route.LATE:
        raise Conflict("what counts as late belongs on the late lane")


def _numbering(scope: Scope) -> tuple[int, int]:
    epoch = rules.counter(header(scope, b"asepsis-epoch"), name=EPOCH, least=0)
    return epoch, rules.counter(header(scope, b"asepsis-sequence"), name=SEQUENCE, least=1)


def _origin(lanes: Lanes) -> _Take:
    async def take(principal: Principal, _scope: Scope, _media: str, body: bytes) -> Receipt:
        return await lanes.signed.receive(principal, Action.SUBMIT_ORIGIN, body, late=False)

    return take


def _alerts(lanes: Lanes) -> _Take:
    async def take(principal: Principal, scope: Scope, media: str, body: bytes) -> Receipt:
        if media == rules.ORIGIN_BATCH:
            return await lanes.signed.receive(principal, Action.SUBMIT_ALERT, body, late=False)
        if media == rules.SECURITY:
            return await lanes.security.receive(principal, Action.SUBMIT_ALERT, body)
        if media == rules.UPDATE:
            return await lanes.updates.receive(principal, Action.SUBMIT_ALERT, body)
        epoch, sequence = _numbering(scope)
        return await lanes.alarms.receive(
            principal, body, epoch=epoch, sequence=sequence, late=False
        )

    return take


def _waveforms(lanes: Lanes) -> _Take:
    async def take(principal: Principal, _scope: Scope, _media: str, body: bytes) -> Receipt:
        return await lanes.waveforms.receive(principal, Action.SUBMIT_WAVEFORM, body, late=False)

    return take


def _late(lanes: Lanes) -> _Take:
    async def take(principal: Principal, scope: Scope, media: str, body: bytes) -> Receipt:
        if media == rules.ORIGIN_BATCH:
            return await lanes.signed.receive(principal, Action.SUBMIT_LATE, body, late=True)
        if media == rules.SECURITY:
            return await lanes.security.receive(principal, Action.SUBMIT_LATE, body)
        if media == rules.UPDATE:
            return await lanes.updates.receive(principal, Action.SUBMIT_LATE, body)
        if media == rules.WAVEFORM:
            return await lanes.waveforms.receive(principal, Action.SUBMIT_LATE, body, late=True)
        epoch, sequence = _numbering(scope)
        if media == rules.ALARM:
            return await lanes.alarms.receive(
                principal, body, epoch=epoch, sequence=sequence, late=True
            )
        return await lanes.bundles.receive(
            principal, Action.SUBMIT_LATE, body, numbering=(epoch, sequence), late=True
        )

    return take


def _fhir(lanes: Lanes) -> _Take:
    async def take(principal: Principal, scope: Scope, _media: str, body: bytes) -> Receipt:
        # A bundle that names its signed batch needs no numbers of its own.
        given = header(scope, b"asepsis-sequence") or header(scope, b"asepsis-epoch")
        numbering = _numbering(scope) if given else None
        return await lanes.bundles.receive(
            principal, Action.SUBMIT_FHIR, body, numbering=numbering, late=False
        )

    return take


def _message(lanes: Lanes) -> App:
    async def post(scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal = scope["asepsis.principal"]
        rules.require_message_source(principal)
        _fenced(lanes, scope)
        media, body = await _admitted_body(lanes, rules.Route.HL7V2, scope, receive)
        if media == rules.HL7V2_BATCH:
            await answer(send, 200, await _batch(lanes, principal, scope, body), media=JSON)
            return
        epoch, sequence = _numbering(scope)
        reply: Answer = await lanes.messages.receive(
            principal, body, epoch=epoch, sequence=sequence
        )
        await answer(send, reply.status, reply.body, media=HL7V2)

    return post


async def _batch(lanes: Lanes, principal: Principal, scope: Scope, body: bytes) -> bytes:
    epoch = rules.counter(header(scope, b"asepsis-epoch"), name=EPOCH, least=0)
    batch = open_batch(body)
    if _fenced(lanes, scope):
        batch = _late_batch(batch)
    lanes.limiter.charge(rules.Route.HL7V2, principal.name, count=batch.count - 1)
    refusals = await lanes.batches.receive(principal, batch, epoch=epoch)
    stored = batch.count - len(refusals)
    refused = [asdict(refusal) for refusal in refusals]
    return json.dumps({"stored": stored, "refused": refused}).encode()


def _late_batch(batch: Opened) -> Opened:
    """Return the same batch as one that waited nobody knows how long: it is never live."""
    groups = [(group._replace(age_ms=AGE_UNKNOWN_MS), entries) for group, entries in batch.groups]
    return Opened(groups, batch.count)


def _metadata(lanes: Lanes) -> App:
    async def get(scope: Scope, _receive: Receive, send: Send) -> None:
        principal: Principal = scope["asepsis.principal"]
        if principal.kind is PrincipalKind.GATEWAY:
            await lanes.signed.intake.gateway_heard(principal.name)
        await answer(send, 200, lanes.metadata, media=FHIR)

    return get
