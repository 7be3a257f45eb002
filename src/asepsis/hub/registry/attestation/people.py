"""What people decide about attestation: whose TPM may come, which releases, makers and floors."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection

from asepsis.core.errors import InputError, NotFound
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.attestation import PCR_IMAGE, PCR_RUNTIME, QUOTED, Release
from asepsis.core.trust.attestation_log import is_digest
from asepsis.core.trust.authority.chains import check_anchor
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.registry.attestation import records
from asepsis.hub.registry.attestation.records import Floor, Maker, Released
from asepsis.hub.registry.attestation.standing import Device
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.store.store import Store

HOURS_MAX: Final = 168
HOURS_DEFAULT: Final = 24
HOUR_NS: Final = 3_600 * 10**9
PARTS_MAX: Final = 500
NUMBER_MAX: Final = 9_999
"""Highest number of a release: a TPM's counter is raised one by one."""
SUBJECT_CHARS_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that is known about attestation."""

    devices: list[Device]
    releases: list[Released]
    makers: list[Maker]
    floors: list[Floor]


@dataclass(frozen=True, slots=True)
class Decisions:
    """The use cases of people; each is audited.

    Attributes:
        store: Where it all stands.
        audit: Gets an entry for each decision.
        registry: Knows the devices.
    """

    store: Store
    audit: AuditLog
    registry: RegistryService

    async def overview(self) -> Overview:
        """Return everything."""

        def read(connection: Connection) -> Overview:
            return Overview(
                records.read_devices(connection),
                records.read_releases(connection),
                records.read_makers(connection),
                records.read_floors(connection),
            )

        return await self.store.read(read)

    async def device(self, name: str) -> Device | None:
        """Return how one device stands; None if its commissioning was never opened."""
        return await self.store.read(lambda c: records.read_device(c, name))

    async def open(self, name: str, *, ek_sha256: str, hours: int, person: str) -> Device:
        """Open the commissioning of a device: its TPM may come; what was known of one is void.

        Args:
            name: The device.
            ek_sha256: SHA-256 of its endorsement key's SPKI, as a person read it at the device;
                empty to trust the certificate of the TPM's maker.
            hours: How long, 1 to `HOURS_MAX`.
            person: Who opens it.

        Raises:
            NotFound: No such machine.
            InputError: Not a device, or not a hash.
        """
        if (await self.registry.device(name)).kind != PrincipalKind.DEVICE.value:
            raise InputError("only a device is attested")
        if ek_sha256 and not is_digest(ek_sha256):
            raise InputError("an endorsement key is recorded as 64 hexadecimal digits")
        now_ns = self.store.clock()
        opened = Device(
            name=name,
            person=person,
            opened_ns=now_ns,
            until_ns=now_ns + hours * HOUR_NS,
            recorded=ek_sha256,
        )

        def work(connection: Connection) -> None:
            before = records.read_device(connection, name)
            records.put_device(connection, opened)
            self._note(
                connection,
                person,
                "open-attestation",
                name,
                recorded=ek_sha256,
                hours=hours,
                void=before.ek_sha256 if before else "",
            )

        await self.store.write(work)
        return opened

    async def end(self, name: str, *, person: str) -> None:
        """Forget a device's TPM: it counts as not attested.

        Raises:
            NotFound: It is not attested.
        """

        def work(connection: Connection) -> None:
            if not records.remove_device(connection, name):
                raise NotFound("this device is not attested")
            self._note(connection, person, "end-attestation", name)

        await self.store.write(work)

    async def add_release(self, model: str, release: Release, *, person: str) -> None:
        """Enter a release of a model, or enter it anew.

        Raises:
            InputError: A register that no quote is of, or none of the image.
        """
        check_release(release)
        now_ns = self.store.clock()

        def work(connection: Connection) -> None:
            records.put_release(
                connection, Released(model=model, release=release, person=person, added_ns=now_ns)
            )
            self._note(
                connection,
                person,
                "add-measured-release",
                model,
                release=release.name,
                number=release.number,
                image=release.registers[PCR_IMAGE].hex(),
                parts=len(release.parts),
            )

        await self.store.write(work)

    async def remove_release(self, model: str, name: str, *, person: str) -> None:
        """Forget a release; whoever still runs it is refused at the next answer.

        Raises:
            NotFound: No such release.
        """

        def work(connection: Connection) -> None:
            if not records.remove_release(connection, model, name):
                raise NotFound("no such release of this model")
            self._note(connection, person, "remove-measured-release", model, release=name)

        await self.store.write(work)

    async def raise_floor(self, model: str, number: int, *, person: str) -> None:
        """Let no older release of a model count; devices raise the counter in their TPM.

        Raises:
            Conflict: It would be lowered.
        """
        now_ns = self.store.clock()

        def work(connection: Connection) -> None:
            floor = Floor(model=model, number=number, person=person, decided_ns=now_ns)
            records.put_floor(connection, floor)
            self._note(connection, person, "raise-floor", model, number=number)

        await self.store.write(work)

    async def trust_maker(self, certificate_der: bytes, *, person: str) -> Maker:
        """Trust a maker of TPMs.

        Raises:
            IdentityInvalid: Not a CA certificate.
        """
        certificate = check_anchor(certificate_der)
        der = certificate.public_bytes(Encoding.DER)
        maker = Maker(
            sha256=hashlib.sha256(der).hexdigest(),
            subject=certificate.subject.rfc4514_string()[:SUBJECT_CHARS_MAX],
            certificate=der,
            person=person,
            added_ns=self.store.clock(),
        )

        def work(connection: Connection) -> None:
            records.put_maker(connection, maker)
            self._note(connection, person, "trust-tpm-maker", maker.subject, sha256=maker.sha256)

        await self.store.write(work)
        return maker

    async def distrust_maker(self, sha256: str, *, person: str) -> None:
        """Let no TPM of a maker be bound any more; those that are bound stay.

        Raises:
            NotFound: It is not trusted.
        """

        def work(connection: Connection) -> None:
            records.remove_maker(connection, sha256)
            self._note(connection, person, "distrust-tpm-maker", sha256)

        await self.store.write(work)

    def _note(
        self, connection: Connection, person: str, action: str, subject: str, **detail: Any
    ) -> None:
        self.audit.note(
            connection, actor=f"person:{person}", action=action, subject=subject, **detail
        )


def check_release(release: Release) -> None:
    """Check what a person enters.

    Raises:
        InputError: A register that no quote is of, or none of the image; or a part that is no hash.
    """
    if PCR_IMAGE not in release.registers:
        raise InputError(f"a release states register {PCR_IMAGE}, which its image is measured into")
    if not set(release.registers) <= set(QUOTED) - {PCR_RUNTIME}:
        raise InputError("a release states registers 4, 7 and 11, and no other")
    if len(release.parts) > PARTS_MAX or not all(is_digest(part) for part in release.parts):
        raise InputError(f"a release has at most {PARTS_MAX} parts, each named by its SHA-256")
