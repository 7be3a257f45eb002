"""Safety claims over a manifest: what must hold in every device, whatever its vendor writes. Pure.

A claim has an id for ever, a sentence for the security file, and a check on the manifest. The
SELinux policy carries the same claims as `neverallow` rules (`edge.sandbox.generate.selinux`), so a
policy that was changed by hand fails too. No manifest can take a claim away.

Source: IEC 62304 clause 5.3.5 (segregation); IEC 81001-5-1 clause 5.3.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import Compartment, Confirmation, Manifest, Rung

PATIENT_STATES: Final = frozenset(
    {ClinicalState.IN_USE, ClinicalState.ALARMING, ClinicalState.STANDBY}
)
"""States in which a patient is, or may be, attached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A claim that a manifest breaks.

    Attributes:
        claim: Id of the claim.
        path: Where in the manifest.
        text: How.
    """

    claim: str
    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Something that must hold.

    Attributes:
        id: For ever.
        sentence: What holds, for people.
        check: Yields path and text of every way in which a manifest breaks it.
    """

    id: str
    sentence: str
    check: Callable[[Manifest], Iterator[tuple[str, str]]]


def breaches(manifest: Manifest) -> tuple[Breach, ...]:
    """Return every broken claim."""
    return tuple(
        Breach(claim=claim.id, path=path, text=text)
        for claim in CLAIMS.values()
        for path, text in claim.check(manifest)
    )


def require_claims(manifest: Manifest) -> None:
    """Check that every safety claim holds.

    Raises:
        ConfigError: One does not; the message starts with its id.
    """
    broken = breaches(manifest)
    if broken:
        first = broken[0]
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise ConfigError(
            f"{first.claim}: {first.path}: {first.text}{more}", hint=CLAIMS[first.claim].sentence
        )


def reached_from_outside(manifest: Manifest) -> dict[str, str]:
    """Return who gets bytes that came from outside the device -> from whom it gets them.

    Directly, or over rings, lines and requests, through as many compartments as it takes. What a
    person confirmed at the device, or an operator signed, is not from outside.
    """
    found = {c.name: "outside" for c in manifest.compartments.values() if c.outward}
    waiting = list(found)
    while waiting:
        source = manifest.compartments[waiting.pop()]
        for target in manifest.compartments.values():
            if target.name not in found and _feeds(source, target, manifest):
                found[target.name] = source.name
                waiting.append(target.name)
    return found


def _feeds(source: Compartment, target: Compartment, manifest: Manifest) -> bool:
    asked = (manifest.requests[name] for name in source.requests)
    return bool(
        set(source.writes) & set(target.reads)
        or set(source.says) & set(target.hears)
        or any(q.to == target.name and q.confirmed_by is Confirmation.NOTHING for q in asked)
    )


def _ring_has_one_writer(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for name in manifest.rings:
        writers = [c.name for c in manifest.compartments.values() if name in c.writes]
        if len(writers) != 1:
            yield f"ring.{name}", f"it has {len(writers)} writers: {', '.join(writers) or 'nobody'}"
    for c in manifest.compartments.values():
        both = set(c.reads) & set(c.writes)
        if both:
            yield f"compartment.{c.name}.reads", f"it reads and writes {', '.join(sorted(both))}"


def _critical_hears_nothing_from_outside(manifest: Manifest) -> Iterator[tuple[str, str]]:
    if not manifest.critical:
        yield "compartment", "no compartment is critical: nothing is kept apart for the patient"
    reached = reached_from_outside(manifest)
    for c in manifest.critical:
        if c.name in reached:
            way = _way(c.name, reached)
            yield f"compartment.{c.name}", f"bytes from outside reach it: {way}"


def _way(name: str, reached: dict[str, str]) -> str:
    steps = [name]
    while steps[-1] in reached:
        steps.append(reached[steps[-1]])
    return " -> ".join(reversed(steps))


def _critical_hears_no_line(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for c in manifest.critical:
        if c.reads or c.hears:
            names = ", ".join((*c.reads, *c.hears))
            yield f"compartment.{c.name}", f"it reads {names} and could wait for it"


def _line_has_one_speaker(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for name, line in manifest.lines.items():
        speakers = [c.name for c in manifest.compartments.values() if name in c.says]
        hearers = [c.name for c in manifest.compartments.values() if name in c.hears]
        # Where one end is started on demand it may be missing; it is never there twice.
        ends = {(1, 1), (0, 1), (1, 0)} if line.on_demand else {(1, 1)}
        if (len(speakers), len(hearers)) not in ends:
            yield f"line.{name}", f"from {speakers or 'nobody'} to {hearers or 'nobody'}"
        if speakers == hearers:
            yield f"line.{name}", "it leads back to its speaker"


def _secrets_stay_inside(manifest: Manifest) -> Iterator[tuple[str, str]]:
    secret = {document.name for document in manifest.documents.values() if document.secret}
    holders: dict[str, list[str]] = {}
    for c in manifest.compartments.values():
        handed = [name for name in c.handed if name in secret]
        for name in sorted({*handed, *c.keeps}):
            holders.setdefault(name, []).append(c.name)
        if handed and (c.outward or c.folder):
            names = ", ".join(handed)
            yield f"compartment.{c.name}.handed", f"{names} could leave the device"
    for name, who in holders.items():
        if len(who) > 1:
            path = f"compartment.{who[-1]}.{'handed' if name in secret else 'keeps'}"
            yield path, f"{name} is no secret: {', '.join(who)} have it"


def _users_are_apart(manifest: Manifest) -> Iterator[tuple[str, str]]:
    seen: dict[int, str] = {}
    for c in manifest.compartments.values():
        if c.user in seen:
            yield f"compartment.{c.name}.user", f"{seen[c.user]} is user {c.user} too"
        seen[c.user] = c.name


def _code_is_apart(manifest: Manifest) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for c in manifest.compartments.values():
        if c.code in seen:
            yield f"compartment.{c.name}.code", f"{seen[c.code]} runs {c.code} too"
        seen[c.code] = c.name


def _sockets_come_from_the_broker(manifest: Manifest) -> Iterator[tuple[str, str]]:
    seen: dict[int, str] = {}
    for c in manifest.compartments.values():
        for port in c.ports:
            if port in seen:
                yield f"compartment.{c.name}.ports", f"{seen[port]} listens on {port} too"
            seen[port] = c.name
        if c.ports and c.endpoints:
            yield f"compartment.{c.name}", "what listens must not also be connected elsewhere"


def _requests_are_confirmed(manifest: Manifest) -> Iterator[tuple[str, str]]:
    critical = {c.name for c in manifest.critical}
    for request in manifest.requests.values():
        if request.to in critical and request.confirmed_by is Confirmation.NOTHING:
            path = f"request.{request.name}.confirmed_by"
            yield path, f"nothing confirms what is asked of {request.to}"


def _critical_comes_first(manifest: Manifest) -> Iterator[tuple[str, str]]:
    others = [c for c in manifest.compartments.values() if c not in manifest.critical]
    for c in manifest.critical:
        at, own = f"compartment.{c.name}.resources", c.resources
        for other in others:
            its = other.resources
            if its.nice <= own.nice or (its.realtime and its.realtime >= own.realtime):
                yield at, f"{other.name} is served as early as it"
            if its.oom_score <= own.oom_score:
                yield at, f"{other.name} is not ended before it when memory runs out"


def _patient_is_not_updated(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for c in manifest.compartments.values():
        patient = sorted(state.name.lower() for state in PATIENT_STATES & set(c.update.when))
        risky = c in manifest.critical or c.update.rung is Rung.IMAGE
        if risky and patient:
            at = f"compartment.{c.name}.update.when"
            yield at, f"it would be replaced with a patient attached ({', '.join(patient)})"


def _table(*claims: Claim) -> dict[str, Claim]:
    return {claim.id: claim for claim in claims}


CLAIMS: Final = _table(
    Claim(
        id="CLAIM-RING-001",
        sentence="What stands in a ring was written by its one writer and by nobody else.",
        check=_ring_has_one_writer,
    ),
    Claim(
        id="CLAIM-DIODE-001",
        sentence="Nothing that comes from outside the device reaches a critical compartment.",
        check=_critical_hears_nothing_from_outside,
    ),
    Claim(
        id="CLAIM-DIODE-002",
        sentence="A critical compartment waits for no other compartment.",
        check=_critical_hears_no_line,
    ),
    Claim(
        id="CLAIM-LINE-001",
        sentence="A line leads one way, from one compartment to one other.",
        check=_line_has_one_speaker,
    ),
    Claim(
        id="CLAIM-KEY-001",
        sentence="No compartment with a way out has a secret document; no two share a secret.",
        check=_secrets_stay_inside,
    ),
    Claim(
        id="CLAIM-APART-001",
        sentence="No compartment can trace, signal, stop or reschedule another.",
        check=_users_are_apart,
    ),
    Claim(
        id="CLAIM-CODE-001",
        sentence="A compartment runs its own code image, changes none and starts no program.",
        check=_code_is_apart,
    ),
    Claim(
        id="CLAIM-NET-001",
        sentence="No compartment makes, binds or connects a socket of a network.",
        check=_sockets_come_from_the_broker,
    ),
    Claim(
        id="CLAIM-REQUEST-001",
        sentence="A request to a critical compartment counts only if a person confirmed it.",
        check=_requests_are_confirmed,
    ),
    Claim(
        id="CLAIM-FIRST-001",
        sentence="A critical compartment is served before the others, and ended after them.",
        check=_critical_comes_first,
    ),
    Claim(
        id="CLAIM-UPDATE-001",
        sentence="A critical compartment or the image is replaced only without a patient.",
        check=_patient_is_not_updated,
    ),
)
"""Every safety claim, by its id."""
