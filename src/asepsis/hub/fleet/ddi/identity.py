"""Who asks on the DDI listener: a target's own token, a gateway's token, or a certificate.

Each way is switched by itself. A certificate's common name is the target's name; who shows one and
a target's token must be the same by both. What is proven here opens this listener's routes of this
one target and nothing else.

Source: Eclipse hawkBit, Direct Device Integration API, "Authentication"; RFC 5280 section 4.1.2.6.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from asepsis.core.errors import (
    IdentityExpired,
    IdentityInvalid,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    RateLimited,
)
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.wire.ddi import NAME_CHARS_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.throttle import Allowance, Buckets, network
from asepsis.hub.fleet.ddi.held import Held, Targets
from asepsis.hub.fleet.ddi.service import ClientService
from asepsis.hub.web.asgi import Scope, header

HELD: Final = "asepsis.ddi"
"""Where the target stands in the scope."""
TOKEN_CHARS_MAX: Final = 128
FAILURES: Final = Allowance(guesses_max=50, refill_s=1)
"""Refusals of one address before it is told to wait; who is right is never held up by them."""
CERTIFICATES_HELD: Final = 8_192
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What counts as proof.

    Attributes:
        tenant: First segment of every path.
        target_tokens: Whether a target's own token does.
        gateway_tokens: Whether a gateway's token does.
        certificates: Whether a certificate does.
    """

    tenant: str = "DEFAULT"
    target_tokens: bool = True
    gateway_tokens: bool = False
    certificates: bool = False


@dataclass(frozen=True, slots=True)
class _Certificate:
    name: str
    begins_ns: int
    ends_ns: int


class Credentials:
    """Recognises update clients.

    Args:
        ways: What counts.
        service: Enters targets that came by a gateway's token or a certificate.
        targets: Those that are known.
        wall: Wall time in nanoseconds since 1970.
        monotonic: Monotonic nanoseconds.
    """

    def __init__(
        self,
        ways: Ways,
        service: ClientService,
        targets: Targets,
        *,
        wall: Callable[[], int],
        monotonic: Callable[[], int],
    ) -> None:
        self._ways = ways
        self._tenant = ways.tenant.casefold()
        self._service = service
        self._targets = targets
        self._wall = wall
        self._monotonic = monotonic
        self._failures = Buckets(FAILURES)

    async def authenticate(self, scope: Scope) -> Principal:
        """Find out which target asks, and put it into the scope.

        Raises:
            NotFound: Another tenant, or a name that none can have.
            NotAuthenticated: Nothing proves who asks.
            NotPermitted: The target is blocked, or the certificate is another's.
            IdentityExpired: The certificate is outside its validity.
            RateLimited: The target asks too often, or its address is wrong too often.
        """
        params: dict[str, str] = scope["asepsis.path_params"]
        name = params["name"]
        if params["tenant"].casefold() != self._tenant:
            raise NotFound("no such tenant")
        if len(name) > NAME_CHARS_MAX or not name.isprintable():
            raise NotFound("no such target")
        held = await self._targets.get(name)
        address: str = scope["asepsis.connection"].address
        if not self._is_proven(scope, name, held):
            self._refuse(address)
        if held is None:
            held = await self._service.register(name, address=address)
        if held.target.blocked:
            raise NotPermitted("this target is blocked")
        held.take(self._monotonic())
        self._targets.seen(name, address)
        scope[HELD] = held
        return Principal(kind=PrincipalKind.UPDATE_CLIENT, name=name)

    def _is_proven(self, scope: Scope, name: str, held: Held | None) -> bool:
        value = header(scope, b"authorization")
        if value is None:
            return self._by_certificate(scope, name)
        kind, _, token = value.partition(b" ")
        if not token or len(token) > TOKEN_CHARS_MAX:
            return False
        found = hashlib.sha256(token.strip()).hexdigest()
        if kind.lower() == b"targettoken" and self._ways.target_tokens:
            expected = held.target.token_sha256 if held is not None else ""
            if not expected or not hmac.compare_digest(found, expected):
                return False
            return scope["asepsis.peer_der"] is None or self._by_certificate(scope, name)
        # Hashes of random tokens: a dictionary tells an attacker nothing by its time.
        return (
            kind.lower() == b"gatewaytoken"
            and self._ways.gateway_tokens
            and (found in self._targets.gateways)
        )

    def _by_certificate(self, scope: Scope, name: str) -> bool:
        der: bytes | None = scope["asepsis.peer_der"]
        if der is None or not self._ways.certificates:
            return False
        # TLS checked the chain; a resumed connection checks no date, so it is checked here.
        shown, now_ns = read_certificate(der), self._wall()
        if not shown.begins_ns <= now_ns < shown.ends_ns:
            raise IdentityExpired("the certificate is outside its validity")
        if shown.name != name:
            raise NotPermitted("the certificate names another target")
        return True

    def _refuse(self, address: str) -> None:
        key, now_ns = (network(address),), self._monotonic()
        wait_s = self._failures.wait_s(key, now_ns)
        if wait_s:
            raise RateLimited("too many refusals from here", retry_after_s=wait_s)
        self._failures.take(key, now_ns)
        raise NotAuthenticated("nothing proves that you are this target")


@lru_cache(maxsize=CERTIFICATES_HELD)
def read_certificate(der: bytes) -> _Certificate:
    """Return common name and validity of a certificate that TLS has accepted.

    Raises:
        IdentityInvalid: It has not exactly one common name.
    """
    try:
        found = x509.load_der_x509_certificate(der)
        names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    except ValueError as error:
        raise IdentityInvalid("the certificate does not parse") from error
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise IdentityInvalid("the certificate has not exactly one common name")
    return _Certificate(names[0].value, int(begins.timestamp()) * _NS, int(ends.timestamp()) * _NS)
