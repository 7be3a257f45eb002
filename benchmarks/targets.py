"""How fast a hub has its director metadata signed anew, by a real signer process.

Devices are enrolled at the signer as on a ward; the state is SQLite on disk; each has one release
assigned. Signing anew is asked for all of them until as many sets are signed as a fleet has.

    .venv/bin/python benchmarks/targets.py [--devices 320] [--sets 10000]
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, update

from _report import report
from asepsis.core.trust.identity import Profile
from asepsis.core.trust.metadata.directing import director_key
from asepsis.core.trust.metadata.library import (
    CryptoSigner,
    Metadata,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from asepsis.core.trust.requests import IssueRequest, TokenProof
from asepsis.core.trust.sealing import ColumnSealer, throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.signer_values import Expectation, Limits
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.fleet.director.service import DirectorService
from asepsis.hub.fleet.ports import Fit
from asepsis.hub.fleet.releases.service import ReleaseService
from asepsis.hub.fleet.releases.tables import directed
from asepsis.hub.initialise import InitOptions, initialise
from asepsis.hub.keyholder import Separation, SignerSettings, start_signer
from asepsis.hub.keys import AdminClient, SignerClient
from asepsis.hub.store.leases import acquire
from asepsis.hub.store.migrate import migrate
from asepsis.hub.store.store import Store
from asepsis.tools.release.approving import approve, propose, root_of
from asepsis.tools.release.upload import published
from asepsis.tools.testing.releases import MODEL, Hospital, Vendor

TARGET_S = 10.0
MANY = 100_000
PEER_SETS = 500


@dataclass
class Bench:
    """A signer, a state, and what stands on them."""

    signer: SignerClient
    admin: AdminClient
    store: Store
    releases: ReleaseService
    director: DirectorService
    folder: Path

    async def enrol(self, count: int) -> list[str]:
        """Enrol devices at the signer; returns their names."""
        limits = Limits(new_per_minute=MANY, new_per_hour=MANY)
        await self.admin.set_limits(limits)
        empty = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        names = [f"urn:dev:mac:{number:016x}" for number in range(1, count + 1)]
        for name in names:
            listed = Expectation(id="", name=name, profile="device")
            id_, secret, _ = (await self.admin.expect(listed)).token.split(".")
            proof = TokenProof(id=id_, secret=secret)
            key = ec.generate_private_key(ec.SECP256R1())
            request = empty.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
            await self.signer.issue(
                IssueRequest(csr_der=request, profile=Profile.DEVICE.value, proof=proof)
            )
        return names

    async def release(self, names: list[str]) -> None:
        """Bring one approved release and assign it to all."""
        vendor = Vendor(self.folder / "vendor", now=now(), name="acme")
        key = director_key((await self.signer.authorities()).director_der)
        hospital = Hospital(self.folder / "director", key, now=vendor.now)
        path = vendor.release(1)
        await self.releases.pin("acme", vendor.first_root, person="bench")
        for area, name, file in published(vendor.folder / "public"):
            await self.releases.bring("acme", area, name, pieces(file.read_bytes()))
        await self.releases.import_("acme", person="bench")
        await self.releases.put_root(hospital.first_root, person="bench")
        content = propose(vendor.repository, path, models=(), floor=0, days=30, now=vendor.now)
        for who, party in ((vendor, "vendor"), (hospital, "hospital")):
            root = root_of(who.first_root, party)
            content = approve(content, who.approver, root=root, party=party)
        found = await self.releases.approve(content, person="bench")
        fits = [Fit(device=name, model=MODEL, hardware="m5-rev-b") for name in names]
        for start in range(0, len(fits), 500):
            await self.releases.list_devices(fits[start : start + 500], person="bench")
        refused = await self.director.assign(found.published.sha256, names)
        if refused:
            raise SystemExit(f"refused: {next(iter(refused.values()))}")

    async def sign_anew(self, names: list[str], sets: int) -> float:
        """Sign everything anew until so many sets are signed; returns the seconds for them."""
        done, took_s = 0, 0.0
        while done < sets:
            await self.store.write(_age)
            lease = await self.store.write(
                lambda c: acquire(c, "director", holder="bench", now_ns=time.time_ns())
            )
            if lease is None:
                raise SystemExit("no lease")
            began_s = time.perf_counter()
            await self.director.renew(lease)
            took_s += time.perf_counter() - began_s
            done += len(names)
        return took_s * sets / done


def _age(connection: Connection) -> None:
    connection.execute(update(directed).values(renew_ns=0))


def now() -> datetime:
    """Return the present time, aware."""
    return datetime.now(UTC).replace(microsecond=0)


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """Yield a file as a request brings it."""
    yield content


def with_tuf(sets: int) -> float:
    """Return the seconds that python-tuf takes for the same three roles of so many devices."""
    key, ends = CryptoSigner.generate_ecdsa(), now() + timedelta(days=7)
    began_s = time.perf_counter()
    for number in range(sets):
        target = TargetFile(9, {"sha256": "0" * 64}, f"{MODEL}/vitals-1.img")
        target.unrecognized_fields["custom"] = {"asepsis": {"device": f"{number}"}}
        for signed in (
            Targets(expires=ends, targets={target.path: target}),
            Snapshot(expires=ends),
            Timestamp(expires=ends),
        ):
            metadata = Metadata(signed)
            metadata.sign(key)
            metadata.to_bytes()
    return time.perf_counter() - began_s


async def measure(folder: Path, data: Path, *, devices: int, sets: int) -> float:
    """Return the seconds that signing `sets` sets anew takes."""
    store = Store(
        f"sqlite:///{folder / 'state.db'}",
        ColumnSealer(throw_away_kek(), aead=CryptographyAead()),
        time.time_ns,
    )
    migrate(store)
    signer = SignerClient(data / "run" / "signer.sock")

    async def director_der() -> bytes:
        return (await signer.authorities()).director_der

    releases = ReleaseService(
        store=store,
        audit=AuditLog(time.time_ns),
        base=folder / "updates",
        director_der=director_der,
    )
    bench = Bench(
        signer,
        AdminClient(data / "run" / "signer-admin.sock"),
        store,
        releases,
        DirectorService(store=store, signer=signer, releases=releases, admit=lambda _name: None),
        folder,
    )
    try:
        names = await bench.enrol(devices)
        await bench.release(names)
        return await bench.sign_anew(names, sets)
    finally:
        await signer.close()
        await bench.admin.close()
        store.close()


def main() -> int:
    """Run; exit code 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=320)
    parser.add_argument("--sets", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="asepsis-targets-") as made:
        folder, data = Path(made), Path(made) / "hub"
        uid, gid = os.geteuid(), os.getegid()
        who = Separation(separated=False, hub_uid=uid, hub_gid=gid, signer_uid=uid, signer_gid=gid)
        names = ("localhost",)
        initialise(
            InitOptions(data=data, hospital="Bench", host_names=names), clock=time.time_ns, who=who
        )
        signer = start_signer(SignerSettings(data=data))
        try:
            took_s = asyncio.run(measure(folder, data, devices=given.devices, sets=given.sets))
        finally:
            signer.stop()
    print(f"{given.sets:,} director sets signed anew in {took_s:.1f} s")
    met = report(
        "targets",
        took_s * 10_000 / given.sets,
        unit="s for 10,000 devices signed anew",
        peer="python-tuf with the key in the same process, nothing stored",
        peer_value=with_tuf(PEER_SETS) * 10_000 / PEER_SETS,
        target=TARGET_S,
        higher_is_better=False,
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
