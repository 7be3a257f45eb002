"""`asepsis conform`: try a hub or a device against ADP/1, and vouch for what came out."""

import contextlib
import shlex
import ssl
import tempfile
import time
from collections.abc import Generator, Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from rich.text import Text

from asepsis.cli.output import console, show_facts, show_json
from asepsis.core.compliance.certificate import CERTIFICATE_BYTES_MAX, verify
from asepsis.core.errors import ConfigError
from asepsis.core.trust import libcrypto
from asepsis.tools.conformance import unseen
from asepsis.tools.conformance.bench import HubBench
from asepsis.tools.conformance.certificate import (
    DAYS_DEFAULT,
    REPORT_BYTES_MAX,
    certify,
    read_bytes,
)
from asepsis.tools.conformance.checks import Outcome, Result
from asepsis.tools.conformance.device_checks import DEVICE_CHECKS
from asepsis.tools.conformance.device_trial import try_device
from asepsis.tools.conformance.own_hub import own_hub
from asepsis.tools.conformance.plan import ROLES, HubPlan, read_plan
from asepsis.tools.conformance.report import Report, write_reports
from asepsis.tools.conformance.run import run
from asepsis.tools.conformance.suite import HUB_CHECKS

app: Final = App(name="conform", help="Try a hub or a device against ADP/1 from outside.")
EXIT_FAILED: Final = 1
KEY_BYTES_MAX: Final = 8_192
Out = Annotated[Path, Parameter(help="Folder for report.json, report.junit.xml and report.html.")]
Tested = Annotated[str, Parameter(help="What is tried: maker, model and version.")]
Only = Annotated[list[str] | None, Parameter(help="Requirement to try, as REQ-TLS-002; repeat.")]
_STYLES: Final = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.NOT_SHOWN: "yellow"}


@app.command
def hub(
    *,
    plan: Annotated[
        Path | None, Parameter(help="Addresses and tokens; `conform plan` shows one.")
    ] = None,
    tested: Tested = "",
    only: Only = None,
    out: Out = Path("conformance"),
    json: bool = False,
) -> int:
    """Try a hub. Without a plan a hub of our own is started for the run, on loopback.

    The suite brings identities of its own and revokes one of them. It writes alarm conditions and
    values under their names, so a hub that serves patients is not the place for it.
    """
    at = _now()
    with tempfile.TemporaryDirectory(prefix="asepsis-conform-") as made:
        folder = Path(made)
        folder.chmod(0o755)  # The hub runs as a user of its own where this one is root.
        with _plan(plan, folder) as found:
            bench = HubBench(found, folder / "identities")
            try:
                bench.open()
                bench.stay_silent()
                results = _show(run(bench, HUB_CHECKS, only=frozenset(only or ())), quiet=json)
            finally:
                bench.close()
    tested = tested or ("a hub" if plan else f"Asepsis hub {version('asepsis')}")
    return _finish(
        Report(
            subject="hub",
            tested=tested,
            suite=version("asepsis"),
            at=at,
            results=results,
            unseen={**unseen.HUB, **unseen.SECTIONS_LEFT_OUT},
            whole=not only,
        ),
        out,
        json=json,
    )


@app.command
def device(
    command: Annotated[str, Parameter(help="How the device is started, as one word for a shell.")],
    /,
    *,
    tested: Tested = "a device",
    only: Only = None,
    out: Out = Path("conformance"),
    json: bool = False,
) -> int:
    """Try a device against a hub of our own on loopback; takes about a minute.

    The device is a program with two commands, in any language:

    PROGRAM enrol --name URI --hub HOST --clinical-port N --enrolment-port N --token-file FILE
    --folder FOLDER, which ends with 0 once it is enrolled, and PROGRAM run --folder FOLDER, which
    measures and sends until SIGTERM. It is enrolled, loses its hub and gets it back, is restarted,
    and meets an impostor of its hub.
    """
    at = _now()
    if not json:
        console.print("The trial takes about a minute.")
    with tempfile.TemporaryDirectory(prefix="asepsis-conform-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        seen = try_device(shlex.split(command), folder)
        results = _show(run(seen, DEVICE_CHECKS, only=frozenset(only or ())), quiet=json)
    return _finish(
        Report(
            subject="device",
            tested=tested,
            suite=version("asepsis"),
            at=at,
            results=results,
            unseen={**unseen.DEVICE, **unseen.SECTIONS_LEFT_OUT},
            whole=not only,
        ),
        out,
        json=json,
    )


@app.command(name="plan")
def show_plan() -> None:
    """Print a plan to fill in, with the identities that a person lists at the hub first."""
    lines = ['host = "hub.example"', "clinical = 8443", "enrolment = 8444", "people = 8445"]
    lines += ["# On the gateway's declared list, without a certificate of its own."]
    lines += ['legacy = "urn:dev:mac:02..............00"']
    lines += ["# Token of a person who may revoke; without it nothing is revoked."]
    lines += ['admin_token_file = ""']
    for role, meaning in ROLES.items():
        lines += ["", f"# {meaning}", f"[identities.{role}]", 'name = ""', 'token = ""']
    console.print("\n".join(lines), markup=False, soft_wrap=True)


@app.command(name="certify")
def certify_report(
    report: Annotated[Path, Parameter(help="report.json of a run.")],
    /,
    *,
    key: Annotated[Path, Parameter(help="P-256 key of whoever vouches, PEM (PKCS#8).")],
    out: Annotated[Path, Parameter(help="The certificate.")] = Path("conformance.cert.json"),
    days: Annotated[int, Parameter(help="How long it counts.")] = DAYS_DEFAULT,
) -> None:
    """Sign a certificate of conformance for a report in which nothing failed."""
    made = certify(
        read_bytes(report, most=REPORT_BYTES_MAX),
        libcrypto.read_key(key),
        now=_moment(),
        days=days,
    )
    try:
        out.write_bytes(made)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}") from error
    console.print(f"{out}", soft_wrap=True)


@app.command(name="verify")
def verify_certificate(
    certificate: Annotated[Path, Parameter(help="A certificate of conformance.")],
    /,
    *,
    key: Annotated[Path, Parameter(help="Public key of the signer, PEM (SubjectPublicKeyInfo).")],
    report: Annotated[Path | None, Parameter(help="The report that it is about.")] = None,
    json: bool = False,
) -> None:
    """Check a certificate of conformance against the signer's key, offline."""
    pem = read_bytes(key, most=KEY_BYTES_MAX).decode("ascii", "replace")
    statement = verify(
        read_bytes(certificate, most=CERTIFICATE_BYTES_MAX),
        spki_der=_spki(pem),
        now=_moment(),
        report=read_bytes(report, most=REPORT_BYTES_MAX) if report else None,
    )
    names = ("subject", "tested", "standard", "suite", "report_sha256", "issued", "expires")
    facts = {name: str(getattr(statement, name)) for name in names}
    if json:
        show_json(facts)
        return
    show_facts("Certificate of conformance", facts)


def _spki(pem: str) -> bytes:
    """Return the DER of a public key.

    Raises:
        ConfigError: Not a PEM of a public key.
    """
    marks = "PUBLIC KEY", "CERTIFICATE"
    try:
        return ssl.PEM_cert_to_DER_cert(pem.strip().replace(*marks))
    except ValueError as error:
        raise ConfigError("not a public key in PEM") from error


@contextlib.contextmanager
def _plan(path: Path | None, folder: Path) -> Generator[HubPlan]:
    if path is not None:
        yield read_plan(path)
        return
    with own_hub(folder / "hub") as made:
        yield made


def _show(results: Iterable[Result], *, quiet: bool) -> list[Result]:
    """Print each result as it comes, and return all."""
    found: list[Result] = []
    for result in results:
        found.append(result)
        if not quiet:
            word = f"{result.outcome.value:9}"
            line = Text.assemble((word, _STYLES[result.outcome]), f" {result.requirement} ")
            console.print(line.append(result.title))
            if result.reason:
                console.print(Text(f"          {result.reason}"))
    return found


def _finish(report: Report, out: Path, *, json: bool) -> int:
    files = write_reports(report, out)
    if json:
        show_json(report.document())
    else:
        counts = ", ".join(f"{count} {name}" for name, count in report.counts().items())
        console.print(f"{report.tested}: {counts}; {len(report.unseen)} cannot be seen from here.")
        for file in files.values():
            console.print(f"  {file}", soft_wrap=True)
    failed = report.counts()[Outcome.FAIL]
    return EXIT_FAILED if failed or (report.whole and not report.conforms) else 0


def _now() -> str:
    return _moment().isoformat(timespec="seconds")


def _moment() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
