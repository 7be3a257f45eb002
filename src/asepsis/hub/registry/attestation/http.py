"""Routes of attestation: what devices bring on the clinical listener, what people decide."""

import binascii
import ssl
from typing import Annotated, Any, Final, cast

import msgspec

from asepsis.core.errors import InputError
from asepsis.core.trust.attestation import PCR_SECURE_BOOT, Evidence, Release
from asepsis.core.trust.attestation_log import LINES_MAX, read_lines
from asepsis.core.trust.identity import CERTIFICATE_BYTES_MAX
from asepsis.core.trust.signer_values import CERTIFICATES_PER_CHAIN_MAX
from asepsis.core.trust.tpm import PCRS, STRUCTURE_BYTES_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.registry.attestation.people import (
    HOURS_DEFAULT,
    HOURS_MAX,
    NUMBER_MAX,
    PARTS_MAX,
    Decisions,
)
from asepsis.hub.registry.attestation.records import Floor, Maker, Released
from asepsis.hub.registry.attestation.service import AttestationService
from asepsis.hub.registry.attestation.standing import Device, State, words
from asepsis.hub.registry.attestation.tables import (
    DIGEST_CHARS,
    MODEL_CHARS_MAX,
    RELEASE_CHARS_MAX,
)
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

BODY_BYTES_MAX: Final = 524_288
"""A log of `LINES_MAX` lines and the statements."""

Structure = Annotated[bytes, msgspec.Meta(min_length=1, max_length=STRUCTURE_BYTES_MAX)]
Certificate = Annotated[bytes, msgspec.Meta(min_length=1, max_length=CERTIFICATE_BYTES_MAX)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=DIGEST_CHARS)]
Model = Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_CHARS_MAX)]
ReleaseName = Annotated[str, msgspec.Meta(min_length=1, max_length=RELEASE_CHARS_MAX)]
Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
Register = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,2}$", max_length=2)]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: named fields, nothing unknown; bytes are base64."""


class KeysBody(_Body, frozen=True):
    """Keys of a TPM: public areas, and the certificate of its maker with intermediates."""

    ek: Structure
    ak: Structure
    chain: Annotated[
        tuple[Certificate, ...], msgspec.Meta(max_length=CERTIFICATES_PER_CHAIN_MAX)
    ] = ()


class ActivationBody(_Body, frozen=True):
    """The secret that the TPM opened."""

    secret: Annotated[bytes, msgspec.Meta(max_length=64)]


class AnswerBody(_Body, frozen=True):
    """An answer; `registers` by their number, hexadecimal."""

    quote: Structure
    quote_signature: Structure
    counter: Structure
    counter_signature: Structure
    registers: Annotated[dict[Register, Digest], msgspec.Meta(max_length=PCRS)]
    lines: Annotated[tuple[Any, ...], msgspec.Meta(max_length=LINES_MAX)] = ()


class OpenBody(_Body, frozen=True):
    """Whose TPM may come; `ek_sha256` where a person read its key."""

    ek_sha256: Digest | None = None
    hours: Annotated[int, msgspec.Meta(ge=1, le=HOURS_MAX)] = HOURS_DEFAULT


class ReleaseBody(_Body, frozen=True):
    """What a release is measured as."""

    model: Model
    name: ReleaseName
    number: Number
    registers: Annotated[dict[Register, Digest], msgspec.Meta(min_length=1, max_length=PCRS)]
    parts: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=PARTS_MAX)] = ()


class ReleaseRemovalBody(_Body, frozen=True):
    """Which release is forgotten."""

    model: Model
    name: ReleaseName


class FloorBody(_Body, frozen=True):
    """The oldest release that may run."""

    model: Model
    number: Number


class MakerBody(_Body, frozen=True):
    """A maker's CA certificate, PEM."""

    certificate: Annotated[str, msgspec.Meta(min_length=1, max_length=2 * CERTIFICATE_BYTES_MAX)]


class MakerRemovalBody(_Body, frozen=True):
    """Which maker is trusted no more."""

    sha256: Digest


class DeviceRoutes:
    """The handlers of the clinical listener.

    Args:
        service: The use cases of devices.
    """

    def __init__(self, service: AttestationService) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("POST", "/attestation/keys", self._keys, Action.ATTEST),
            Route("POST", "/attestation/activation", self._activate, Action.ATTEST),
            Route("POST", "/attestation/question", self._ask, Action.ATTEST),
            Route("POST", "/attestation/answer", self._answer, Action.ATTEST),
        ]

    async def _keys(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the keys of a TPM; the answer opens in this TPM only."""
        body = await read_document(scope, receive, KeysBody, bytes_max=BODY_BYTES_MAX)
        sealed = await self._service.offer_keys(
            _asking(scope).name, ek=body.ek, ak=body.ak, chain_der=body.chain
        )
        await send_document(send, {"credential": sealed.blob, "sealer": sealed.sealer})

    async def _activate(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, ActivationBody, bytes_max=BODY_BYTES_MAX)
        await self._service.activate(_asking(scope).name, secret=body.secret)
        await send_document(send, {"done": True})

    async def _ask(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Ask the device one question."""
        nonce = await self._service.ask(_asking(scope).name)
        await send_document(send, {"nonce": nonce.hex()})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge what the device answers."""
        body = await read_document(scope, receive, AnswerBody, bytes_max=BODY_BYTES_MAX)
        evidence = Evidence(
            quote=body.quote,
            quote_signature=body.quote_signature,
            counter=body.counter,
            counter_signature=body.counter_signature,
            registers=_registers(body.registers),
            lines=read_lines(body.lines),
        )
        found = await self._service.take_answer(
            _asking(scope).name, evidence, peer_der=scope["asepsis.peer_der"]
        )
        verdict = found.verdict
        said = {
            "standing": verdict.standing,
            "release": verdict.release.name,
            "raise_counter_to": found.raise_counter_to,
        }
        await send_document(send, said)


class PeopleRoutes:
    """The handlers of the people listener.

    Args:
        decisions: The use cases of people.
    """

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def routes(self) -> list[Route]:
        """Return the routes."""
        device, base = "/api/devices/{name}/attestation", "/api/attestation"
        manage = Action.MANAGE_ATTESTATION
        return [
            Route("GET", base, self._overview, Action.LIST_DEVICES),
            Route("GET", device, self._device, Action.READ_DEVICE),
            Route("POST", device, self._open, manage),
            Route("POST", device + "/end", self._end, manage),
            Route("POST", base + "/releases", self._add_release, manage),
            Route("POST", base + "/releases/remove", self._remove_release, manage),
            Route("POST", base + "/floors", self._raise_floor, manage),
            Route("POST", base + "/makers", self._trust, manage),
            Route("POST", base + "/makers/remove", self._distrust, manage),
        ]

    async def _overview(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        found, now_ns = await self._decisions.overview(), self._now_ns()
        document = {
            "devices": [_device(one.name, one, now_ns) for one in found.devices],
            "releases": [_release(one) for one in found.releases],
            "makers": [_maker(one) for one in found.makers],
            "floors": [_floor(one) for one in found.floors],
        }
        await send_document(send, document)

    async def _device(self, scope: Scope, _receive: Receive, send: Send) -> None:
        name = _named(scope)
        await send_document(send, _device(name, await self._decisions.device(name), self._now_ns()))

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the TPM of a device come."""
        body = await read_document(scope, receive, OpenBody, bytes_max=BODY_BYTES_MAX)
        opened = await self._decisions.open(
            _named(scope),
            ek_sha256=body.ek_sha256 or "",
            hours=body.hours,
            person=_asking(scope).name,
        )
        await send_document(send, _device(opened.name, opened, self._now_ns()))

    async def _end(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._decisions.end(_named(scope), person=_asking(scope).name)
        await send_document(send, {"done": True})

    async def _add_release(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, ReleaseBody, bytes_max=BODY_BYTES_MAX)
        release = Release(
            name=body.name,
            number=body.number,
            registers=_registers(body.registers),
            parts=frozenset(body.parts),
        )
        await self._decisions.add_release(body.model, release, person=_asking(scope).name)
        await send_document(send, {"done": True})

    async def _remove_release(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, ReleaseRemovalBody, bytes_max=BODY_BYTES_MAX)
        await self._decisions.remove_release(body.model, body.name, person=_asking(scope).name)
        await send_document(send, {"done": True})

    async def _raise_floor(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, FloorBody, bytes_max=BODY_BYTES_MAX)
        await self._decisions.raise_floor(body.model, body.number, person=_asking(scope).name)
        await send_document(send, {"done": True})

    async def _trust(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Trust a maker of TPMs."""
        body = await read_document(scope, receive, MakerBody, bytes_max=BODY_BYTES_MAX)
        maker = await self._decisions.trust_maker(
            _certificate(body.certificate), person=_asking(scope).name
        )
        await send_document(send, _maker(maker))

    async def _distrust(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, MakerRemovalBody, bytes_max=BODY_BYTES_MAX)
        await self._decisions.distrust_maker(body.sha256, person=_asking(scope).name)
        await send_document(send, {"done": True})

    def _now_ns(self) -> int:
        return self._decisions.store.clock()


def _device(name: str, device: Device | None, now_ns: int) -> dict[str, Any]:
    state = State.NONE if device is None else device.state(now_ns)
    found: dict[str, Any] = {"device": name, "state": state, "text": words(device, now_ns=now_ns)}
    if device is None:
        return found
    return found | {
        "tpm": device.tpm,
        "person": device.person,
        "until_ns": device.until_ns,
        "ek_sha256": device.ek_sha256 or device.recorded,
        "secure_boot": {str(PCR_SECURE_BOOT): device.secure_boot} if device.secure_boot else {},
        "release": device.release,
        "changes": device.changes,
        "reason": device.reason,
        "judged_ns": device.judged_ns,
    }


def _release(one: Released) -> dict[str, Any]:
    return {
        "model": one.model,
        "name": one.release.name,
        "number": one.release.number,
        "registers": {str(p): v.hex() for p, v in one.release.registers.items()},
        "parts": sorted(one.release.parts),
        "person": one.person,
        "added_ns": one.added_ns,
    }


def _maker(one: Maker) -> dict[str, Any]:
    return {"sha256": one.sha256, "subject": one.subject, "person": one.person}


def _floor(one: Floor) -> dict[str, Any]:
    return {"model": one.model, "number": one.number, "person": one.person}


def _registers(found: dict[str, str]) -> dict[int, bytes]:
    return {int(pcr): bytes.fromhex(value) for pcr, value in found.items()}


def _certificate(pem: str) -> bytes:
    try:
        return ssl.PEM_cert_to_DER_cert(pem)
    except (ValueError, binascii.Error) as error:
        raise InputError("not a certificate as PEM") from error


def _named(scope: Scope) -> str:
    return cast("str", scope["asepsis.path_params"]["name"])


def _asking(scope: Scope) -> Principal:
    return cast("Principal", scope["asepsis.principal"])
