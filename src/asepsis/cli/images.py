"""`asepsis images`: what the hub holds until archives have it, and what it set apart."""

import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import people
from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import InputError
from asepsis.core.mapping import dicom_protection
from asepsis.core.trust.envelope import open_envelope, read_key, read_recipient, seal_envelope

app: Final = App(
    name="images",
    help="See what images the hub holds until archives have them; take patients out of objects.",
)
SECRET_BYTES_MIN: Final = 32
_NS: Final = 1_000_000_000


@app.command(name="list")
def list_images(*, data: Data = DATA, json: bool = False) -> None:
    """Show the studies that are held, the newest first."""
    found: list[dict[str, Any]] = people(data).get("/api/images")["studies"]
    if json:
        show_json(found)
        return
    rows = [
        (
            one["study"],
            one["device"],
            one["instances"],
            one["accepted"],
            _megabytes(one["bytes"]),
            _time(one["received_at_ns"]),
        )
        for one in found
    ]
    columns = ("study", "device", "instances", "at the archive", "MB", "last came")
    show_table("Images held", columns, rows)


@app.command
def show(
    study: Annotated[str, Parameter(help="Study Instance UID.")],
    /,
    *,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Show the instances of one study."""
    found: list[dict[str, Any]] = people(data).get(f"/api/images/{study}")["instances"]
    if json:
        show_json(found)
        return
    rows = [
        (
            one["instance"],
            one["calling_ae"],
            _megabytes(one["bytes"]),
            _time(one["received_at_ns"]),
            _time(one["accepted_at_ns"]) if one["accepted_at_ns"] else "not yet",
        )
        for one in found
    ]
    show_table(study, ("instance", "from AE", "MB", "came", "at the archive"), rows)


@app.command
def protect(
    source: Annotated[Path, Parameter(help="DICOM file.")],
    target: Annotated[Path, Parameter(help="New file, without the patient.")],
    /,
    *,
    secret_file: Annotated[
        Path,
        Parameter(help="At least 32 random bytes: the same file keeps a study's objects together."),
    ],
    certificate: Annotated[
        list[Path] | None,
        Parameter(help="PEM of who may open what was taken away; repeat. Else it is gone."),
    ] = None,
) -> None:
    """Take the patient out of an object (PS3.15 Basic Profile and more), offline.

    Text that is burned into pixels stays. With --certificate the patient travels along, sealed by
    CMS with AES-256; GDCM's `gdcmanon -d` opens it too.
    """
    secret = _bytes_of(secret_file)
    if len(secret) < SECRET_BYTES_MIN:
        raise InputError(f"{secret_file} holds fewer than {SECRET_BYTES_MIN} bytes")
    recipients = [read_recipient(_bytes_of(path)) for path in certificate or ()]
    seal = partial(seal_envelope, recipients=recipients) if recipients else None
    _write_new(target, dicom_protection.protect(_bytes_of(source), secret=secret, seal=seal))
    console.print(f"{target}: without the patient, sealed for {len(recipients)} recipients")


@app.command
def reveal(
    source: Annotated[Path, Parameter(help="Protected DICOM file.")],
    target: Annotated[Path, Parameter(help="New file, with the patient.")],
    /,
    *,
    key: Annotated[Path, Parameter(help="PEM of the recipient's RSA key.")],
    certificate: Annotated[Path, Parameter(help="PEM of its certificate.")],
    passphrase_file: Annotated[Path | None, Parameter(help="Passphrase of the key.")] = None,
) -> None:
    """Give a protected object its patient again, offline; also one that `gdcmanon -e` made."""
    passphrase = _bytes_of(passphrase_file).strip() if passphrase_file else None
    opener = partial(
        open_envelope,
        certificate=read_recipient(_bytes_of(certificate)),
        key=read_key(_bytes_of(key), passphrase=passphrase),
    )
    _write_new(target, dicom_protection.reveal(_bytes_of(source), open_sealed=opener))
    console.print(f"{target}: with the patient again")


@app.command
def quarantine(*, data: Data = DATA, json: bool = False) -> None:
    """Show what was refused and set apart, and why; the reasons stand in the reference."""
    found: list[dict[str, Any]] = people(data).get("/api/quarantined-images")["objects"]
    if json:
        show_json(found)
        return
    rows = [
        (
            one["id"],
            one["reason"],
            one["device"],
            one["calling_ae"],
            _megabytes(one["bytes"]),
            _time(one["at_ns"]),
        )
        for one in found
    ]
    show_table("Images set apart", ("id", "reason", "device", "from AE", "MB", "came"), rows)
    if found:
        console.print("What each reason means: docs/reference/imaging.md")


@app.command
def release(
    number: Annotated[int, Parameter(help="As `asepsis images quarantine` shows it.")],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why it may go; stands in the audit log.")],
    token: Annotated[Path | None, Parameter(help="Token of a clinical engineer.")] = None,
    data: Data = DATA,
) -> None:
    """Take an object out of quarantine that a policy set apart; archives get it then.

    What was refused for what it is (a program, lies about lengths or UIDs) is never released.
    """
    path = f"/api/quarantined-images/{number}/release"
    found = people(data, token=token).post(path, {"reason": reason})
    console.print(f"{found['instance']} is held now", soft_wrap=True)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _write_new(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _megabytes(byte_count: int) -> str:
    return f"{byte_count / 1e6:,.2f}"


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / _NS, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
