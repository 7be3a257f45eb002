"""`asepsis bundle`: signed updates in one file, for devices that no network reaches."""

import hashlib
import ssl
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.output import show_facts, show_json, show_table
from asepsis.core.errors import AsepsisError, ConfigError, InputError
from asepsis.core.trust import bundle, libcrypto, libcrypto_x509
from asepsis.core.trust.bundle import Receipt
from asepsis.edge.device.update import place
from asepsis.edge.device.update.bundle import BundleFetcher, Claim, read_index
from asepsis.edge.device.update.starting import verify
from asepsis.edge.device.update.talk import Kind
from asepsis.edge.uplink.files import read_state, write_durably
from asepsis.tools.bundle.making import DAYS_MAX, Device, Sources, Wanted
from asepsis.tools.bundle.making import make as make_bundle
from asepsis.tools.release import keys

FILE_BYTES_MAX: Final = 1 << 20
DATE: Final = "%Y-%m-%d"
app: Final = App(
    name="bundle", help="Carry signed updates to devices in one file, and their receipts back."
)


@app.command
def make(
    into: Annotated[Path, Parameter(help="New file.")],
    /,
    *,
    device: Annotated[
        list[str],
        Parameter(help="NAME=HARDWARE or NAME=HARDWARE=VERSION of what the hub told it; repeat."),
    ],
    target: Annotated[
        list[str], Parameter(help="VENDOR=PATH=AUTHORISATION of an approved release; repeat.")
    ],
    vendor: Annotated[
        list[str], Parameter(help="NAME=FOLDER of a vendor's published repository; repeat.")
    ],
    offline: Annotated[Path, Parameter(help="Published roots of the offline role.")],
    key: Annotated[list[str], Parameter(help="Key of the offline role; repeat for more.")],
    passphrase_file: Annotated[
        Path | None, Parameter(help="File whose first line opens encrypted key files.")
    ] = None,
    days: Annotated[int, Parameter(help=f"How long it counts, 1 to {DAYS_MAX}.")] = 7,
    counter: Annotated[
        int | None, Parameter(help="Its number, above every one before; default: by the clock.")
    ] = None,
    document: Annotated[
        list[Path] | None, Parameter(help="Further file for people; repeat for more.")
    ] = None,
    json: bool = False,
) -> None:
    """Make a bundle: releases that both parties approved, for exactly these devices.

    Run it where the keys of the offline role are; it needs no network. What devices would refuse
    is not made.
    """
    passphrase = keys.read_passphrase(passphrase_file)
    now = datetime.fromtimestamp(int(time.time()), UTC)
    sources = Sources(
        offline=offline,
        vendors=dict(_vendor(one) for one in vendor),
        signers=[keys.signer(one, passphrase=passphrase) for one in key],
        documents=document or (),
    )
    name = make_bundle(
        into,
        devices=[_device(one) for one in device],
        wanted=[_wanted(one) for one in target],
        sources=sources,
        counter=int(now.timestamp()) if counter is None else counter,
        days=days,
        now=now,
    )
    said = {"bundle": name, "file": str(into), "devices": len(device), "days": days}
    show_json(said) if json else show_facts("Bundle", said)


@app.command
def inspect(
    path: Annotated[Path, Parameter(help="The bundle.")],
    /,
    *,
    device: Annotated[str | None, Parameter(help="Say what it claims for this device.")] = None,
    json: bool = False,
) -> None:
    """Say what a bundle holds and whether it is damaged. Only `apply` judges signatures."""
    index = read_index(path)
    damaged: list[str] = []
    with path.open("rb") as file:
        file.seek(index.begin)
        for member in index.members:
            digest, left = hashlib.sha256(), member.length
            while left and (part := file.read(min(left, 1 << 20))):
                digest.update(part)
                left -= len(part)
            if digest.hexdigest() != member.sha256:
                damaged.append(member.name)
    said: dict[str, Any] = {
        "bundle": index.digest.hex(),
        "devices": len({m.name.split("/")[1] for m in index.members if m.name[:8] == "devices/"}),
        "damaged": damaged,
    }
    if device is not None:
        said |= _shown(_fetcher(path, device, path.parent).claim())
    if json:
        files = [{"name": m.name, "length": m.length, "sha256": m.sha256} for m in index.members]
        show_json(said | {"files": files})
        return
    show_table("Files", ("name", "bytes"), [(m.name, m.length) for m in index.members])
    show_facts("Bundle", said)


@app.command
def apply(
    path: Annotated[Path, Parameter(help="The bundle.")],
    /,
    *,
    folder: Annotated[Path, Parameter(help="Update folder of the device.")],
    device: Annotated[str, Parameter(help="Name of the device.")],
    hardware: Annotated[str, Parameter(help="Its hardware id.")],
    model: Annotated[str, Parameter(help="Its model.")],
    vendor: Annotated[list[str], Parameter(help="Vendors of its image; repeat for more.")],
    clock: Annotated[
        Path | None, Parameter(help="The device's `time.json`: no time before it is believed.")
    ] = None,
    trusted_time: Annotated[
        bool,
        Parameter(negative="", help="The clock was set by an authenticated source since boot."),
    ] = False,
    confirm_date: Annotated[
        str | None,
        Parameter(help="Today as YYYY-MM-DD, by a person at a device without trusted time."),
    ] = None,
    origin_key: Annotated[
        Path | None, Parameter(help="The device's origin key: signs the receipt.")
    ] = None,
    receipt: Annotated[Path | None, Parameter(help="New file for the receipt.")] = None,
    json: bool = False,
) -> None:
    """Judge a bundle on the device by the verifier that judges what comes online; runs there.

    What is accepted waits in the update folder like everything else: the device still decides the
    moment. Without --trusted-time it asks for the date: a person at the device compares the one
    that `asepsis bundle inspect --device NAME` shows with today and says --confirm-date.
    """
    fetcher = _fetcher(path, device, folder)
    claim = fetcher.claim()
    now_s = _now_s(claim, trusted=trusted_time, confirm_date=confirm_date, clock=clock)
    order = {
        "folder": str(folder.resolve()),
        "own": {"device": device, "hardware": hardware, "model": model},
        "vendors": list(vendor),
        "now_s": max(now_s, claim.prepared_s),
        "offline": True,
    }
    with tempfile.TemporaryDirectory(prefix="asepsis-bundle-") as incoming:
        order["incoming"] = incoming
        found = verify(order, _fetcher(path, device, Path(incoming)), kind=Kind.ASSIGNMENTS)
    releases = place.accepted(folder) if found.get("done") else []
    if receipt is not None:
        said = Receipt(
            bundle=fetcher.index.digest,
            device=device,
            counter=claim.counter,
            at_ns=now_s * 10**9,
            taken=bool(found.get("done")),
            releases=tuple(bytes.fromhex(one["sha256"]) for one in releases),
            reason=str(found.get("why", ""))[:200],
        )
        _write_receipt(said, origin_key, receipt)
    if not found.get("done"):
        raise AsepsisError(f"refused, {found.get('code')}: {found.get('why')}")
    taken = [{"path": one["path"], "sha256": one["sha256"]} for one in releases]
    if json:
        show_json({"accepted": taken})
    else:
        show_table("Accepted", ("path", "SHA-256"), [(one["path"], one["sha256"]) for one in taken])


@app.command
def reconcile(
    receipts: Annotated[list[Path], Parameter(help="Receipts as they came back.")],
    /,
    *,
    origin: Annotated[
        list[str], Parameter(help="NAME=CERTIFICATE of a device's origin key; repeat for more.")
    ],
    bundle_file: Annotated[
        Path | None, Parameter(name="--bundle", help="The bundle that they must be of.")
    ] = None,
    json: bool = False,
) -> None:
    """Verify receipts by the devices' origin keys, and say which device took what.

    Keep the receipts: the hub has no place for them yet.
    """
    known = dict(_origin(one) for one in origin)
    wanted = None if bundle_file is None else read_index(bundle_file).digest
    rows: list[dict[str, Any]] = []
    for path in receipts:
        content = _read(path)
        claimed = bundle.peek_receipt(content)
        if claimed.device not in known:
            raise InputError(f"nobody named the origin key of {claimed.device}")
        found = bundle.read_receipt(content, spki_der=known[claimed.device])
        if wanted is not None and found.bundle != wanted:
            raise InputError(f"{path} is the receipt of another bundle")
        rows.append(
            {
                "device": found.device,
                "bundle": found.bundle.hex(),
                "taken": found.taken,
                "releases": [one.hex() for one in found.releases],
                "at": f"{datetime.fromtimestamp(found.at_ns // 10**9, UTC):{DATE} %H:%M}",
                "reason": found.reason,
            }
        )
    if json:
        show_json(rows)
        return
    shown = [(r["device"], "yes" if r["taken"] else "no", r["at"], r["reason"]) for r in rows]
    show_table("Receipts", ("device", "taken", "when (UTC)", "why not"), shown)


def _fetcher(path: Path, device: str, incoming: Path) -> BundleFetcher:
    return BundleFetcher(
        repositories={},
        incoming=incoming,
        now_s=time.monotonic,
        path=path,
        index=read_index(path),
        device=device,
    )


def _shown(claim: Claim) -> dict[str, Any]:
    def day(seconds: int) -> str:
        return f"{datetime.fromtimestamp(seconds, UTC):{DATE}}"

    return {
        "counter": claim.counter,
        "prepared": day(claim.prepared_s),
        "ends": day(claim.ends_s),
    }


def _now_s(claim: Claim, *, trusted: bool, confirm_date: str | None, clock: Path | None) -> int:
    """Return the time that a bundle is judged by; errors as `bundle.moment`."""
    trusted_s, floor_s = int(time.time()) if trusted else None, _floor_s(clock)
    # By whole days where a person says the date: nobody types the second.
    return bundle.moment(
        trusted_s=trusted_s,
        confirmed_s=None if confirm_date is None else _date_s(confirm_date),
        floor_s=floor_s if trusted else _day_of(floor_s),
        prepared_s=claim.prepared_s if trusted else _day_of(claim.prepared_s),
        ends_s=claim.ends_s,
    )


def _floor_s(clock: Path | None) -> int:
    return 0 if clock is None else int(read_state(clock).get("floor_ns", 0)) // 10**9


def _day_of(seconds: int) -> int:
    return seconds - seconds % 86_400


def _date_s(text: str) -> int:
    """Return the begin of a day; a device that knows no hour judges by whole days."""
    try:
        return int(datetime.strptime(text, DATE).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise InputError(f"{text} is no date", hint="--confirm-date 2026-11-23") from error


def _write_receipt(said: Receipt, origin_key: Path | None, into: Path) -> None:
    if origin_key is None:
        raise ConfigError("a receipt is signed by the device", hint="--origin-key FILE")
    write_durably(into, bundle.sign_receipt(said, libcrypto.read_key(origin_key)), mode=0o644)


def _split(said: str, parts: Sequence[int], hint: str) -> list[str]:
    found = said.split("=")
    if len(found) not in parts or not all(found):
        raise InputError(f"{said} is not understood", hint=hint)
    return found


def _device(said: str) -> Device:
    found = _split(said, (2, 3), "--device NAME=HARDWARE[=VERSION]")
    after = found[2] if len(found) > 2 else "0"
    if not after.isdecimal():
        raise InputError(f"{after} is no version", hint="--device NAME=HARDWARE=VERSION")
    return Device(name=found[0], hardware=found[1], after=int(after))


def _wanted(said: str) -> Wanted:
    vendor, path, place_ = _split(said, (3,), "--target VENDOR=MODEL/FILE=approved.json")
    return Wanted(vendor=vendor, path=path, authorisation=_read(Path(place_)))


def _vendor(said: str) -> tuple[str, Path]:
    name, place_ = _split(said, (2,), "--vendor NAME=FOLDER/public")
    return name, Path(place_)


def _origin(said: str) -> tuple[str, bytes]:
    name, place_ = _split(said, (2,), "--origin NAME=origin.pem")
    try:
        der = ssl.PEM_cert_to_DER_cert(_read(Path(place_)).decode("ascii", "replace"))
    except ValueError as error:
        raise InputError(f"{place_} holds no certificate") from error
    return name, libcrypto_x509.read_certificate(der).spki_der


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}") from error
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{path} is too long")
    return content
