"""`asepsis signer`: the key-holding process, and what only a person may ask of it."""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import InputError
from asepsis.hub.keyholder import separation, signer_command
from asepsis.hub.keys import AdminClient
from asepsis.tools.release import keys

app: Final = App(name="signer", help="The key-holding process, and what only a person may ask.")
SOCKET: Final = Path("run") / "signer-admin.sock"
T = TypeVar("T")


@app.default
def signer(*, data: Data = DATA) -> None:
    """Run the signer by itself, for example under systemd; else `asepsis hub` starts it.

    Set `signer.start = false` in hub.toml then.
    """
    command = signer_command("serve", data=data.resolve(), who=separation(data))
    # Replaces this process: the signer loads none of what the commands need.
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and module


@app.command
def status(*, data: Data = DATA, json: bool = False) -> None:
    """Show how the keys are kept and what was issued."""
    found = ask(data, lambda admin: admin.status())
    facts = {
        "separation": found.separation,
        "keys": found.key_storage,
        "certificates": found.certificates,
        "names": found.names_bound,
        "revoked": found.names_revoked,
        "expected": found.expected,
        "refusals": found.refusals,
        "alarms": found.alarms,
    }
    show_json(facts) if json else show_facts("Signer", facts)


@app.command
def alarms(*, after: int = 0, data: Data = DATA, json: bool = False) -> None:
    """Show what the signer found alarming, oldest first."""
    found = ask(data, lambda admin: admin.alarms(after=after))
    rows = [(a.number, a.code, a.name, a.text) for a in found]
    if json:
        show_json([dict(zip(("number", "code", "name", "text"), r, strict=True)) for r in rows])
        return
    show_table("Alarms", ("number", "code", "name", "text"), rows)


@app.command
def release(name: str, *, data: Data = DATA) -> None:
    """Let a revoked name be listed again; its old certificates stay revoked for ever."""
    ask(data, lambda admin: admin.release(name))
    console.print(f"{name} may be listed again: asepsis enrol expect {name}", soft_wrap=True)


@app.command
def trust_maker(
    certificate: Annotated[Path, Parameter(help="The maker's CA certificate, PEM or DER.")],
    *,
    data: Data = DATA,
) -> None:
    """Trust a maker's CA for initial device identifiers (IDevID).

    A device still enrols only if its serial number is listed with `asepsis enrol expect`.
    """
    der = _certificate(certificate)
    ask(data, lambda admin: admin.trust_maker(der))
    console.print("trusted for listed serial numbers")


@app.command
def distrust_maker(fingerprint: str, *, data: Data = DATA) -> None:
    """Stop trusting a maker's CA, named by the SHA-256 of its certificate in hex."""
    try:
        raw = bytes.fromhex(fingerprint.replace(":", ""))
    except ValueError as error:
        raise InputError("a fingerprint is 64 hex digits") from error
    ask(data, lambda admin: admin.distrust_maker(raw))
    console.print("not trusted any more")


@app.command
def director_key(
    file: Annotated[Path, Parameter(help="New file for the public key, PEM.")],
    /,
    *,
    data: Data = DATA,
) -> None:
    """Write the director's public key, for the root that the hospital keeps offline.

    Next: `asepsis release init FOLDER --director --online FILE --root ... --approver ...`
    """
    keys.write_public(file, ask(data, lambda admin: admin.authorities()).director_der)
    console.print(f"{file}", markup=False, soft_wrap=True)


def ask(data: Path, question: Callable[[AdminClient], Awaitable[T]]) -> T:
    """Ask one question on the operator's socket.

    Raises:
        Unavailable: No signer runs there.
        AsepsisError: The signer refuses.
    """

    async def once() -> T:
        admin = AdminClient(data / SOCKET)
        try:
            return await question(admin)
        finally:
            await admin.close()

    return asyncio.run(once())


def _certificate(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return ssl.PEM_cert_to_DER_cert(raw.decode("ascii")) if b"-----BEGIN" in raw else raw
    except (OSError, ValueError) as error:
        raise InputError(f"{path} holds no certificate") from error
