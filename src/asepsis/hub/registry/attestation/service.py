"""The use cases of attestation for devices: bind a TPM, be asked, answer, be judged.

A device that is not verified is shown so and raises a technical alarm; its data goes on. Whether
that is right is a clinical decision, and a monitor without attestation still watches its patient.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection

from asepsis.core.errors import (
    AsepsisError,
    Conflict,
    IdentityInvalid,
    InputError,
    NotPermitted,
    TrustError,
)
from asepsis.core.trust.attestation import (
    NONCE_BYTES,
    PCR_SECURE_BOOT,
    Evidence,
    Quoted,
    Verdict,
    check_progress,
    floor_of,
    judge,
    qualifying,
    verify,
)
from asepsis.core.trust.attestation_log import Line
from asepsis.core.trust.endorsement import SECRET_BYTES, Credential, seal, verify_ek
from asepsis.core.trust.tpm import EccKey, read_ak, read_ek
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.registry.attestation import records
from asepsis.hub.registry.attestation.questions import Questions
from asepsis.hub.registry.attestation.standing import Device, State
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.store.store import Store

REFUSED: Final = "attestation-refused"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A TPM that was given a secret to open."""

    secret: bytes
    ek_sha256: str
    ak: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """What a device is told about its answer.

    Attributes:
        verdict: What it was found to be.
        raise_counter_to: What its floor's counter shall be.
    """

    verdict: Verdict
    raise_counter_to: int


@dataclass(slots=True, kw_only=True)
class AttestationService:
    """Belongs to one event loop.

    Attributes:
        store: Where it all stands.
        audit: Gets an entry for each binding, first verdict and refusal.
        registry: Knows the models of devices and raises technical alarms.
        monotonic: Monotonic clock, nanoseconds.
        random: Returns as many random bytes.
    """

    store: Store
    audit: AuditLog
    registry: RegistryService
    monotonic: Callable[[], int]
    random: Callable[[int], bytes]
    _waiting: Questions[_Waiting] = field(init=False)
    _asked: Questions[bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing asked."""
        self._waiting = Questions(self.monotonic)
        self._asked = Questions(self.monotonic)

    async def offer_keys(
        self, name: str, *, ek: bytes, ak: bytes, chain_der: Sequence[bytes]
    ) -> Credential:
        """Take the keys of a device's TPM and return a secret that only this TPM opens.

        Args:
            name: The device.
            ek: Public area of its endorsement key.
            ak: Public area of its attestation key.
            chain_der: Certificate of the endorsement key and intermediates; may be empty where a
                person recorded the key.

        Raises:
            NotPermitted: Nobody opened the commissioning, or its time is over.
            IdentityInvalid: No trusted maker certified the key, or it is not the recorded one.
            Conflict: The TPM is another device's.
            InputError: Not the keys of a TPM.
        """
        try:
            endorsement, attestation = read_ek(ek), read_ak(ak)
            ek_sha256 = hashlib.sha256(endorsement.spki_der).hexdigest()
            await self._check_tpm(name, endorsement, ek_sha256, chain_der)
            secret = self.random(SECRET_BYTES)
            sealed = seal(
                secret,
                ek=endorsement,
                ak_name=attestation.name,
                sealer=ec.generate_private_key(ec.SECP256R1()),
            )
        except (TrustError, InputError) as error:
            await self._refuse_keys(name, error)
            raise
        self._waiting.ask(name, _Waiting(secret, ek_sha256, ak))
        return sealed

    async def activate(self, name: str, *, secret: bytes) -> None:
        """Bind a device's TPM, once it has opened the secret.

        Raises:
            Conflict: No secret waits, or another device was bound to this TPM meanwhile.
            IdentityInvalid: Another secret: the keys are not in one TPM.
        """
        waiting = self._waiting.take(name)
        if not hmac.compare_digest(waiting.secret, secret):
            error = IdentityInvalid("the secret is another one: the keys are not in one TPM")
            await self._refuse_keys(name, error)
            raise error
        now_ns = self.store.clock()

        def work(connection: Connection) -> None:
            device = _opened(records.read_device(connection, name), now_ns)
            _check_free(connection, name, waiting.ek_sha256)
            bound = replace(
                device,
                until_ns=0,
                ek_sha256=waiting.ek_sha256,
                ak=waiting.ak,
                bound_ns=now_ns,
            )
            records.put_device(connection, bound)
            how = "recorded" if device.recorded else "certified by its maker"
            self._note(connection, name, "bind-tpm", ek_sha256=waiting.ek_sha256, how=how)

        await self.store.write(work)

    async def ask(self, name: str) -> bytes:
        """Return a question for a device; its answer counts once, and soon.

        Raises:
            Conflict: Its TPM is not known.
            RateLimited: Too many devices are asked at once.
        """
        device = await self.store.read(lambda c: records.read_device(c, name))
        if device is None or device.ak is None:
            raise Conflict(
                "the TPM of this device is not known",
                hint="have a person open its commissioning, then bind it",
            )
        nonce = self.random(NONCE_BYTES)
        self._asked.ask(name, nonce)
        return nonce

    async def take_answer(self, name: str, evidence: Evidence, *, peer_der: bytes) -> Answered:
        """Judge an answer, keep what was found, and say so.

        Args:
            name: The device.
            evidence: What it answers.
            peer_der: Certificate with which it authenticated this connection.

        Raises:
            Conflict: It was not asked, or its TPM is not known any more.
            TrustError: Not signed by its TPM, or an answer to something else.
            InputError: What runs is not what should.
        """
        expected = qualifying(self._asked.take(name), _spki_of(peer_der))
        model = (await self.registry.device(name)).model

        def read(connection: Connection) -> tuple[Device | None, list[records.Released], int]:
            return (
                records.read_device(connection, name),
                records.read_releases(connection, model=model),
                records.floor_of_model(connection, model),
            )

        device, releases, floor = await self.store.read(read)
        if device is None or device.ak is None:
            raise Conflict("the TPM of this device is not known any more")
        try:
            quoted = verify(evidence, ak=read_ak(device.ak), expected=expected)
            known = _pinned(device, quoted)
            verdict = _judged(known, quoted, releases, floor=floor, lines=evidence.lines)
        except (TrustError, InputError) as error:
            await self._keep_refusal(device, error)
            raise
        await self._keep(known, quoted, verdict)
        return Answered(verdict, known.floor_base + floor)

    async def require_not_refused(self, name: str) -> None:
        """Check that nothing is held against a device; one that was never attested passes.

        Raises:
            NotPermitted: Its newest answer was refused.
        """
        device = await self.store.read(lambda c: records.read_device(c, name))
        if device is not None and device.standing == State.REFUSED.value:
            raise NotPermitted(
                f"its newest attestation was refused: {device.reason}",
                hint="what it runs must be accepted first, or devices.renew set to all",
            )

    async def _check_tpm(
        self, name: str, ek: EccKey, ek_sha256: str, chain_der: Sequence[bytes]
    ) -> None:
        now_ns = self.store.clock()

        def read(connection: Connection) -> tuple[Device, list[bytes]]:
            device = _opened(records.read_device(connection, name), now_ns)
            _check_free(connection, name, ek_sha256)
            return device, [maker.certificate for maker in records.read_makers(connection)]

        device, anchors = await self.store.read(read)
        if not device.recorded:
            verify_ek(ek, chain_der, anchors=anchors)
        elif not hmac.compare_digest(device.recorded, ek_sha256):
            raise IdentityInvalid("not the endorsement key that a person recorded")

    async def _keep(self, device: Device, quoted: Quoted, verdict: Verdict) -> None:
        now_ns = self.store.clock()
        found = replace(
            device,
            resets=quoted.resets,
            clock_ms=quoted.clock_ms,
            standing=verdict.standing.value,
            reason="",
            release=verdict.release.name,
            changes=verdict.changes,
            judged_ns=now_ns,
        )
        changed = (device.standing, device.release, device.changes) != (
            found.standing,
            found.release,
            found.changes,
        )

        def work(connection: Connection) -> None:
            _check_same(records.read_device(connection, device.name), device)
            records.put_device(connection, found)
            if changed:
                self._note(
                    connection,
                    device.name,
                    "attest",
                    standing=found.standing,
                    release=found.release,
                    changes=found.changes,
                )

        await self.store.write(work)

    async def _keep_refusal(self, device: Device, error: AsepsisError) -> None:
        now_ns, reason = self.store.clock(), str(error)
        new = (device.standing, device.reason) != (State.REFUSED.value, reason)

        def work(connection: Connection) -> None:
            _check_same(records.read_device(connection, device.name), device)
            refused = replace(device, standing=State.REFUSED.value, reason=reason, judged_ns=now_ns)
            records.put_device(connection, refused)
            if new:
                act = Act(
                    actor=f"device:{device.name}",
                    action="attest",
                    subject=device.name,
                    outcome=error.code,
                    detail={"reason": reason},
                )
                self.audit.record(connection, act)

        await self.store.write(work)
        if new:
            await self.registry.raise_alarm(device.name, code=REFUSED, text=reason)

    async def _refuse_keys(self, name: str, error: AsepsisError) -> None:
        act = Act(
            actor=f"device:{name}",
            action="bind-tpm",
            subject=name,
            outcome=error.code,
            detail={"reason": str(error)},
        )
        await self.store.write(lambda connection: self.audit.record(connection, act))

    def _note(self, connection: Connection, name: str, action: str, **detail: Any) -> None:
        self.audit.note(connection, actor=f"device:{name}", action=action, subject=name, **detail)


def _judged(
    device: Device,
    quoted: Quoted,
    releases: Sequence[records.Released],
    *,
    floor: int,
    lines: Sequence[Line],
) -> Verdict:
    check_progress(quoted, resets=device.resets, clock_ms=device.clock_ms)
    return judge(
        quoted,
        releases=[one.release for one in releases],
        secure_boot=bytes.fromhex(device.secure_boot),
        floor=max(floor, floor_of(quoted, base=device.floor_base)),
        lines=lines,
    )


def _pinned(device: Device, quoted: Quoted) -> Device:
    """Return the device with what its first answer fixes: Secure Boot, and where the floor is 0.

    They are kept only if the answer is accepted otherwise.
    """
    if device.secure_boot:
        return device
    secure_boot = quoted.registers[PCR_SECURE_BOOT].hex()
    return replace(device, secure_boot=secure_boot, floor_base=quoted.counter)


def _opened(device: Device | None, now_ns: int) -> Device:
    if device is None or device.state(now_ns) is not State.OPEN:
        raise NotPermitted(
            "nobody has opened the commissioning of this device, or its time is over",
            hint="asepsis devices attestation open",
        )
    return device


def _check_free(connection: Connection, name: str, ek_sha256: str) -> None:
    if records.holder_of(connection, ek_sha256) not in (None, name):
        raise Conflict("this TPM belongs to another device")


def _check_same(present: Device | None, seen: Device) -> None:
    """Stop an answer that was judged while a person decided otherwise about the device.

    Raises:
        Conflict: Its commissioning was opened anew or ended meanwhile.
    """
    if present is None or (present.ak, present.opened_ns) != (seen.ak, seen.opened_ns):
        raise Conflict("the commissioning of this device was changed meanwhile")


def _spki_of(certificate_der: bytes) -> bytes:
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
