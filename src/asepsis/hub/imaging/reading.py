"""Reading images: who may, and a word in the audit log before anything is shown.

Source: DICOM PS3.18 sections 10.4 and 10.6; IHE BALP (patient and user, no clinical value).
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from asepsis.core.errors import NotFound, NotPermitted, RateLimited, Unavailable
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.wire.dicomweb_search import Search
from asepsis.core.wire.inspection import Refused
from asepsis.hub.access.principal import Principal
from asepsis.hub.imaging.finding import Found, ImageFinder, Object
from asepsis.hub.imaging.index import first_value
from asepsis.hub.imaging.inspector import Inspector
from asepsis.hub.imaging.ports import ImageAudit, Readers
from asepsis.hub.imaging.service import Threads
from asepsis.hub.imaging.storage import ObjectReader, Vault

RETRIEVED_MAX: Final = 20_000
"""Instances of one retrieval."""
METADATA_MAX: Final = 2_000
"""Instances of one retrieval of metadata: each is read anew."""
RETRIEVALS_MAX: Final = 16
"""Retrievals at once."""
AUDIT_EVERY_NS: Final = 600_000_000_000
"""A machine that fetches a study instance by instance is noted once in this time."""
AUDITED_MAX: Final = 10_000
_PATIENT_ID: Final = "00100020"


@dataclass(slots=True, kw_only=True)
class ImageReading:
    """The use cases of reading.

    Attributes:
        finder: What the index finds.
        vault: Objects.
        inspector: Reads metadata.
        threads: Where everything blocks that has to.
        audit: The audit log.
        readers: Machines that may read.
        wall: Wall clock, nanoseconds since 1970.
    """

    finder: ImageFinder
    vault: Vault
    inspector: Inspector
    threads: Threads
    audit: ImageAudit
    readers: Readers
    wall: Callable[[], int]
    _retrievals: int = 0
    _audited: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def admit(self, principal: Principal) -> None:
        """Let a person pass by role, a machine by name.

        Raises:
            NotPermitted: A machine that nobody named as a reader of images.
        """
        if principal.kind is PrincipalKind.PERSON:
            return
        if not self.readers.may_read(principal.name):
            raise NotPermitted("nobody named this machine as a reader of images")

    async def search(self, principal: Principal, search: Search, *, base: str) -> Found:
        """Find studies, series or instances.

        Raises:
            Unavailable: The state or the audit log does not answer.
        """
        found = await self.finder.search(search, base=base)
        patients = {first_value(dict(each), _PATIENT_ID) for each in found.answers}
        await self._note(
            principal,
            "search-images",
            {
                "level": search.level.name.lower(),
                "keys": [".".join(path) for path, _ in search.matches],
                "patients": sorted(patients - {""})[:50],
                "found": len(found.answers),
            },
        )
        return found

    async def objects(
        self,
        principal: Principal,
        *,
        study: str,
        series: str = "",
        sop_instance: str = "",
        metadata: bool = False,
    ) -> Sequence[Object]:
        """Return what a path names, once the audit log holds who asked.

        Raises:
            NotFound: Nothing of it is held.
            Unavailable: The state or the audit log does not answer.
        """
        most = METADATA_MAX if metadata else RETRIEVED_MAX
        found, first = await self.finder.objects(
            study=study, series=series, sop_instance=sop_instance, most=most
        )
        if not found:
            raise NotFound("no such images are held", hint="the archive may have them")
        patient = first_value(msgspec.json.decode(first, type=dict[str, Any]), _PATIENT_ID)
        detail: dict[str, object] = {
            "patients": [patient] if patient else [],
            "study": study,
            "series": series,
            "instances": len(found),
            "metadata": metadata,
        }
        if not self._noted(principal, study):
            await self._note(principal, "retrieve-images", detail)
        return found

    @contextmanager
    def retrieval(self) -> Generator[None]:
        """Hold one of the places for retrievals.

        Raises:
            RateLimited: All are taken.
        """
        if self._retrievals >= RETRIEVALS_MAX:
            raise RateLimited("too many retrievals at once", retry_after_s=2)
        self._retrievals += 1
        try:
            yield
        finally:
            self._retrievals -= 1

    async def open(self, found: Object) -> ObjectReader:
        """Open one object.

        Raises:
            NotFound: It was purged meanwhile.
            SignatureInvalid: Its file was changed.
            TransientError: The disk failed.
        """
        return await self.threads.call(
            lambda: self.vault.reader(found.name, byte_count=found.length)
        )

    async def metadata(self, found: Object) -> bytes:
        """Return every attribute of one instance but bulk data, as DICOM JSON.

        Raises:
            Unavailable: It cannot be read now.
            NotFound: It was purged meanwhile.
        """

        def read() -> bytes:
            reader = self.vault.reader(found.name, byte_count=found.length)
            try:
                answer = self.inspector.inspect(reader, purpose="metadata")
            finally:
                reader.close()
            if isinstance(answer, Refused):
                raise Unavailable("the metadata cannot be read", hint="retrieve the instance")
            return answer.attributes

        return await self.threads.call(read)

    def _noted(self, principal: Principal, study: str) -> bool:
        """Whether a machine's fetching of this study was noted just now."""
        if principal.kind is PrincipalKind.PERSON:
            return False
        now_ns, key = self.wall(), (principal.name, study)
        if now_ns - self._audited.get(key, -AUDIT_EVERY_NS) < AUDIT_EVERY_NS:
            return True
        if len(self._audited) >= AUDITED_MAX:
            self._audited.clear()
        self._audited[key] = now_ns
        return False

    async def _note(self, principal: Principal, action: str, detail: dict[str, object]) -> None:
        await self.audit.note(
            actor=f"{principal.kind.value}:{principal.name}",
            action=action,
            subject="patient",
            outcome="ok",
            detail=detail,
        )
