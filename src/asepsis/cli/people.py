"""`asepsis people`: who may sign in to the console, and as what."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import people as client_of
from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import AsepsisError, InputError

app: Final = App(name="people", help="Accounts of the console: who may sign in, and as what.")
COLUMNS: Final = ("name", "roles", "password", "sessions", "tokens", "second factor")
PASSWORD_CHARS_MAX: Final = 1_024
TOKEN_DAYS: Final = 90
_ROLES: Final = "administrator, clinical-engineer, security, clinician or viewer; may be repeated."

Roles = Annotated[list[str], Parameter(name="--role", help=_ROLES)]
Stdin = Annotated[bool, Parameter(help="Read the password from standard input, one line.")]


@app.command(name="list")
def list_people(*, data: Data = DATA, json: bool = False) -> None:
    """Show every account."""
    found = client_of(data).people()
    if json:
        show_json(found)
        return
    rows = [
        (
            each["name"],
            ", ".join(each["roles"]),
            "set" if each["password"] else "none",
            each["sessions"],
            each["tokens"],
            "set" if each["second_factor"] else "none",
        )
        for each in found
    ]
    show_table("People", COLUMNS, rows)


@app.command
def add(name: str, *, role: Roles, password_stdin: Stdin = False, data: Data = DATA) -> None:
    """Add an account and give it a password."""
    password = _read_password(stdin=password_stdin)
    client = client_of(data)
    client.add_person(name, roles=role)
    try:
        client.set_password(name, password=password)
    except InputError:
        client.remove_person(name)  # Nobody is left behind who cannot sign in.
        raise
    console.print(f"{name} can sign in", markup=False)


@app.command
def roles(name: str, *, role: Roles, data: Data = DATA) -> None:
    """Replace the roles of an account; its streams end at once."""
    client_of(data).set_roles(name, roles=role)
    console.print(f"{name} has the roles {', '.join(role)}", markup=False)


@app.command
def password(name: str, *, password_stdin: Stdin = False, data: Data = DATA) -> None:
    """Give an account another password; its sessions end at once."""
    new = _read_password(stdin=password_stdin)
    client_of(data).set_password(name, password=new)
    console.print(f"{name} has a new password", markup=False)


@app.command
def token(
    name: str,
    *,
    out: Annotated[Path, Parameter(help="New file for the token, readable by its owner only.")],
    days: Annotated[int, Parameter(help="How long it is good.")] = TOKEN_DAYS,
    data: Data = DATA,
) -> None:
    """Give an account a token for commands and scripts, such as `asepsis ward --token FILE`."""
    try:
        # Made first: a token that nobody could keep is not issued at all.
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(
            f"{out}: {error.strerror}", hint="name a file that is not there"
        ) from error
    try:
        issued = client_of(data).issue_token(name, days=days)
    except AsepsisError:
        os.close(file)
        out.unlink()
        raise
    with os.fdopen(file, "w", encoding="ascii") as stream:
        stream.write(issued + "\n")
    console.print(f"{out} holds a token of {name}, good for {days} days", markup=False)


@app.command(name="end-second-factor")
def end_second_factor(name: str, *, data: Data = DATA) -> None:
    """Take away the second factor of somebody who lost it; it stands in the audit log.

    The account can look as before. Its owner enrols another authenticator at /account before it
    approves anything or moves a campaign in the console.
    """
    client_of(data).end_second_factor(name)
    console.print(f"{name} has no second factor now", markup=False)


@app.command
def remove(name: str, *, data: Data = DATA) -> None:
    """Remove an account with its password, tokens and sessions; its streams end at once."""
    client_of(data).remove_person(name)
    console.print(f"{name} is removed", markup=False)


def _read_password(*, stdin: bool) -> str:
    """Ask twice, or read one line where a script gives it.

    Raises:
        InputError: The two differ, or there is none.
    """
    if stdin:
        given = sys.stdin.readline(PASSWORD_CHARS_MAX).rstrip("\n")
    else:
        given = console.input("Password: ", password=True)
        if console.input("Again: ", password=True) != given:
            raise InputError("the two passwords differ")
    if not given:
        raise InputError("no password was given", hint="see --password-stdin")
    return given
