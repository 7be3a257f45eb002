"""`asepsis device wipe` on the device, `asepsis devices retire` at the hub: the end of a device."""

import contextlib
import ssl
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.device import app
from asepsis.cli.devices import app as devices_app
from asepsis.cli.devices import people
from asepsis.cli.output import console, show_facts, show_json
from asepsis.core.errors import ConfigError, Conflict
from asepsis.core.trust import wipe_receipt
from asepsis.core.trust.wipe_receipt import RECEIPT_BYTES_MAX, Wiped
from asepsis.edge.device.wipe import FILLED, METHOD, TECHNIQUE, Order, Outcome, Plan, plan, wipe
from asepsis.edge.uplink.files import write_durably
from asepsis.edge.uplink.folder import IdentityFolder

EXIT_FOUND: Final = 2
EXIT_UNCHANGED: Final = 1
_BY_MAX: Final = 100


@app.command(name="wipe")
def wipe_(
    *,
    folder: Annotated[Path, Parameter(help="Folder made by `asepsis enrol device`.")],
    receipt: Annotated[Path, Parameter(help="New file for the signed receipt, outside of it.")],
    by: Annotated[str, Parameter(help="Person who does it; stands in the receipt.")],
    medium: Annotated[
        Path | None,
        Parameter(help="Block device or file below the file system: searched before and after."),
    ] = None,
    fill: Annotated[
        bool, Parameter(help="Overwrite free space too; the file system must be the device's own.")
    ] = False,
    dry_run: Annotated[
        bool, Parameter(help="Say what would be destroyed, and do nothing.")
    ] = False,
    yes: Annotated[bool, Parameter(help="Do not ask again.")] = False,
    json: Annotated[bool, Parameter(help="One JSON object.")] = False,
) -> int:
    """Destroy keys and data of a device at the end of its use, for good, and give a receipt.

    The device must be stopped. Keys go first: with them the sealed spool is unreadable. With
    --medium every byte below the file system is searched: before, where the keys must be found, and
    after, where nothing may be. Then take the receipt to the hub: `asepsis devices retire`.

    The exit code is 0 if it is wiped, 1 if nothing was changed, 2 if the search still found
    something.
    """
    identity = IdentityFolder(folder.resolve())
    found = plan(identity)
    if not by.isprintable() or not 1 <= len(by) <= _BY_MAX:
        raise ConfigError(f"--by is a name of 1 to {_BY_MAX} printable characters")
    if dry_run:
        _show_plan(found, fill=fill, medium=medium, json=json)
        return 0
    _check_receipt(receipt, identity.path)
    if not yes:
        _show_plan(found, fill=fill, medium=medium, json=False)
        wanted = found.device or "wipe"
        if console.input(f"Type {wanted} to destroy this for good: ").strip() != wanted:
            console.print("nothing was changed")
            return EXIT_UNCHANGED
    order = Order(medium=medium, fill=fill, by=by, tool=f"asepsis {version('asepsis')}", now=_now)
    outcome = wipe(identity, order=order, say=_say_nothing if json else console.print)
    if outcome.receipt is not None:
        write_durably(receipt, outcome.receipt, mode=0o644)
    _show_outcome(outcome, receipt, json=json)
    return EXIT_FOUND if outcome.facts["search"].get("found_after") else 0


@devices_app.command
def retire(
    receipt: Annotated[Path, Parameter(help="What `asepsis device wipe` wrote.")],
    /,
    *,
    yes: Annotated[bool, Parameter(help="Do not ask again.")] = False,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """Verify the receipt of a wiped device against this hospital's root, and revoke the device.

    The receipt is the device's own word, signed by its origin key: it says which device was wiped
    and what was searched. Its digest goes into the audit log as the reason of the revocation.
    """
    ca = data / "ca"
    try:
        with receipt.open("rb") as file:
            raw = file.read(RECEIPT_BYTES_MAX + 1)
        root, issuing = (
            ssl.PEM_cert_to_DER_cert((ca / name).read_text("ascii"))
            for name in ("root.crt", "issuing.crt")
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read {receipt} and the certificates in {ca}",
            hint="run this on the hub, or name its data folder by --data",
        ) from error
    wiped = wipe_receipt.verify(raw, root_der=root, between=[issuing])
    if not json:
        _show_receipt(wiped)
    if not yes and console.input("Type the word 'revoke' to go on: ").strip() != "revoke":
        console.print("nothing was changed")
        return EXIT_UNCHANGED
    searched = "searched" if wiped.clean else "not verified by a search"
    reason = f"wiped {wiped.begun[:19]}, {searched}; receipt {wiped.digest}"
    with contextlib.closing(people(data)) as client:
        outcome = client.revoke(wiped.device, reason=reason, confirm=True)
    if json:
        show_json({"device": wiped.device, "receipt": dict(wiped.statement), "revoked": outcome})
    else:
        console.print(f"{wiped.device} is revoked", soft_wrap=True)
    return 0


def _say_nothing(_text: str) -> None:
    """A script reads the outcome, not the steps."""


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")


def _check_receipt(receipt: Path, folder: Path) -> None:
    where = receipt.resolve()
    if where.is_relative_to(folder):
        raise ConfigError("the receipt would be destroyed too", hint="write it somewhere else")
    if receipt.exists():
        raise Conflict(f"{receipt} is there already")
    if not where.parent.is_dir():
        raise ConfigError(f"no folder {where.parent} for the receipt")


def _show_plan(found: Plan, *, fill: bool, medium: Path | None, json: bool) -> None:
    facts = {
        "device": found.device or "not known: an earlier wipe was cut off",
        "keys": [str(path) for path in found.keys],
        "other files": len(found.files),
        "bytes": found.total_bytes,
        "method": METHOD,
        "technique": TECHNIQUE + (FILLED if fill else ""),
        "search": str(medium) if medium else "none; the receipt will say so",
        "signed receipt": "yes" if found.signs else "no: the origin key is gone",
    }
    if json:
        show_json({**facts, "destroyed": False})
    else:
        show_facts("Would destroy", {**facts, "keys": " ".join(path.name for path in found.keys)})


def _show_outcome(outcome: Outcome, receipt: Path, *, json: bool) -> None:
    signed = outcome.receipt is not None
    if json:
        show_json({**outcome.facts, "receipt": str(receipt) if signed else None})
        return
    search = outcome.facts["search"]
    after = search.get("found_after")
    result = "not searched" if after is None else f"{len(after)} of {outcome.facts['patterns']}"
    show_facts(
        "Wiped",
        {
            "device": outcome.facts["device"] or "not known",
            "method": outcome.facts["method"],
            "not claimed": outcome.facts["not_claimed"],
            "found afterwards": result,
            "receipt": str(receipt) if signed else "none: the origin key was gone already",
        },
    )


def _show_receipt(wiped: Wiped) -> None:
    said = {name: str(wiped.statement.get(name, ""))[:300] for name in ("method", "by", "ended")}
    searched = "whole medium, nothing found" if wiped.clean else "NOT VERIFIED by a search"
    facts = {"device": wiped.device, "begun": wiped.begun[:40], **said, "search": searched}
    show_facts("Receipt", facts)
