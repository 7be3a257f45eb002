"""The safety claims as `neverallow` rules. Pure.

A `neverallow` grants nothing and denies nothing: it makes the compiler refuse a policy in which a
rule, from wherever it comes, grants what the claim rules out.

Source: SELinux CIL reference guide, "neverallow".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from asepsis.core.model.manifest import Manifest
from asepsis.core.model.manifest_claims import reached_from_outside
from asepsis.edge.sandbox.generate import selinux_base as base
from asepsis.edge.sandbox.generate.selinux_types import (
    compartments,
    control_type,
    domain,
    thing,
    thing_types,
    things,
)

_CHANGE: Final = (
    "append", "create", "execute", "link", "relabelfrom", "relabelto", "rename", "setattr",
    "unlink", "write",
)  # fmt: skip
_TOUCH: Final = ("append", "map", "read", "write")
_SEND: Final = ("append", "write", "sendto", "connectto")
_MAKE_SOCKET: Final = ("bind", "connect", "create", "name_bind")
_DISTURB: Final = (
    "dyntransition", "ptrace", "setexec", "setpgid", "setrlimit", "setsched", "share", "sigkill",
    "signal", "sigstop", "transition",
)  # fmt: skip
_OTHERS: Final = tuple(name for name in _DISTURB if name != "setexec")
_EXECUTABLE_MEMORY: Final = ("execheap", "execmem", "execstack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Never:
    """What a claim rules out.

    Attributes:
        claim: Its id.
        sources: Types that must not.
        targets: Types with which they must not; `("self",)` for themselves; empty for everything.
        kind: Class.
        permissions: What they must not.
    """

    claim: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    kind: str
    permissions: tuple[str, ...]

    def statements(self, number: int) -> list[str]:
        """Return it as CIL, one statement a line, the rule last."""
        stem = f"{self.claim.replace('-', '_')}_{number}"
        found = _attribute(f"{stem}_who", self.sources)
        target = "everything"
        if self.targets == ("self",):
            target = "self"
        elif self.targets:
            target = f"{stem}_what"
            found += _attribute(target, self.targets)
        words = " ".join(self.permissions)
        return [*found, f"(neverallow {stem}_who {target} ({self.kind} ({words})))"]


def _attribute(name: str, types: tuple[str, ...]) -> list[str]:
    return [f"(typeattribute {name})", f"(typeattributeset {name} ({' '.join(types)}))"]


def nevers(manifest: Manifest) -> Iterator[Never]:
    """Yield the rules of every claim that says something of processes and what they touch."""
    for rule in (
        _rings,
        _diode,
        _waits,
        _lines,
        _keys,
        _apart,
        _code,
        _network,
        _requests,
        _updates,
    ):
        for never in rule(manifest):
            if never.sources:
                yield never


def _rings(manifest: Manifest) -> Iterator[Never]:
    for name in manifest.rings:
        others = tuple(
            domain(c.name) for c in manifest.compartments.values() if name not in c.writes
        )
        for kind, what in (("file", "ring"), ("unix_stream_socket", "wake")):
            yield Never(
                claim="CLAIM-RING-001",
                sources=others,
                targets=(thing(what, name),),
                kind=kind,
                permissions=_CHANGE if kind == "file" else _SEND,
            )


def _diode(manifest: Manifest) -> Iterator[Never]:
    """A critical compartment touches nothing that somebody reached from outside can write."""
    critical = tuple(domain(c.name) for c in manifest.critical)
    reached = [manifest.compartments[name] for name in reached_from_outside(manifest)]
    writable = {
        "file": [t for c in reached for t in things("ring", c.writes)]
        + [thing("folder", c.name) for c in reached if c.folder],
        "unix_stream_socket": [
            *(t for c in reached for t in things("line", c.says)),
            *(t for c in reached for t in things("request", c.requests)),
            *(control_type(c.name) for c in reached),
        ],
        "tcp_socket": [
            *(t for c in reached for t in things("endpoint", c.endpoints)),
            *(t for c in reached for t in things("port", map(str, c.ports))),
        ],
    }
    for kind, targets in writable.items():
        if targets:
            yield Never(
                claim="CLAIM-DIODE-001",
                sources=critical,
                targets=tuple(dict.fromkeys(targets)),
                kind=kind,
                permissions=_TOUCH,
            )


def _waits(manifest: Manifest) -> Iterator[Never]:
    """A critical compartment reads no line and no wake-up of anybody, and locks no ring."""
    critical = tuple(domain(c.name) for c in manifest.critical)
    lines = (
        *things("line", manifest.lines),
        *things("wake", manifest.rings),
        *things("woken", manifest.rings),
    )
    if lines:
        yield Never(
            claim="CLAIM-DIODE-002",
            sources=critical,
            targets=lines,
            kind="unix_stream_socket",
            permissions=("read",),
        )
    rings = tuple(things("ring", manifest.rings))
    if rings:
        yield Never(
            claim="CLAIM-DIODE-002",
            sources=tuple(compartments(manifest)),
            targets=rings,
            kind="file",
            permissions=("lock",),
        )


def _lines(manifest: Manifest) -> Iterator[Never]:
    for name in manifest.lines:
        for permission, own in (("write", "says"), ("read", "hears")):
            others = tuple(
                domain(c.name)
                for c in manifest.compartments.values()
                if name not in (c.says if own == "says" else c.hears)
            )
            yield Never(
                claim="CLAIM-LINE-001",
                sources=others,
                targets=(thing("line", name),),
                kind="unix_stream_socket",
                permissions=(permission,),
            )


def _keys(manifest: Manifest) -> Iterator[Never]:
    for document in manifest.documents.values():
        if document.secret:
            others = tuple(
                domain(c.name)
                for c in manifest.compartments.values()
                if document.name not in c.handed
            )
            device = document.device_file
            yield Never(
                claim="CLAIM-KEY-001",
                sources=others,
                targets=(thing("document", document.name),),
                kind="chr_file" if device else "file",
                permissions=("map", "open", "read", *(("write",) if device else ())),
            )
    for c in manifest.compartments.values():
        if c.folder:
            yield Never(
                claim="CLAIM-KEY-001",
                sources=tuple(t for t in compartments(manifest) if t != domain(c.name)),
                targets=(thing("folder", c.name),),
                kind="file",
                permissions=("map", "open", "read", "write"),
            )


def _apart(manifest: Manifest) -> Iterator[Never]:
    domains = compartments(manifest)
    for own in domains:
        others = tuple(t for t in domains if t != own)
        if others:
            yield Never(
                claim="CLAIM-APART-001",
                sources=(own,),
                targets=others,
                kind="process",
                permissions=_OTHERS,
            )
            for kind in base.UNIX_SOCKETS:
                yield Never(
                    claim="CLAIM-APART-001",
                    sources=(own,),
                    targets=(*others, *(thing("control", n) for n in _others(manifest, own))),
                    kind=kind,
                    permissions=_SEND if kind == "unix_stream_socket" else _SEND[:-1],
                )
    yield Never(
        claim="CLAIM-APART-001",
        sources=tuple(domains),
        targets=(base.KERNEL, base.SUPERVISOR),
        kind="process",
        permissions=_OTHERS,
    )


def _others(manifest: Manifest, own: str) -> list[str]:
    return [name for name in manifest.compartments if domain(name) != own]


def _code(manifest: Manifest) -> Iterator[Never]:
    everyone = tuple(compartments(manifest))
    change = ("append", "create", "link", "rename", "setattr", "unlink", "write")
    writable = (*thing_types(manifest), base.FOLDERS, base.LOG, base.OTHER)
    rows = (
        (("self",), "process", (*_EXECUTABLE_MEMORY, "setcurrent", "setexec")),
        ((), "file", ("execmod", "execute_no_trans")),
        ((base.CODE,), "file", change),
        ((base.CODE,), "dir", ("add_name", "remove_name", "rename", "write")),
        (writable, "file", ("entrypoint", "execute")),
    )
    for targets, kind, permissions in rows:
        yield Never(
            claim="CLAIM-CODE-001",
            sources=everyone,
            targets=targets,
            kind=kind,
            permissions=permissions,
        )


def _network(manifest: Manifest) -> Iterator[Never]:
    everyone = tuple(compartments(manifest))
    for kind in base.NETWORK_SOCKETS:
        own = base.SOCKETS[kind].split()
        more = tuple(word for word in ("node_bind", "name_connect") if word in own)
        yield Never(
            claim="CLAIM-NET-001",
            sources=everyone,
            targets=(),
            kind=kind,
            permissions=(*_MAKE_SOCKET, *more),
        )
    inward = tuple(domain(c.name) for c in manifest.compartments.values() if not c.outward)
    yield Never(
        claim="CLAIM-NET-001",
        sources=inward,
        targets=(),
        kind="tcp_socket",
        permissions=("read", "write"),
    )


def _requests(manifest: Manifest) -> Iterator[Never]:
    """What is asked goes through the supervisor's gate: who decides never reads it directly."""
    for name in manifest.requests:
        others = tuple(
            domain(c.name) for c in manifest.compartments.values() if name not in c.requests
        )
        yield Never(
            claim="CLAIM-REQUEST-001",
            sources=others,
            targets=(thing("request", name),),
            kind="unix_stream_socket",
            permissions=("read", "write"),
        )


def _updates(manifest: Manifest) -> Iterator[Never]:
    everyone = tuple(compartments(manifest))
    rows = (
        ("security", ("load_policy", "setbool", "setenforce")),
        ("system", ("module_load", "module_request")),
        ("filesystem", ("mount", "remount", "unmount")),
        ("capability", ("sys_admin", "sys_boot", "sys_module", "sys_ptrace", "sys_rawio")),
        ("bpf", ("prog_load",)),
    )
    for kind, permissions in rows:
        yield Never(
            claim="CLAIM-UPDATE-001",
            sources=everyone,
            targets=(),
            kind=kind,
            permissions=permissions,
        )
