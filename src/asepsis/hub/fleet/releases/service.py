"""The use cases of releases: pin, bring, import, approve, list; and what may be rolled out now."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from asepsis.core.errors import ConfigError, Conflict, InputError, NotPermitted
from asepsis.core.model.release import ReleaseDocument, Word, read_document
from asepsis.core.trust.metadata.authorisation import read
from asepsis.core.trust.metadata.directing import director_key
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.library import (
    EnvelopeType,
    Metadata,
    Root,
    TrustedMetadataSet,
)
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.fleet.ports import Fit, Refused, ReleaseFacts
from asepsis.hub.fleet.releases import importing, records
from asepsis.hub.fleet.releases.folders import VendorFolder
from asepsis.hub.fleet.releases.records import Approval, Listed, Published, Vendor
from asepsis.hub.fleet.releases.standing import Standing, check_about, facts, standing
from asepsis.hub.store.store import Store

LISTED_MAX: Final = 1_000
"""Devices listed in one request."""
ONLINE: Final = ("targets", "snapshot", "timestamp")


@dataclass(frozen=True, slots=True)
class Judged:
    """One artefact and how far it is."""

    published: Published
    standing: Standing


@dataclass(slots=True, kw_only=True)
class ReleaseService:
    """Belongs to one event loop.

    Attributes:
        store: Where it all stands.
        audit: Gets an entry for each decision of a person.
        base: Folder of the vendors' folders.
        director_der: Asks the signer for its director key.
        changed: Called when what is assigned may have to be signed anew; returns at once.
    """

    store: Store
    audit: AuditLog
    base: Path
    director_der: Callable[[], Awaitable[bytes]]
    changed: Callable[[], object] = lambda: None
    _importing: dict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict[str, asyncio.Lock](asyncio.Lock)
    )

    def folder(self, vendor: str) -> VendorFolder:
        """Return the folder of a vendor.

        Raises:
            InputError: Not a vendor's name.
        """
        return VendorFolder.of(self.base, vendor)

    async def pin(self, vendor: str, root: bytes, *, person: str) -> None:
        """Trust a vendor: pin the root that came with its devices, on paper or in the image.

        Raises:
            Conflict: It has a root already.
            InputError: Not a vendor's name, or not a root.
            TrustError: The root is not signed by itself.
        """
        added = Vendor(name=vendor, root=root, person=person, added_ns=self.store.clock())
        folder = self.folder(vendor)
        known = await self.store.read(records.read_vendors)
        if any(one.name == vendor for one in known):
            raise Conflict("this vendor has its root", hint="it changes by its own chain only")
        await asyncio.to_thread(importing.pin, folder, root)

        def work(connection: Connection) -> None:
            records.put_vendor(connection, added)
            self._note(connection, person, "pin-vendor", vendor, sha256=_sha256(root))

        await self.store.write(work)

    async def bring(self, vendor: str, area: str, name: str, pieces: AsyncIterator[bytes]) -> int:
        """Store one file of a vendor's repository, unchecked; returns its length.

        Raises:
            NotFound: The vendor is not known.
            AsepsisError: As `VendorFolder.bring`.
        """
        await self.store.read(lambda c: records.read_vendor(c, vendor))
        return await self.folder(vendor).bring(area, name, pieces)

    async def import_(self, vendor: str, *, person: str) -> dict[str, int]:
        """Verify what was brought of a vendor, and serve it; returns how much was found.

        Raises:
            NotFound: The vendor is not known, or metadata is missing.
            TrustError: Not what the vendor's keys signed, expired, or rolled back.
            Conflict: Two releases have the same bytes.
        """
        await self.store.read(lambda c: records.read_vendor(c, vendor))
        now_ns = self.store.clock()
        async with self._importing[vendor]:
            found = await asyncio.to_thread(importing.verify, self.folder(vendor), now_ns=now_ns)
            gone = await self.store.write(
                lambda c: self._keep(c, vendor, found, now_ns=now_ns, person=person)
            )
        if gone:
            self.changed()
        ready = sum(not one.trouble for one in found)
        return {"named": len(found), "ready": ready, "withdrawn": len(gone)}

    async def put_root(self, content: bytes, *, person: str) -> int:
        """Take the hospital's next root of the director; returns its version.

        Raises:
            TrustError: Not signed by enough keys of the root before it.
            ConfigError: It does not give the online roles to this hub's director key.
            InputError: Not a root.
        """
        key = director_key(await self.director_der())
        before = await self.store.read(records.read_root)
        root = await asyncio.to_thread(_next_root, before[1] if before else None, content)
        for role in ONLINE:
            if list(root.roles[role].keyids) != [key.keyid]:
                raise ConfigError(
                    f"the root gives the role {role} to another key than this hub's",
                    hint="`asepsis signer director-key` writes the right one",
                )

        def work(connection: Connection) -> None:
            records.put_root(
                connection, root.version, content, person=person, now_ns=self.store.clock()
            )
            self._note(
                connection, person, "put-director-root", str(root.version), sha256=_sha256(content)
            )

        await self.store.write(work)
        return root.version

    async def approve(self, content: bytes, *, person: str) -> Judged:
        """Take an authorisation that somebody signed, and say how far its artefact is.

        The person who brings it approves nothing by that: only the signatures inside count.

        Raises:
            NotFound: No imported repository names the artefact.
            InputError: Not an authorisation, or about something else.
            NotPermitted: About another release document than the vendor signed.
        """
        said = read(content)[1].target.hashes.get("sha256", "")
        published = await self.store.read(lambda c: records.read_release(c, said))
        check_about(published, content)
        brought = Approval(
            sha256=_sha256(content),
            artefact=said,
            content=content,
            person=person,
            added_ns=self.store.clock(),
        )
        trial = await self._judge([published], extra=brought)
        signers = trial[0].standing
        if not (signers.vendor or signers.hospital):
            raise NotPermitted("no approver of either party signed it")

        def work(connection: Connection) -> None:
            if records.put_approval(connection, brought):
                self._note(
                    connection,
                    person,
                    "bring-approval",
                    published.path,
                    artefact=said,
                    authorisation=brought.sha256,
                    vendor=list(signers.vendor),
                    hospital=list(signers.hospital),
                )

        await self.store.write(work)
        self.changed()
        return (await self._judge([published]))[0]

    async def list_devices(self, wanted: Sequence[Fit], *, person: str) -> None:
        """Say what devices are for an update: model and hardware id, as the devices have them.

        Raises:
            InputError: Too many at once, or a word that is none.
        """
        if not 1 <= len(wanted) <= LISTED_MAX:
            raise InputError(f"list 1 to {LISTED_MAX} devices at a time")
        now_ns = self.store.clock()
        listed = [
            Listed(
                device=one.device,
                model=_word(one.model),
                hardware=_word(one.hardware),
                person=person,
                listed_ns=now_ns,
            )
            for one in wanted
        ]

        def work(connection: Connection) -> None:
            records.put_fits(connection, listed)
            for one in listed:
                self._note(
                    connection,
                    person,
                    "list-for-updates",
                    one.device,
                    model=one.model,
                    hardware=one.hardware,
                )

        await self.store.write(work)

    async def note_assigned(
        self, device: str, artefact: str, refused: Refused | None, *, person: str
    ) -> None:
        """Write into the audit log that a person assigned a release, or was refused."""
        act = Act(
            actor=f"person:{person}",
            action="assign-release",
            subject=device,
            outcome=refused.code if refused else "done",
            detail={"artefact": artefact},
        )
        await self.store.write(lambda connection: self.audit.record(connection, act))

    async def note_cleared(self, device: str, component: str | None, *, person: str) -> None:
        """Write into the audit log that a person took back what was assigned."""
        what = component or "everything"
        await self.store.write(
            lambda c: self._note(c, person, "clear-release", device, component=what)
        )

    async def judged(self) -> list[Judged]:
        """Return every artefact and how far it is, newest counter first."""
        return await self._judge(await self.store.read(records.read_releases))

    async def document(self, sha256: str) -> tuple[Judged, ReleaseDocument | None]:
        """Return one artefact, how far it is, and its release document.

        Raises:
            NotFound: No imported repository names it.
        """
        published = await self.store.read(lambda c: records.read_release(c, sha256))
        found = await self._documents([published])
        return (await self._judge([published]))[0], found.get(published.document)

    async def eligible(self, *, model: str | None = None) -> Sequence[ReleaseFacts]:
        """See `fleet.ports.Releases.eligible`."""
        ready = [one for one in await self.judged() if not one.standing.why]
        documents = await self._documents([one.published for one in ready])
        found = [
            facts(one.published, one.standing, documents[one.published.document]) for one in ready
        ]
        return [one for one in found if model is None or model in one.models]

    async def release(self, sha256: str) -> ReleaseFacts:
        """See `fleet.ports.Releases.release`."""
        judged, document = await self.document(sha256)
        if judged.standing.why or document is None:
            raise NotPermitted(f"it may not be rolled out now: {judged.standing.why}")
        return facts(judged.published, judged.standing, document)

    async def fit(self, devices: Sequence[str]) -> Mapping[str, Fit]:
        """See `fleet.ports.Releases.fit`."""
        found = await self.store.read(lambda c: records.read_fits(c, devices))
        return {
            name: Fit(device=name, model=one.model, hardware=one.hardware)
            for name, one in found.items()
        }

    def _keep(
        self,
        connection: Connection,
        vendor: str,
        found: Sequence[importing.Found],
        *,
        now_ns: int,
        person: str,
    ) -> list[str]:
        rows = [_row(vendor, one, now_ns=now_ns) for one in found]
        gone = records.replace_releases(connection, vendor, rows, now_ns=now_ns)
        for one in found:
            if one.document is not None:
                records.put_document(connection, one.release.document, one.document)
        records.stir(connection, gone)
        self._note(
            connection, person, "import-releases", vendor, named=len(rows), withdrawn=sorted(gone)
        )
        return gone

    async def _judge(
        self, published: Sequence[Published], *, extra: Approval | None = None
    ) -> list[Judged]:
        one = published[0].sha256 if len(published) == 1 else None

        def look(connection: Connection) -> tuple[list[Approval], tuple[int, bytes] | None]:
            found = records.read_approvals(connection, artefact=one)
            return found, records.read_root(connection)

        approvals, newest = await self.store.read(look)
        by_artefact: dict[str, list[Approval]] = defaultdict(list)
        for approval in ([extra] if extra else []) + approvals:
            by_artefact[approval.artefact].append(approval)
        now_ns = self.store.clock()

        def work() -> list[Judged]:
            hospital = _root(newest[1]) if newest else None
            vendors = {
                name: _root(importing.trusted_root(self.folder(name)))
                for name in {one.vendor for one in published}
            }
            return [
                Judged(
                    one,
                    standing(
                        one,
                        by_artefact.get(one.sha256, ()),
                        vendor=vendors[one.vendor],
                        hospital=hospital,
                        now_ns=now_ns,
                    ),
                )
                for one in published
            ]

        return await asyncio.to_thread(work)

    async def _documents(self, published: Sequence[Published]) -> dict[str, ReleaseDocument]:
        hashes = {one.document for one in published if one.document}
        found = await self.store.read(lambda c: records.read_documents(c, hashes))
        return {sha256: read_document(content) for sha256, content in found.items()}

    def _note(
        self, connection: Connection, person: str, action: str, subject: str, **detail: Any
    ) -> None:
        self.audit.note(
            connection, actor=f"person:{person}", action=action, subject=subject, **detail
        )


def _row(vendor: str, one: importing.Found, *, now_ns: int) -> Published:
    release = one.release
    return Published(
        sha256=one.sha256,
        vendor=vendor,
        path=one.path,
        length=one.length,
        model=release.model,
        component=release.component,
        version=release.version,
        counter=release.counter,
        floor=release.floor,
        reboot=release.reboot,
        document=release.document,
        author=release.author,
        trouble=one.trouble,
        withdrawn=False,
        imported_ns=now_ns,
    )


def _next_root(before: bytes | None, content: bytes) -> Root:
    with translated("the director's root"):
        trusted = TrustedMetadataSet(before or content, EnvelopeType.METADATA)
        return trusted.root if before is None else trusted.update_root(content)


def _root(content: bytes) -> Root:
    with translated("a root"):
        return Metadata[Root].from_bytes(content).signed


def _word(text: str) -> str:
    try:
        return msgspec.convert(text, Word)
    except msgspec.ValidationError as error:
        raise InputError(f"{text[:64]!r} is no word of a model or hardware id") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
