"""What is assigned and what is signed of it, on both databases, with two hubs at once."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.errors import IssuanceRefused, NotFound, NotPermitted
from asepsis.core.trust.answers import DirectorSigned, SignedSet
from asepsis.core.trust.director import TARGETS_MAX, DirectorSet, payloads
from asepsis.hub.fleet.director.service import RENEW_NS, DirectorService
from asepsis.hub.fleet.ports import Fit, ReleaseFacts
from asepsis.hub.fleet.releases import records
from asepsis.hub.fleet.releases.records import Listed
from asepsis.hub.store.leases import acquire
from asepsis.hub.store.store import Store

DEVICES = [f"urn:dev:mac:{n:016x}" for n in range(1, 21)]
UDI = "https://id.gs1.org/01/09506000134352/21/A7"
HOW = ec.ECDSA(hashes.SHA256())


def facts(number: int, component: str = "network", model: str = "m5") -> ReleaseFacts:
    return ReleaseFacts(
        sha256=f"{number:064x}",
        vendor="acme",
        path=f"{model}/{component}-{number}.img",
        length=9,
        model=model,
        models=(model,),
        component=component,
        version=f"1.{number}",
        counter=number,
        floor=0,
        reboot="component",
        authorisation=f"{number + 1000:064x}",
        not_before_ns=0,
        expires_ns=2**62,
        document="d" * 64,
        out_of_cycle=False,
        clinical_states=("standby",),
        acceptance=False,
        run_s=60,
        rollback_s=60,
    )


@dataclass
class Desk:
    """A director key of the test's, signing what the signer signs; it never knew the last device.

    The signer as a process is tried in `tests/system/releases`.
    """

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    version: int = 0
    stranger: str = ""

    async def sign_director(self, *sets: DirectorSet) -> DirectorSigned:
        if self.stranger in [one.device for one in sets]:
            raise IssuanceRefused("the director speaks to enrolled devices only")
        self.version += 1
        version = self.version
        await asyncio.sleep(0)
        made = [payloads(one, version=version, now_ns=10**18) for one in sets]
        return DirectorSigned(
            version=version,
            key_der=self.key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            sets=tuple(
                SignedSet(
                    targets=one.targets,
                    snapshot=one.snapshot,
                    timestamp=one.timestamp,
                    signatures=(
                        self.key.sign(one.targets, HOW),
                        self.key.sign(one.snapshot, HOW),
                        self.key.sign(one.timestamp, HOW),
                    ),
                )
                for one in made
            ),
        )


@dataclass
class Shelf:
    """Releases that may be rolled out."""

    store: Store
    ready: dict[str, ReleaseFacts]

    async def eligible(self, *, model: str | None = None) -> Sequence[ReleaseFacts]:
        return [one for one in self.ready.values() if model in (None, one.model)]

    async def release(self, sha256: str) -> ReleaseFacts:
        if sha256 not in self.ready:
            raise NotPermitted("not approved")
        return self.ready[sha256]

    async def fit(self, devices: Sequence[str]) -> Mapping[str, Fit]:
        found = await self.store.read(lambda c: records.read_fits(c, devices))
        return {
            name: Fit(device=name, model=one.model, hardware=one.hardware)
            for name, one in found.items()
        }


def admit(device: str) -> None:
    if device == DEVICES[-1]:
        raise NotFound("the device is revoked")


def director(store: Store, desk: Desk, *ready: ReleaseFacts) -> DirectorService:
    shelf = Shelf(store, {one.sha256: one for one in ready})
    return DirectorService(store=store, signer=desk, releases=shelf, admit=admit)


def listed(store: Store) -> None:
    wanted = [
        Listed(device=name, model="m5", hardware="m5-b", person="anna", listed_ns=1)
        for name in (*DEVICES[1:], UDI)
    ]
    with store.unit_of_work() as connection:
        records.put_fits(connection, wanted)


def said(service: DirectorService, device: str) -> tuple[int, list[str]]:
    """Return version and paths of what the director says to a device."""

    async def read() -> tuple[int, list[str]]:
        stamp = json.loads(await service.file(device, "timestamp.json"))["signed"]
        targets = await service.file(device, f"{stamp['version']}.targets.json")
        return stamp["version"], sorted(json.loads(targets)["signed"]["targets"])

    return asyncio.run(read())


def test_what_is_assigned_is_served_and_refusals_are_named(store: Store) -> None:
    listed(store)
    desk, first = Desk(stranger=DEVICES[5]), facts(1)
    service = director(store, desk, first)
    refused = asyncio.run(service.assign(first.sha256, [*DEVICES, UDI]))
    assert set(refused) == {DEVICES[0], DEVICES[5], DEVICES[-1]}
    assert "listed" in refused[DEVICES[0]].why
    assert refused[DEVICES[5]].code == IssuanceRefused.code
    assert said(service, DEVICES[1])[1] == [first.path]
    assert said(service, UDI)[1] == [first.path]
    assert asyncio.run(service.assigned(UDI)) == [first.sha256]
    with pytest.raises(NotFound):
        asyncio.run(service.file(DEVICES[1], "9.targets.json"))
    with pytest.raises(NotPermitted):
        asyncio.run(service.assign("f" * 64, DEVICES))
    asyncio.run(service.clear([UDI], component="vitals"))
    assert said(service, UDI)[1] == [first.path]
    asyncio.run(service.clear([UDI]))
    assert said(service, UDI)[1] == []


def test_repeating_changes_nothing_and_replacing_keeps_the_others(store: Store) -> None:
    listed(store)
    one, two, other = facts(1), facts(2), facts(3, "display")
    service = director(store, Desk(), one, two, other)
    device = DEVICES[2]
    for wanted in (one, other):
        asyncio.run(service.assign(wanted.sha256, [device]))
    before = asyncio.run(service.assigned(device))
    asyncio.run(service.assign(one.sha256, [device]))
    assert asyncio.run(service.assigned(device)) == before
    asyncio.run(service.assign(two.sha256, [device]))
    assert said(service, device)[1] == sorted([two.path, other.path])
    many = [facts(10 + n, f"part-{n}") for n in range(TARGETS_MAX)]
    full = director(store, Desk(version=99), *many)
    refusals = [asyncio.run(full.assign(each.sha256, [device])) for each in many]
    assert sum(device in refused for refused in refusals) == 2
    wrong = director(store, Desk(), facts(7, model="m6"))
    assert device in asyncio.run(wrong.assign(facts(7).sha256, [device]))


def test_two_hubs_at_once_lose_nothing(open_store: Callable[[], Store], store: Store) -> None:
    """Goal: whichever signs last, the device finds what both wanted, and versions only rise."""
    listed(store)
    desk, one, two = Desk(), facts(1), facts(2, "display")
    hubs = [director(store, desk, one, two), director(open_store(), desk, one, two)]

    async def race() -> None:
        await asyncio.gather(
            hubs[0].assign(one.sha256, DEVICES[1:9]), hubs[1].assign(two.sha256, DEVICES[1:9])
        )

    asyncio.run(race())
    for device in DEVICES[1:9]:
        before, paths = said(hubs[0], device)
        assert paths == sorted([one.path, two.path])
        asyncio.run(hubs[1].clear([device], component="display"))
        after, paths = said(hubs[0], device)
        assert paths == [one.path]
        assert after > before


def test_what_is_half_way_to_its_end_is_signed_anew(store: Store) -> None:
    """Goal: and what may not be rolled out any more is left out of it."""
    listed(store)
    desk, one = Desk(), facts(1)
    service = director(store, desk, one)
    asyncio.run(service.assign(one.sha256, DEVICES[1:4]))
    before = said(service, DEVICES[1])[0]
    later = store.clock() + RENEW_NS
    with store.unit_of_work() as connection:
        lease = acquire(connection, "director", holder="a", now_ns=later)
    assert lease is not None
    asyncio.run(service.renew(lease))
    assert said(service, DEVICES[1])[0] == before
    store.clock.advance_s(RENEW_NS / 1e9)  # type: ignore[attr-defined]
    empty = director(store, desk)
    asyncio.run(empty.renew(lease))
    version, paths = said(empty, DEVICES[1])
    assert version > before
    assert paths == []
    assert asyncio.run(empty.status()) == {"devices": 3, "behind": 0}
