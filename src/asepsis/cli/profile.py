"""`asepsis profile`: what a device model declares about what it sends, and who keeps to it."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import people
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.compliance.certificate import CERTIFICATE_BYTES_MAX
from asepsis.core.compliance.fields import name_of
from asepsis.core.compliance.learn import Learner
from asepsis.core.compliance.profile import BINDING, Profile
from asepsis.core.compliance.verdict import Severity
from asepsis.core.errors import InputError
from asepsis.tools.compliance import ComplianceClient
from asepsis.tools.conformance.certificate import read_bytes
from asepsis.tools.profile_files import Judged, bodies_of, judge_files, load_profile

app: Final = App(
    name="profile",
    help="Say what a device model declares about what it sends, and see who keeps to it.",
)
EXIT_HELD: Final = 1
EXIT_BLOCKED: Final = 2
Token = Annotated[
    Path | None, Parameter(help="File with a person's token; by default the administrator's.")
]
Certificate = Annotated[
    Path | None, Parameter(help="Certificate of conformance, as `asepsis conform certify` made it.")
]


@app.command
def check(
    profile: Annotated[
        Path, Parameter(help="The profile, TOML; `none` for what everybody must keep.")
    ],
    files: Annotated[list[Path], Parameter(help="Messages, bundles, objects, folders, captures.")],
    /,
    *,
    warnings: Annotated[bool, Parameter(help="Show what only warns, too.")] = False,
    json: bool = False,
) -> int:
    """Judge files against a profile, offline; nothing is sent or changed.

    The exit code is 0 if charts may have everything, 1 if something would be held back from them,
    2 if something would be refused. HL7 v2, FHIR (JSON) and DICOM by the profile's interface.
    """
    against = BINDING if str(profile) == "none" else load_profile(profile)
    judged = list(judge_files(against, files))
    if json:
        show_json(_document(against, judged))
    else:
        _show(against, judged, floor=Severity.WARN if warnings else Severity.QUARANTINE)
    worst = {one.verdict.severity for one in judged}
    if Severity.BLOCK in worst:
        return EXIT_BLOCKED
    return EXIT_HELD if Severity.QUARANTINE in worst else 0


@app.command
def learn(
    name: Annotated[str, Parameter(help="Name of the proposed profile, such as acme-m3.")],
    files: Annotated[list[Path] | None, Parameter(help="Messages, folders or captures.")] = None,
    /,
    *,
    device: Annotated[str | None, Parameter(help="Learn from what it sent to the hub.")] = None,
    messages: Annotated[int, Parameter(help="How many of its newest messages.")] = 1_000,
    model: Annotated[list[str] | None, Parameter(help="Model that the profile is for.")] = None,
    output: Annotated[Path | None, Parameter(help="Where to; by default to the screen.")] = None,
    token: Token = None,
    data: Data = DATA,
) -> None:
    """Propose a profile from HL7 v2 messages, a packet capture, or a device at the hub.

    What was seen is no declaration: the proposal has no ranges, warns instead of holding back, and
    says in comments how often each thing was seen. Complete it from the manual.
    """
    if bool(files) == bool(device):
        raise InputError("learn from files, or from --device; not both")
    if device:
        with client(data, token) as here:
            text = here.learn(device, name=name, messages=messages)
    else:
        learner = Learner()
        for _, body in bodies_of(files or ()):
            learner.take(body)
        source = f"learned from {learner.messages} messages"
        text = learner.propose(name=name, models=tuple(model or ()), source=source)
    if output is None:
        console.print(text, end="", markup=False, soft_wrap=True)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"cannot write {output}", hint="it may be there already") from error
    console.print(f"proposed profile is in {output}; read it before you add it")


@app.command(name="list")
def list_profiles(*, token: Token = None, data: Data = DATA, json: bool = False) -> None:
    """Show the profiles of the hub, what was decided for whom, and how devices stand."""
    with client(data, token) as here:
        profiles, state = here.profiles(), here.state()
    if json:
        show_json({"profiles": profiles, **state})
        return
    columns = ("name", "version", "interface", "models", "metrics", "source")
    show_table("Profiles", columns, [_line(one, columns) for one in profiles])
    decided = ("subject", "interface", "profile", "version", "person", "lapsed")
    show_table("Decided", decided, [_line(one, decided) for one in state["admissions"]])
    seen = ("device", "profile", "unverified", "findings")
    show_table("Devices, from a sample", seen, [_line(one, seen) for one in state["devices"]])


@app.command
def show(
    name: str, /, *, version: int = 0, token: Token = None, data: Data = DATA, json: bool = False
) -> None:
    """Show a profile of the hub as it was written; the newest, or a version."""
    with client(data, token) as here:
        found = here.profile(name, version=version)
    if json:
        show_json(found)
        return
    console.print(found["document"], end="", markup=False, soft_wrap=True)


@app.command
def add(profile: Path, /, *, token: Token = None, data: Data = DATA) -> None:
    """Give a profile to the hub; it judges nobody until it is decided with `admit`."""
    document = load_profile(profile)
    with client(data, token) as here:
        here.add(profile.read_text(encoding="utf-8"))
    console.print(f"{document.title} is kept; decide it with `asepsis profile admit`")


@app.command
def admit(
    subject: Annotated[str, Parameter(help="A device's name, or a model as it is listed.")],
    profile: Annotated[str, Parameter(help="Name of the profile.")],
    /,
    *,
    version: Annotated[int, Parameter(help="Its version; 0 is the newest.")] = 0,
    conformant_days: Annotated[
        int | None, Parameter(help="How long its certificate of conformance on paper holds.")
    ] = None,
    certificate: Certificate = None,
    dry_run: Annotated[bool, Parameter(help="Only say what would be decided.")] = False,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Decide, at commissioning, which profile judges a device or a model.

    A profile may ask for a signed certificate of conformance, and names who may sign it. One that
    lapses later opens a work item; it never cuts data.
    """
    brought = certificate_text(certificate)
    with client(data, token) as here:
        version = version or here.profile(profile)["version"]
        if dry_run:
            console.print(f"{subject} would be judged by {profile} v{version}", markup=False)
            return
        made = here.admit(
            subject,
            profile=profile,
            version=version,
            conformant_days=conformant_days,
            certificate=brought,
        )
    if json:
        show_json(made)
        return
    console.print(f"{subject} is judged by {profile} v{version} from now", markup=False)


@app.command
def withdraw(
    subject: str,
    /,
    *,
    interface: Annotated[str, Parameter(help="hl7v2, fhir, adp or dicom.")] = "hl7v2",
    token: Token = None,
    data: Data = DATA,
) -> None:
    """End what was decided: patient, unit and clock are judged as for everybody."""
    with client(data, token) as here:
        here.withdraw(subject, interface=interface)
    console.print(f"nothing is decided for {subject} on {interface} now", markup=False)


def certificate_text(file: Path | None) -> str:
    """Return a certificate of conformance as it was written; "" without a file.

    Raises:
        ConfigError: It cannot be read or is too long.
        InputError: It is no text.
    """
    if file is None:
        return ""
    try:
        return read_bytes(file, most=CERTIFICATE_BYTES_MAX).decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no certificate of conformance") from error


@contextmanager
def client(data: Path, token: Path | None) -> Generator[ComplianceClient]:
    """Open a client for the hub that runs in a data folder; errors as `devices.people`."""
    with closing(people(data, token=token)) as here:
        yield ComplianceClient(here)


def _line(found: dict[str, Any], columns: tuple[str, ...]) -> list[object]:
    return [_cell(found[column]) for column in columns]


def _cell(value: Any) -> object:
    if isinstance(value, list):
        return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())  # pyright: ignore[reportUnknownVariableType]
    return value


def _show(profile: Profile, judged: list[Judged], *, floor: Severity) -> None:
    rows = [
        (one.name, found.severity.word, str(found.rule), found.where, name_of(found.where),
         found.reason)
        for one in judged
        for found in one.verdict.findings
        if found.severity >= floor
    ]  # fmt: skip
    if rows:
        columns = ("file", "severity", "rule", "where", "field", "what")
        show_table(f"Against {profile.title}", columns, rows)
    show_facts("Verdict", _counts(judged))


def _counts(judged: list[Judged]) -> dict[str, int]:
    severities = [one.verdict.severity or Severity.WARN for one in judged]
    return {
        "judged": len(judged),
        "charts_may_have": severities.count(Severity.WARN),
        "held_back": severities.count(Severity.QUARANTINE),
        "refused": severities.count(Severity.BLOCK),
    }


def _document(profile: Profile, judged: list[Judged]) -> dict[str, Any]:
    return {
        "profile": profile.name,
        "version": profile.version,
        **_counts(judged),
        "verdicts": [
            {
                "name": one.name,
                "severity": one.verdict.severity.word if one.verdict.severity else None,
                "unverified": one.verdict.unverified,
                "findings": [
                    {
                        "rule": found.rule.value,
                        "severity": found.severity.word,
                        "where": found.where,
                        "field": name_of(found.where),
                        "reason": found.reason,
                    }
                    for found in one.verdict.findings
                ],
                "left_out": one.verdict.left_out,
            }
            for one in judged
        ],
    }
