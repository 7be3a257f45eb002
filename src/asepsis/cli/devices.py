"""`asepsis devices`: see what is enrolled, and revoke."""

import json as json_module
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import Unavailable
from asepsis.tools.compliance import ComplianceClient
from asepsis.tools.people import PeopleClient

app: Final = App(name="devices", help="See what is enrolled, and revoke.")
SourceKind = Literal["adt", "merge", "worklist", "pcim"]
COLUMNS: Final = ("name", "kind", "model", "signs", "state", "compliance")


@app.command(name="list")
def list_devices(*, data: Data = DATA, json: bool = False) -> None:
    """Show every device, gateway and consumer that the hub knows."""
    client = people(data)
    found = ComplianceClient(client).beside(client.devices())
    if json:
        show_json(found)
        return
    show_table("Devices", COLUMNS, [_row(one) for one in found])


@app.command
def show(name: str, *, data: Data = DATA, json: bool = False) -> None:
    """Show one device."""
    client = people(data)
    (found,) = ComplianceClient(client).beside([client.device(name)])
    if json:
        show_json(found)
        return
    show_facts(name, dict(zip(COLUMNS[1:], _row(found)[1:], strict=True)))


@app.command
def revoke(
    name: str,
    *,
    reason: Annotated[str, Parameter(help="Why; goes into the audit log.")],
    yes: Annotated[bool, Parameter(help="Do not ask again.")] = False,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """End every certificate, renewal and token of an identity and close its streams at once.

    Without --yes it first says what would end, and asks.
    """
    client = people(data)
    preview = client.revoke(name, reason=reason, confirm=False)
    if not yes:
        device = preview["device"]
        show_facts(
            f"Revoking {name}",
            {
                "what it is": f"{device['kind']}, {device['model']}",
                "state": _state(device),
                "ends at once": "every certificate, renewal and token of this name",
                "connections closed": preview["would_close"],
            },
        )
        if console.input("Type the word 'revoke' to go on: ").strip() != "revoke":
            console.print("nothing was changed")
            return 1
    outcome = client.revoke(name, reason=reason, confirm=True)
    if json:
        show_json(outcome)
    else:
        console.print(f"{name} is revoked")
    return 0


@app.command
def declare(
    gateway: Annotated[str, Parameter(help="Which gateway.")],
    devices: Annotated[list[str], Parameter(help="Whom it may speak for.")],
    *,
    observed: Annotated[
        bool,
        Parameter(
            help="The gateway itself ends the devices' own connections, "
            "each network peer bound to one device by its policy."
        ),
    ] = False,
    days: Annotated[int, Parameter(help="How long, 1 to 1096.")] = 365,
    partner: Annotated[str, Parameter(help="The other gateway of a pair.")] = "",
    interface: Annotated[str, Parameter(help="Family or listener, for people.")] = "",
    message_type: Annotated[
        list[str] | None,
        Parameter(help="ORU^R01, ORU^*, fhir, alert, waveform, dicom; repeat. All by default."),
    ] = None,
    address: Annotated[str, Parameter(help="Address or network of the devices.")] = "",
    port: Annotated[int, Parameter(help="Port that they come to.")] = 0,
    vlan: Annotated[int, Parameter(help="VLAN of their segment.")] = 0,
    tls_key: Annotated[str, Parameter(help="SHA-256 of their public key, hexadecimal.")] = "",
    period: Annotated[
        int,
        Parameter(
            help="Seconds between two reports of a device, 1 to 300: silence counts 5 s later. "
            "By default after 10 s."
        ),
    ] = 0,
    data: Data = DATA,
) -> None:
    """Let a gateway speak for devices that have no certificate of their own.

    What the network shows later is compared with --address, --port, --vlan and --tls-key: where it
    differs, values count as claimed, not observed, until somebody declares the devices anew.
    """
    evidence = "observed" if observed else "claimed"
    network = {"address": address, "port": port, "vlan": vlan, "tls_key_sha256": tls_key}
    people(data).declare(
        gateway,
        devices,
        days=days,
        evidence=evidence,
        partner=partner,
        interface=interface,
        message_types=message_type or [],
        network=network,
        period_s=period,
    )
    console.print(f"{gateway} speaks for {len(devices)} more devices, evidence {evidence}")


@app.command
def source(
    gateway: Annotated[str, Parameter(help="Which gateway.")],
    kind: Annotated[SourceKind, Parameter(help="adt, merge, worklist or pcim.")],
    *,
    days: Annotated[int, Parameter(help="How long, 1 to 1096.")] = 365,
    partner: Annotated[str, Parameter(help="The other gateway of a pair.")] = "",
    end: Annotated[bool, Parameter(help="It is no such source any more.")] = False,
    data: Data = DATA,
) -> None:
    """Name a gateway as a source of what concerns every patient: ADT, merges, worklists.

    A message of these kinds from any other gateway is refused and audited.
    """
    if end:
        people(data).withdraw_source(gateway, kind)
        console.print(f"{gateway} is no source of {kind} any more")
        return
    people(data).name_source(gateway, kind, days=days, partner=partner)
    console.print(f"{gateway} is a source of {kind} for {days} days")


@app.command
def delegations(*, data: Data = DATA, json: bool = False) -> None:
    """Show who may speak for whom until when, and whether the network still shows it so."""
    found = people(data).get("/api/delegations")
    if json:
        show_json(found)
        return
    rows = [
        (
            line["holder"],
            line["device"],
            line["interface"],
            " ".join(line["message_types"]) or "all",
            "CHANGED" if line["changed_at_ns"] else line["evidence"],
            moment(line["expires_at_ns"]),
            line["person"],
        )
        for line in found["delegations"]
    ]
    columns = ("gateway", "device", "interface", "types", "evidence", "until", "declared by")
    show_table("Delegations", columns, rows)
    named = [(s["holder"], s["kind"], moment(s["expires_at_ns"])) for s in found["sources"]]
    show_table("Sources", ("gateway", "of", "until"), named)


@app.command
def withdraw(
    gateway: Annotated[str, Parameter(help="Which gateway.")],
    devices: Annotated[list[str], Parameter(help="Whom it may no longer speak for.")],
    *,
    data: Data = DATA,
) -> None:
    """Take devices from a gateway's declared list; it counts at its next request."""
    people(data).withdraw(gateway, devices)
    console.print(f"{gateway} speaks for {len(devices)} fewer devices")


def people(data: Path, *, token: Path | None = None) -> PeopleClient:
    """Return a client for the hub that runs in a data folder.

    Args:
        data: Its folder.
        token: File with a person's token; by default its administrator's.

    Raises:
        Unavailable: No hub runs there.
        ConfigError: The token or the root cannot be read.
    """
    try:
        ready = json_module.loads((data / "run" / "ready.json").read_text("utf-8"))
    except OSError as error:
        raise Unavailable(
            f"no hub runs in {data}", hint=f"start it: asepsis hub --data {data}"
        ) from error
    address = ready["listeners"]["people"]
    return PeopleClient(
        f"https://{address['host']}:{address['port']}",
        root_path=data / "ca" / "root.crt",
        token_path=token or data / "hub" / "admin.token",
    )


def _row(device: Mapping[str, Any]) -> list[str]:
    signs = "yes" if device["origin_key"] else "no"
    words = [device["name"], device["kind"], device["model"], signs, _state(device)]
    return [*words, device["compliance"]]


def _state(device: Mapping[str, Any]) -> str:
    if device["revoked_at_ns"]:
        return f"revoked {moment(device['revoked_at_ns'])}"
    if not device["expires_at_ns"]:
        return "listed"
    return f"enrolled, certificate until {moment(device['expires_at_ns'])}"


def moment(ns: int) -> str:
    """Return a time as people read it."""
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"
