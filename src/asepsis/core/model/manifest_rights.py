"""What a manifest grants, as a set: so that two manifests can be compared. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from asepsis.core.model.manifest import Compartment, Manifest


class Verb(StrEnum):
    """What somebody may do with something."""

    RUNS = "runs"
    IS_USER = "is user"
    CALLS = "makes system calls of class"
    READS_RING = "reads ring"
    WRITES_RING = "writes ring"
    SAYS = "says on line"
    HEARS = "hears on line"
    IS_HANDED = "is handed"
    KEEPS_FOLDER = "writes in"
    KEEPS_KEY = "keeps secret"
    CONNECTS = "is connected to"
    LISTENS = "listens on port"
    REQUESTS = "may request"
    USES_UP = "may use"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One right of one compartment.

    Attributes:
        compartment: Who.
        verb: May do what.
        thing: With what.
    """

    compartment: str
    verb: Verb
    thing: str

    def __str__(self) -> str:
        """Return it as a sentence for people."""
        return f"{self.compartment} {self.verb.value} {self.thing}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What became of the rights from one manifest to the next.

    Attributes:
        gained: New rights, in order.
        lost: Rights that are gone, in order.
        properties: What else changed, as `path: old -> new`.
    """

    gained: tuple[Right, ...]
    lost: tuple[Right, ...]
    properties: tuple[str, ...]


def rights(manifest: Manifest) -> frozenset[Right]:
    """Return everything that the compartments may do."""
    return frozenset(
        right for compartment in manifest.compartments.values() for right in _of(compartment)
    )


def difference(old: Manifest, new: Manifest) -> Difference:
    """Return what the second manifest grants and the first does not, and the other way round.

    Texts for people are no difference; an order is none but that of endpoints, which is the
    broker's numbering.
    """
    before, after = rights(old), rights(new)
    properties = sorted(_properties(old, new))
    return Difference(
        gained=tuple(sorted(after - before)),
        lost=tuple(sorted(before - after)),
        properties=tuple(properties),
    )


def _of(c: Compartment) -> Iterator[Right]:
    yield Right(c.name, Verb.RUNS, c.code)
    yield Right(c.name, Verb.IS_USER, str(c.user))
    yield Right(c.name, Verb.CALLS, c.syscalls.value)
    named = (
        (Verb.READS_RING, c.reads),
        (Verb.WRITES_RING, c.writes),
        (Verb.SAYS, c.says),
        (Verb.HEARS, c.hears),
        (Verb.IS_HANDED, c.handed),
        (Verb.KEEPS_KEY, c.keeps),
        (Verb.CONNECTS, c.endpoints),
        (Verb.LISTENS, map(str, c.ports)),
        (Verb.REQUESTS, c.requests),
    )
    for verb, things in named:
        for thing in things:
            yield Right(c.name, verb, thing)
    if c.folder:
        yield Right(c.name, Verb.KEEPS_FOLDER, "its own folder")
    for key, value in _resources(c).items():
        yield Right(c.name, Verb.USES_UP, f"{key} {value}")


def _resources(c: Compartment) -> dict[str, object]:
    r = c.resources
    return {
        "memory_mib": r.memory_mib,
        "files": r.files,
        "file_mib": r.file_mib,
        "tasks": r.tasks,
        "cpu_percent": r.cpu_percent,
        "channels": c.channels,
    }


def _properties(old: Manifest, new: Manifest) -> Iterator[str]:
    before, after = _described(old), _described(new)
    for path in before.keys() | after.keys():
        was, becomes = before.get(path, "absent"), after.get(path, "absent")
        if was != becomes:
            yield f"{path}: {was} -> {becomes}"


def _described(manifest: Manifest) -> dict[str, str]:
    """Return what is no right and still changes how the device behaves."""
    found = {"device": manifest.device, "stop order": ", ".join(manifest.compartments)}
    for c in manifest.compartments.values():
        at, r = f"compartment.{c.name}", c.resources
        found |= {
            f"{at}.criticality": c.criticality.value,
            f"{at}.endpoint order": ", ".join(c.endpoints),
            f"{at}.self_tests": ", ".join(c.self_tests),
            f"{at}.update.rung": c.update.rung.value,
            f"{at}.update.when": ", ".join(sorted(state.name for state in c.update.when)),
            f"{at}.resources.order": f"nice {r.nice}, oom {r.oom_score}, realtime {r.realtime}",
            f"{at}.resources.lock_memory": str(r.lock_memory),
            f"{at}.resources.watch": f"silence {r.silence_s} s, restart {r.restart_s_max} s",
        }
    for line in manifest.lines.values():
        found[f"line.{line.name}.bytes_max"] = str(line.bytes_max)
    for d in manifest.documents.values():
        found[f"document.{d.name}"] = f"path {d.path}, secret {d.secret}, optional {d.optional}"
        if d.device_file:
            found[f"document.{d.name}"] += ", a device of the kernel"
    for q in manifest.requests.values():
        found[f"request.{q.name}"] = (
            f"to {q.to}, {q.per_minute_max} a minute, confirmed by {q.confirmed_by.value}"
        )
    return found
