"""Routes of the enrolment listener: EST (RFC 7030) and signed time. Nothing else is served there.

`curl` and `openssl` alone can use them: docs/howto/enrol-with-curl.md.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from asepsis.core.errors import InputError, NotAuthenticated, RateLimited
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust import der
from asepsis.core.trust.identity import Profile
from asepsis.core.trust.pkcs7 import certs_only, from_body, to_body
from asepsis.core.trust.requests import IDevIdProof, Proof, RenewalProof, TokenProof
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.registry.ports import Signer
from asepsis.hub.registry.rules import parse_label, wished_profile
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.web.asgi import App, Headers, Receive, Scope, Send, answer, header
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.routing import Route

PREFIX: Final = "/.well-known/est"
CSR_BODY_BYTES_MAX: Final = 8_192
"""Largest body of an enrolment: 4 KB of DER in base64 with line ends."""
CREDENTIALS_BYTES_MAX: Final = 512
CA_FRESH_NS: Final = 60_000_000_000
"""How long the CA's certificates are answered from memory."""
TIMES_PER_SECOND_MAX: Final = 200
"""Signed times a second for all askers; a device that is told to wait asks again."""
SECOND_NS: Final = 1_000_000_000
CHALLENGE: Final = 'Basic realm="enrolment"'
CERTIFICATES: Final = b"application/pkcs7-mime; smime-type=certs-only"
TIME: Final = b"application/vnd.asepsis.time+json"
_BASE64: Final[Headers] = [(b"content-transfer-encoding", b"base64")]

CSR_ATTRIBUTES: Final = der.element(
    der.SEQUENCE,
    # The key: on P-256.
    der.element(
        der.SEQUENCE,
        der.object_identifier("1.2.840.10045.2.1"),
        der.element(der.SET, der.object_identifier("1.2.840.10045.3.1.7")),
    ),
    # The request is signed with ECDSA and SHA-256.
    der.object_identifier("1.2.840.10045.4.3.2"),
)
"""What a request should hold (RFC 7030 section 4.5.2); whatever else it wishes is not issued."""


async def authenticate(scope: Scope) -> Principal:
    """Say who asks on the enrolment listener: admission's principal, or a maker's device."""
    idevid = scope.get("asepsis.idevid")
    if idevid is not None:
        return Principal(kind=PrincipalKind.IDEVID, name=idevid.serial_number)
    principal: Principal = scope["asepsis.principal"]
    return principal


class EnrolmentRoutes:
    """The handlers; one for a hub.

    Args:
        registry: Enrols and renews.
        signer: Knows the CA's certificates and signs time.
        clock: Wall time in nanoseconds since 1970.
    """

    def __init__(
        self, registry: RegistryService, signer: Signer, *, clock: Callable[[], int]
    ) -> None:
        self._registry = registry
        self._signer = signer
        self._clock = clock
        self._ca: tuple[bytes, ...] = ()
        self._ca_until_ns = 0
        self._times_since_ns = 0
        self._times = 0

    def routes(self) -> list[Route]:
        """Return the route table of the listener; use `authenticate` with it."""
        found: list[Route] = [Route("GET", "/time", self._time, Action.READ_TIME)]
        for prefix, labelled in ((PREFIX, False), (PREFIX + "/{label}", True)):
            enrol = self._enrolling(labelled=labelled)
            renew = self._renewing(labelled=labelled)
            found += [
                Route("GET", prefix + "/cacerts", self._cacerts, Action.READ_CA),
                Route("GET", prefix + "/csrattrs", _csrattrs, Action.READ_CA),
                Route("POST", prefix + "/simpleenroll", enrol, Action.ENROL),
                Route("POST", prefix + "/simplereenroll", renew, Action.RENEW),
            ]
        return found

    async def _cacerts(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """RFC 7030 section 4.1: issuing certificate and root."""
        _check_label(scope)
        now_ns = self._clock()
        if now_ns >= self._ca_until_ns:
            self._ca = await self._signer.ca_chain()
            self._ca_until_ns = now_ns + CA_FRESH_NS
        await _send_certificates(send, self._ca)

    def _enrolling(self, *, labelled: bool) -> App:
        async def simpleenroll(scope: Scope, receive: Receive, send: Send) -> None:
            """RFC 7030 section 4.2.1: by token, by IDevID, or origin key by certificate."""
            scope["asepsis.challenge"] = CHALLENGE
            csr_der = await _read_csr(scope, receive)
            profile = _label(scope) if labelled else wished_profile(csr_der)
            proof, actor = _first_proof(scope, profile)
            issued = await self._registry.issue(csr_der, profile=profile, proof=proof, actor=actor)
            await _send_certificates(send, issued[:1])

        return simpleenroll

    def _renewing(self, *, labelled: bool) -> App:
        async def simplereenroll(scope: Scope, receive: Receive, send: Send) -> None:
            """RFC 7030 section 4.2.2: the same name and key, by the present certificate."""
            principal: Principal = scope["asepsis.principal"]
            csr_der = await _read_csr(scope, receive)
            profile = _label(scope) if labelled else Profile(principal.kind.value)
            proof = RenewalProof(current_cert_der=scope["asepsis.peer_der"])
            issued = await self._registry.issue(
                csr_der, profile=profile, proof=proof, actor=_actor(principal)
            )
            await _send_certificates(send, issued[:1])

        return simplereenroll

    async def _time(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Signed time that answers a nonce (REQ-ID-020)."""
        nonce = _nonce(scope["query_string"])
        now_ns = self._clock()
        if now_ns - self._times_since_ns >= SECOND_NS:
            self._times_since_ns, self._times = now_ns, 0
        self._times += 1
        if self._times > TIMES_PER_SECOND_MAX:
            raise RateLimited("too many ask for the time")
        signed = await self._signer.sign_time(nonce)
        body = msgspec.json.encode(
            {
                "statement": signed.statement,
                "signature": signed.signature,
                "chain": signed.chain_der,
            }
        )
        await answer(send, 200, body, media=TIME)


async def _csrattrs(scope: Scope, _receive: Receive, send: Send) -> None:
    """RFC 7030 section 4.5."""
    _check_label(scope)
    body = to_body(CSR_ATTRIBUTES)
    await answer(send, 200, body, media=b"application/csrattrs", headers=_BASE64)


async def _send_certificates(send: Send, chain_der: Sequence[bytes]) -> None:
    body = to_body(certs_only(chain_der))
    await answer(send, 200, body, media=CERTIFICATES, headers=_BASE64)


async def _read_csr(scope: Scope, receive: Receive) -> bytes:
    require_media(scope, "application/pkcs10")
    return from_body(await bounded_body(receive, CSR_BODY_BYTES_MAX, scope=scope))


def _label(scope: Scope) -> Profile:
    return parse_label(scope["asepsis.path_params"]["label"])


def _check_label(scope: Scope) -> None:
    """Refuse a label that names no profile, also where all labels get the same answer."""
    if "label" in scope.get("asepsis.path_params", {}):
        _label(scope)


def _first_proof(scope: Scope, profile: Profile) -> tuple[Proof, str]:
    """Return why a first certificate may be issued, strongest credential first, and who asks."""
    principal: Principal = scope["asepsis.principal"]
    authorization = header(scope, b"authorization")
    if authorization is not None:
        token = _basic(authorization)
        return token, f"token:{token.id}"
    if principal.kind is PrincipalKind.IDEVID:
        return IDevIdProof(chain_der=(scope["asepsis.peer_der"],)), _actor(principal)
    if profile is Profile.ORIGIN and principal.kind is PrincipalKind.DEVICE:
        return RenewalProof(current_cert_der=scope["asepsis.peer_der"]), _actor(principal)
    raise NotAuthenticated("a one-time token or an IDevID is needed")


def _basic(authorization: bytes) -> TokenProof:
    """Read id and secret of a one-time token (RFC 7617 section 2)."""
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() != b"basic" or len(value) > CREDENTIALS_BYTES_MAX:
        raise NotAuthenticated("the one-time token travels as HTTP Basic")
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise NotAuthenticated("the one-time token is malformed") from error
    token_id, colon, secret = text.partition(":")
    if not colon or not token_id or not secret:
        raise NotAuthenticated("the one-time token is malformed")
    return TokenProof(id=token_id, secret=secret)


def _nonce(query: bytes) -> bytes:
    name, _, value = query.partition(b"=")
    try:
        text = value.decode("ascii")
        nonce = bytes.fromhex(text)
    except ValueError as error:
        raise InputError("nonce is not hexadecimal") from error
    if name != b"nonce" or not 16 <= len(text) <= 64 or nonce.hex() != text:
        raise InputError("ask for /time?nonce= and 16 to 64 lower-case hexadecimal digits")
    return nonce


def _actor(principal: Principal) -> str:
    return f"{principal.kind.value}:{principal.name}"
