"""Assigns artefacts to devices and has it signed; nothing is signed that a device would refuse.

What is assigned stands in the state with a number that rises with each change. What is signed says
of which number it is, so two hubs that act at once end with what both of them wanted: whoever
signs an older state is told by the number, and it is signed again.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection

from asepsis.core.errors import AsepsisError, IssuanceRefused, NotFound, NotPermitted
from asepsis.core.trust import answers
from asepsis.core.trust.director import DAYS, SETS_MAX, TARGETS_MAX, Assigned, DirectorSet
from asepsis.core.trust.metadata.directing import files
from asepsis.hub.fleet.director import records
from asepsis.hub.fleet.director.records import Said, Wanted
from asepsis.hub.fleet.ports import Fit, Refused, ReleaseFacts, Releases
from asepsis.hub.store.leases import Lease, check_held
from asepsis.hub.store.store import Store

TASK: Final = "director"
EVERY_S: Final = 30.0
GROUP: Final = 500
"""Devices whose assignments change in one transaction."""
PAGE: Final = 512
"""Devices that are signed before what was signed is written."""
RENEW_NS: Final = DAYS["timestamp"] * 86_400 * 10**9 // 2
"""Age at which metadata is signed anew: half of its life is left for hubs that are down."""


class DirectorSigner(Protocol):
    """The signer, as far as the director asks it."""

    async def sign_director(self, *sets: DirectorSet) -> answers.DirectorSigned:
        """Have signed what devices are to have, at most `SETS_MAX` at a time."""
        ...


Spans = Mapping[tuple[str, str], tuple[tuple[int, int], ...]]
"""By device and artefact: when it may be installed, seconds since 1970."""


class Opening(Protocol):
    """Says when devices may install what they are assigned."""

    def __call__(self, connection: Connection, devices: Sequence[str], *, now_ns: int) -> Spans:
        """Return it; what is not in it may be installed at any time."""
        ...


def _always(connection: Connection, devices: Sequence[str], *, now_ns: int) -> Spans:  # noqa: ARG001
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorService:
    """Belongs to one event loop; see `fleet.ports.Director`.

    Attributes:
        store: Where it all stands.
        signer: Has the director key.
        releases: What may be rolled out.
        admit: Raises `NotFound` for who is not enrolled, or is revoked.
        opening: Says when devices may install what they are assigned.
    """

    store: Store
    signer: DirectorSigner
    releases: Releases
    admit: Callable[[str], object]
    opening: Opening = _always

    async def assign(self, sha256: str, devices: Sequence[str]) -> Mapping[str, Refused]:
        """See `fleet.ports.Director.assign`."""
        wanted = await self.releases.release(sha256)
        refused: dict[str, Refused] = {}
        for start in range(0, len(devices), GROUP):
            group = devices[start : start + GROUP]
            fits = await self.releases.fit(group)
            good = [name for name in group if not self._refuse(name, fits, wanted, refused)]
            full = await self._put(good, wanted)
            refused |= dict.fromkeys(full, _refusal(_full()))
            refused |= await self._sign([name for name in good if name not in full])
        return refused

    async def clear(self, devices: Sequence[str], *, component: str | None = None) -> None:
        """See `fleet.ports.Director.clear`."""
        for start in range(0, len(devices), GROUP):
            group = devices[start : start + GROUP]

            def work(connection: Connection, group: Sequence[str] = group) -> list[str]:
                return [name for name in group if records.clear(connection, name, component)]

            await self._sign(await self.store.write(work))

    async def assigned(self, device: str) -> Sequence[str]:
        """See `fleet.ports.Director.assigned`."""
        found = await self.store.read(lambda c: records.assigned(c, device))
        return [found[component] for component in sorted(found)]

    async def file(self, device: str, name: str) -> bytes:
        """Return a file of what is said to a device; if nothing is yet, it is signed now.

        Raises:
            NotFound: No such file, or the device is not listed for updates.
            Unavailable: The signer does not answer.
        """
        found = await self.store.read(lambda c: records.read(c, device))
        if found is None or not found[0]:
            await self._begin(device, known=found is not None)
            found = await self.store.read(lambda c: records.read(c, device))
        content = json.loads(found[1]).get(name) if found else None
        if not isinstance(content, str):
            raise NotFound("the director says nothing of that name to this device")
        return content.encode("ascii")

    async def renew(self, lease: Lease) -> None:
        """Sign everything anew that is behind its assignments, or half-way to its end."""
        after = ""
        while True:
            now_ns, begin = self.store.clock(), after

            def look(connection: Connection, now_ns: int = now_ns, begin: str = begin) -> list[str]:
                check_held(connection, lease)
                return records.due(connection, now_ns=now_ns, limit=PAGE, after=begin)

            names = await self.store.read(look)
            if not names:
                return
            after = names[-1]
            await self._sign(names)

    async def status(self) -> dict[str, int]:
        """Return to how many devices the director speaks, and for how many it is behind."""
        every, behind = await self.store.read(records.counts)
        return {"devices": every, "behind": behind}

    def _refuse(
        self,
        device: str,
        fits: Mapping[str, Fit],
        wanted: ReleaseFacts,
        refused: dict[str, Refused],
    ) -> bool:
        try:
            self.admit(device)
            fit = fits.get(device)
            if fit is None:
                raise NotFound(
                    "nobody listed the device for updates", hint="asepsis release list-device"
                )
            if fit.model not in wanted.models or fit.model != wanted.model:
                raise NotPermitted(f"the release is not for model {fit.model}")
        except AsepsisError as error:
            refused[device] = _refusal(error)
            return True
        return False

    async def _put(self, devices: Sequence[str], wanted: ReleaseFacts) -> set[str]:
        """Note what is assigned; returns who has too much assigned already."""
        now_ns = self.store.clock()

        def work(connection: Connection) -> set[str]:
            full: set[str] = set()
            for name in devices:
                present = records.assigned(connection, name)
                if wanted.component not in present and len(present) >= TARGETS_MAX:
                    full.add(name)
                    continue
                records.assign(connection, name, wanted.component, wanted.sha256, now_ns=now_ns)
            return full

        return await self.store.write(work)

    async def _begin(self, device: str, *, known: bool) -> None:
        self.admit(device)
        if device not in await self.releases.fit([device]):
            raise NotFound("nobody listed the device for updates")
        if not known:
            await self.store.write(lambda c: records.stir(c, device))
        await self._sign([device])

    async def _sign(self, devices: Sequence[str]) -> dict[str, Refused]:
        """Have the present state of devices signed and kept; returns whom the signer refused."""
        if not devices:
            return {}
        now_ns = self.store.clock()
        states, spans = await self.store.read(
            lambda c: (records.wanted(c, devices), self.opening(c, devices, now_ns=now_ns))
        )
        fits = await self.releases.fit([one.device for one in states])
        ready = {one.sha256: one for one in await self.releases.eligible()}
        sets = [
            (one, _set(one, fits[one.device], ready, spans)) for one in states if one.device in fits
        ]
        refused: dict[str, Refused] = {}
        groups = (sets[start : start + SETS_MAX] for start in range(0, len(sets), SETS_MAX))
        # The signer answers one after the other; meanwhile the answers before are made files.
        signed = await asyncio.gather(*(self._sign_group(group, refused) for group in groups))
        said = [one for group in signed for one in group]
        await self.store.write(lambda c: records.keep(c, said))
        return refused

    async def _sign_group(
        self, group: Sequence[tuple[Wanted, DirectorSet]], refused: dict[str, Refused]
    ) -> list[Said]:
        """Have a group signed; one that the signer does not know spoils nothing for the others."""
        try:
            signed = await self.signer.sign_director(*(one for _, one in group))
        except IssuanceRefused as error:
            if len(group) == 1:
                refused[group[0][0].device] = _refusal(error)
                return []
            return [said for one in group for said in await self._sign_group([one], refused)]
        renew_ns = self.store.clock() + RENEW_NS
        return [
            Said(
                device=wanted.device,
                revision=wanted.revision,
                version=signed.version,
                renew_ns=renew_ns,
                files=_text(files(signed, place)),
            )
            for place, (wanted, _) in enumerate(group)
        ]


def _set(wanted: Wanted, fit: Fit, ready: Mapping[str, ReleaseFacts], spans: Spans) -> DirectorSet:
    """Return what is signed for a device; what may not be rolled out any more is left out."""
    found = [ready[sha256] for sha256 in wanted.artefacts.values() if sha256 in ready]
    return DirectorSet(
        device=wanted.device,
        hardware=fit.hardware,
        targets=tuple(
            Assigned(
                path=one.path,
                length=one.length,
                sha256=one.sha256,
                vendor=one.vendor,
                authorisation=one.authorisation,
                windows=spans.get((wanted.device, one.sha256), ()),
            )
            for one in found
        ),
    )


def _text(content: Mapping[str, bytes]) -> str:
    return json.dumps({name: value.decode("ascii") for name, value in content.items()})


def _full() -> AsepsisError:
    return NotPermitted(f"the device has {TARGETS_MAX} artefacts assigned")


def _refusal(error: AsepsisError) -> Refused:
    return Refused(code=error.code, why=str(error))
