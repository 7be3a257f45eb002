"""What contradicts itself in a manifest: names that name nothing, rights without their means. Pure.

A problem here is a mistake in writing. What is well written and unsafe breaks a claim instead
(`manifest_claims`).
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from asepsis.core.model.manifest import Compartment, Manifest, Zone
from asepsis.core.model.syscall_class import SyscallClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One contradiction.

    Attributes:
        path: Where, such as `compartment.vitals.reads`.
        text: What is wrong.
        hint: What to do; may be empty.
    """

    path: str
    text: str
    hint: str = ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(names[:24])}" if names else "there is none"


def problems(manifest: Manifest) -> Iterator[Problem]:
    """Yield every contradiction, in the order of the compartments."""
    for compartment in manifest.compartments.values():
        yield from _references(compartment, manifest)
        for check in _CHECKS:
            yield from check(compartment)
    yield from _unused(manifest)


def _references(compartment: Compartment, manifest: Manifest) -> Iterator[Problem]:
    at = f"compartment.{compartment.name}"
    known = {
        "reads": (compartment.reads, manifest.rings, "ring"),
        "writes": (compartment.writes, manifest.rings, "ring"),
        "says": (compartment.says, manifest.lines, "line"),
        "hears": (compartment.hears, manifest.lines, "line"),
        "handed": (compartment.handed, manifest.documents, "document"),
        "endpoints": (compartment.endpoints, manifest.endpoints, "endpoint"),
        "requests": (compartment.requests, manifest.requests, "request"),
    }
    for key, (named, things, kind) in known.items():
        for name in named:
            if name not in things:
                hint = nearest(name, things)
                yield Problem(path=f"{at}.{key}", text=f'there is no {kind} "{name}"', hint=hint)


def _network(compartment: Compartment) -> Iterator[Problem]:
    at = f"compartment.{compartment.name}"
    brokered = compartment.zone is Zone.BROKER
    if brokered != bool(compartment.endpoints):
        yield Problem(path=f"{at}.endpoints", text="endpoints and zone broker go together")
    if brokered != bool(compartment.channels):
        yield Problem(path=f"{at}.channels", text="channels and zone broker go together")
    if brokered and compartment.syscalls is SyscallClass.CORE:
        yield Problem(
            path=f"{at}.syscalls",
            text="class core has no calls for a connected socket",
            hint='use "network"',
        )


def _ports(compartment: Compartment) -> Iterator[Problem]:
    listening = compartment.syscalls is SyscallClass.LISTENING
    if listening != bool(compartment.ports):
        yield Problem(
            path=f"compartment.{compartment.name}.ports",
            text='ports and syscalls "listening" go together',
        )
    if compartment.zone is Zone.SERVICE and not compartment.ports:
        yield Problem(
            path=f"compartment.{compartment.name}.ports", text="zone service is nothing but ports"
        )


def _folder(compartment: Compartment) -> Iterator[Problem]:
    at = f"compartment.{compartment.name}"
    if compartment.folder and compartment.syscalls is SyscallClass.CORE:
        yield Problem(path=f"{at}.folder", text="class core opens no file, so it needs no folder")
    if compartment.keeps and not compartment.folder:
        yield Problem(path=f"{at}.keeps", text="without a folder it can keep nothing")


def _scheduling(compartment: Compartment) -> Iterator[Problem]:
    resources = compartment.resources
    if resources.realtime and not resources.lock_memory:
        yield Problem(
            path=f"compartment.{compartment.name}.resources.lock_memory",
            text="real-time scheduling without locked memory waits for the disk",
        )


_CHECKS: Final[tuple[Callable[[Compartment], Iterator[Problem]], ...]] = (
    _network,
    _ports,
    _folder,
    _scheduling,
)


def _unused(manifest: Manifest) -> Iterator[Problem]:
    """What nobody uses is a mistake in writing, or a hole for later."""
    all_of = manifest.compartments.values()
    used = {
        "line": (manifest.lines, {n for c in all_of for n in (*c.says, *c.hears)}),
        "document": (manifest.documents, {n for c in all_of for n in c.handed}),
        "endpoint": (manifest.endpoints, {n for c in all_of for n in c.endpoints}),
        "request": (manifest.requests, {n for c in all_of for n in c.requests}),
    }
    for kind, (things, names) in used.items():
        for name in things:
            if name not in names:
                yield Problem(path=f"{kind}.{name}", text="no compartment uses it")
    for request in manifest.requests.values():
        if request.to not in manifest.compartments:
            hint = nearest(request.to, manifest.compartments)
            text = f'there is no compartment "{request.to}"'
            yield Problem(path=f"request.{request.name}.to", text=text, hint=hint)
