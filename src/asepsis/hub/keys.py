"""Clients of the signer's two sockets. The hub holds no signing key; it can only ask.

`SignerClient` speaks to `signer.sock` (the hub's own requests), `AdminClient` to
`signer-admin.sock` (a person lists devices). Both turn a refusal into the error class that it
names, so callers react to a refused certificate as to any other `TrustError`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from asepsis.core import errors
from asepsis.core.trust import answers, director, signer_values
from asepsis.core.trust import requests as typed
from asepsis.core.trust.statements import NONCE_BYTES_MAX, NONCE_BYTES_MIN

ANSWER_TIMEOUT_S: Final = 10.0
"""Time for one answer, in seconds; the signer needs about a millisecond and one fsync."""
_Expected = TypeVar("_Expected", bound=signer_values.Message)
_ERRORS: Final[Mapping[str, type[errors.AsepsisError]]] = {
    kind.code: kind
    for kind in (
        errors.InputError,
        errors.FramingError,
        errors.LimitExceeded,
        errors.ContentMismatch,
        errors.NotFound,
        errors.Conflict,
        errors.TrustError,
        errors.IdentityInvalid,
        errors.IdentityRevoked,
        errors.IdentityExpired,
        errors.SignatureInvalid,
        errors.NotPermitted,
        errors.IssuanceRefused,
        errors.NotAuthenticated,
        errors.Unavailable,
    )
}


class _Connection:
    """One kept connection; requests queue, a broken connection is made anew once.

    Every request of the signer may be asked twice: it gives the same certificate back.
    """

    def __init__(self, socket_path: Path, *, timeout_s: float) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: signer_values.Message, kind: type[_Expected]) -> _Expected:
        """Send one request and return its answer.

        Raises:
            Unavailable: The signer does not answer.
            RateLimited: Too many requests of this kind; says when to ask again.
            AsepsisError: The class that the signer's refusal names.
        """
        frame = typed.encode_message(request)
        async with self._turn:
            answer = await self._exchange(frame)
        if isinstance(answer, answers.Refused):
            raise _error_of(answer)
        if not isinstance(answer, kind):
            raise errors.Unavailable("the signer gave an answer of another kind")
        return answer

    async def close(self) -> None:
        """Close the connection, if one is open."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()

    async def _exchange(self, frame: bytes) -> answers.Answer:
        kept = self._streams is not None
        try:
            return await self._attempt(frame)
        except (errors.Unavailable, errors.FramingError):
            if not kept:
                raise
        return await self._attempt(frame)

    async def _attempt(self, frame: bytes) -> answers.Answer:
        answered = False
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._open()
                writer.write(frame)
                await writer.drain()
                prefix = await reader.readexactly(signer_values.LENGTH.size)
                answer = answers.decode_answer(
                    await reader.readexactly(typed.message_length(prefix))
                )
                answered = True
                return answer
        except (OSError, EOFError, TimeoutError) as error:  # IncompleteReadError is an EOFError
            raise errors.Unavailable(
                "the signer does not answer", hint="`asepsis hub` starts it: does the hub run?"
            ) from error
        finally:
            if not answered:  # Half an answer in the stream must never meet the next request.
                await self.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(
                self._path, limit=signer_values.MESSAGE_BYTES_MAX
            )
        return self._streams


class SignerClient:
    """What the hub may ask the key-holding process.

    Args:
        socket_path: `<data>/run/signer.sock`.
        timeout_s: Seconds to wait for one answer.

    Resource handling:
        Opens its connection at the first request; `close` ends it.
    """

    def __init__(self, socket_path: Path, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._connection = _Connection(socket_path, timeout_s=timeout_s)

    async def issue(self, request: typed.IssueRequest) -> answers.Issued:
        """Have a certificate issued; the same request again gets the same certificate.

        Raises:
            IssuanceRefused: Profile, name, key, proof or CSR is not as it must be.
            IdentityRevoked: The name is revoked.
            IdentityExpired: Expired for longer than the renewal window.
            NotAuthenticated: Unknown token, or a wrong secret.
            RateLimited: Too many certificates in a minute or hour.
            InputError: The CSR is malformed.
            Unavailable: The signer does not answer.

        Source: RFC 7030 sections 4.2.1, 4.2.2; REQ-ID-009 to REQ-ID-016.
        """
        return await self._connection.ask(request, answers.Issued)

    async def server_certificate(self, csr_der: bytes, names: Sequence[str]) -> answers.Issued:
        """Have the hub's own certificate issued for names fixed at init.

        Raises:
            IssuanceRefused: A name that was not fixed at init.
            RateLimited: Too many certificates.
            Unavailable: The signer does not answer.

        Source: RFC 9525 section 6.3.
        """
        request = typed.ServerCertificateRequest(csr_der=csr_der, names=tuple(names))
        return await self._connection.ask(request, answers.Issued)

    async def sign_time(self, nonce: bytes) -> answers.SignedTime:
        """Have the present time signed together with a nonce of 8 to 32 bytes.

        Raises:
            InputError: Nonce too short or too long.
            Unavailable: The signer does not answer.

        Source: REQ-ID-020.
        """
        return await self._connection.ask(_time_request(nonce), answers.SignedTime)

    async def sign_tree_head(self, head: signer_values.TreeHead) -> bytes:
        """Have a tree head of the audit log signed; returns raw ES256, 64 bytes.

        Raises:
            Conflict: The log shrank, or has another root at the same size.
            Unavailable: The signer does not answer.

        Source: RFC 9162 section 4.10.
        """
        request = typed.TreeHeadRequest(head=head)
        return (await self._connection.ask(request, answers.Signature)).signature

    async def sign_director(self, *sets: director.DirectorSet) -> answers.DirectorSigned:
        """Have signed what devices are to have, at most `director.SETS_MAX` at a time.

        Raises:
            IssuanceRefused: A device is not known to the signer, or revoked.
            Unavailable: The signer does not answer.

        Source: Uptane Standard 2.1.0, section 5.2.3.
        """
        request = typed.DirectorRequest(sets=sets)
        return await self._connection.ask(request, answers.DirectorSigned)

    async def sign_crl(self) -> bytes:
        """Have a CRL (DER) signed for consumers outside; the hub itself never reads it.

        Source: RFC 5280 section 5; REQ-ID-017.
        """
        return (await self._connection.ask(typed.CrlRequest(), answers.Crl)).crl_der

    async def revoke(self, name: str, reason: str) -> tuple[int, ...]:
        """End an identity; returns the serial numbers that ended. Again is no error.

        Source: REQ-ID-016; RFC 5280 section 5.3.1.
        """
        done = await self._connection.ask(
            typed.RevokeRequest(name=name, reason=reason), answers.Done
        )
        return tuple(int.from_bytes(serial, "big") for serial in done.serials)

    async def ca_chain(self) -> tuple[bytes, ...]:
        """Return the issuing certificate and the root, DER."""
        return (await self.authorities()).chain_der

    async def authorities(self) -> answers.Authorities:
        """Return CA chain, makers trusted for IDevIDs, and the time and audit certificates."""
        return await self._connection.ask(typed.AuthoritiesRequest(), answers.Authorities)

    async def status(self) -> answers.Status:
        """Return how the keys are kept and what was done."""
        return await self._connection.ask(typed.StatusRequest(), answers.Status)

    async def alarms(self, *, after: int = 0) -> tuple[answers.Alarm, ...]:
        """Return alarms numbered above `after`, oldest first, at most 100."""
        answer = await self._connection.ask(typed.AlarmsRequest(after=after), answers.Alarms)
        return answer.alarms

    async def close(self) -> None:
        """Close the connection, if one is open."""
        await self._connection.close()


class AdminClient:
    """What a person may ask the key-holding process.

    Args:
        socket_path: `<data>/run/signer-admin.sock`; only root and the signer's user may connect.
        timeout_s: Seconds to wait for one answer.
    """

    def __init__(self, socket_path: Path, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._connection = _Connection(socket_path, timeout_s=timeout_s)

    async def expect(
        self, expectation: signer_values.Expectation, *, valid_s: int = 86_400
    ) -> answers.Token:
        """List a device, gateway or consumer; returns its one-time token, shown only here.

        Args:
            expectation: Name, profile and what the person decides; id and times are ignored.
            valid_s: Seconds the token is good for, 60 to 86 400.

        Raises:
            InputError: Not a canonical name, or a value out of range.
            IdentityRevoked: The name is revoked; release it first.
            LimitExceeded: Too many open expectations.

        Source: REQ-ID-007, REQ-ID-009, REQ-ID-010.
        """
        request = typed.ExpectRequest(expectation=expectation, valid_s=valid_s)
        return await self._connection.ask(request, answers.Token)

    async def withdraw(self, expectation_id: str) -> None:
        """Close an open expectation.

        Raises:
            NotFound: No open expectation has that id.
        """
        await self._connection.ask(typed.WithdrawRequest(id=expectation_id), answers.Done)

    async def list(self) -> tuple[signer_values.Expectation, ...]:
        """Return the open expectations, oldest first."""
        answer = await self._connection.ask(typed.ListRequest(), answers.Expected)
        return answer.expectations

    async def release(self, name: str) -> None:
        """Let a revoked name be listed again; its old certificates stay revoked for ever.

        Raises:
            NotFound: The name is not revoked.
        """
        await self._connection.ask(typed.ReleaseRequest(name=name), answers.Done)

    async def revoke(self, name: str, reason: str) -> None:
        """End an identity when no hub runs; see `SignerClient.revoke`."""
        await self._connection.ask(typed.RevokeRequest(name=name, reason=reason), answers.Done)

    async def trust_maker(self, certificate_der: bytes) -> None:
        """Trust a maker's CA certificate for IDevIDs (IEEE 802.1AR-2018 clause 6.3).

        Raises:
            IdentityInvalid: Not a CA certificate.
        """
        await self._connection.ask(
            typed.TrustMakerRequest(certificate_der=certificate_der), answers.Done
        )

    async def distrust_maker(self, fingerprint: bytes) -> None:
        """Stop trusting a maker's CA certificate, named by the SHA-256 of its DER.

        Raises:
            NotFound: It is not trusted.
        """
        request = typed.DistrustMakerRequest(fingerprint=fingerprint)
        await self._connection.ask(request, answers.Done)

    async def set_limits(self, limits: signer_values.Limits) -> None:
        """Change how many certificates may leave in a minute and an hour."""
        await self._connection.ask(typed.LimitsRequest(limits=limits), answers.Done)

    async def forget_tree_head(self, reason: str) -> None:
        """Accept an older audit log again after a restore from backup; is logged and alarmed."""
        await self._connection.ask(typed.ForgetTreeHeadRequest(reason=reason), answers.Done)

    async def status(self) -> answers.Status:
        """Return how the keys are kept and what was done."""
        return await self._connection.ask(typed.StatusRequest(), answers.Status)

    async def authorities(self) -> answers.Authorities:
        """Return CA chain, makers trusted for IDevIDs, and the time and audit certificates."""
        return await self._connection.ask(typed.AuthoritiesRequest(), answers.Authorities)

    async def alarms(self, *, after: int = 0) -> tuple[answers.Alarm, ...]:
        """Return alarms numbered above `after`, oldest first, at most 100."""
        answer = await self._connection.ask(typed.AlarmsRequest(after=after), answers.Alarms)
        return answer.alarms

    async def close(self) -> None:
        """Close the connection, if one is open."""
        await self._connection.close()


def _time_request(nonce: bytes) -> typed.TimeRequest:
    if not NONCE_BYTES_MIN <= len(nonce) <= NONCE_BYTES_MAX:
        raise errors.InputError("nonce has 8 to 32 bytes")
    return typed.TimeRequest(nonce=nonce)


def _error_of(refused: answers.Refused) -> errors.AsepsisError:
    if refused.retry_after_s:
        return errors.RateLimited(
            refused.message, hint=refused.hint, retry_after_s=refused.retry_after_s
        )
    kind = _ERRORS.get(refused.code, errors.TrustError)
    return kind(refused.message, hint=refused.hint)
