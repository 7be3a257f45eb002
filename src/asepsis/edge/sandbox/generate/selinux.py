"""The SELinux policy of a device in CIL, with its safety claims as `neverallow` rules. Pure.

Each right of the manifest becomes `allow` rules that name it; besides them a compartment gets only
what every compartment gets. Kernel and supervisor may do everything: they are trusted, and the
claims speak of compartments. The supervisor labels what it makes before it hands it over: rings
(`ring__NAME_t`), wake-ups, lines, documents, brokered sockets. A socket has two labels, one of the
socket, by which what is sent and received is judged, and one of its file. The file at the receiving
end of a wake-up is `woken__NAME_t`: the kernel asks for `write` when it is handed over, though the
socket itself, which is `wake__NAME_t` at both ends, is never written by a reader.

A type is named by kind and name with two underscores between, which no name of a manifest contains.

Source: SELinux CIL reference guide.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from asepsis.core.model.manifest import Compartment, Manifest
from asepsis.core.model.manifest_claims import CLAIMS
from asepsis.core.model.manifest_rights import Right, Verb
from asepsis.edge.sandbox.generate import selinux_base as base
from asepsis.edge.sandbox.generate.selinux_claims import Never, nevers
from asepsis.edge.sandbox.generate.selinux_types import (
    compartments,
    control_type,
    domain,
    thing,
    thing_types,
    things,
)

_EVERY: Final = "compartment"
_ALL: Final = "everything"
_READ: Final = ("getattr", "map", "read")
_TALK: Final = ("getattr", "getopt", "read", "setopt", "shutdown", "write")
_WRITE_FILE: Final = (
    "append", "create", "getattr", "lock", "map", "open", "read", "rename", "setattr", "unlink",
    "write",
)  # fmt: skip
_WRITE_FOLDER: Final = (
    "add_name", "create", "getattr", "open", "read", "remove_name", "rename", "rmdir", "search",
    "setattr", "write",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """One rule that grants.

    Attributes:
        source: Type or attribute.
        target: Type or attribute; `self` for itself.
        kind: Class.
        permissions: Sorted.
        right: What in the manifest it is for; None for what every compartment gets.
    """

    source: str
    target: str
    kind: str
    permissions: tuple[str, ...]
    right: Right | None = None

    def __str__(self) -> str:
        """Return it as CIL."""
        words = " ".join(self.permissions)
        return f"(allow {self.source} {self.target} ({self.kind} ({words})))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy.

    Attributes:
        allows: What it grants to compartments.
        claims: What it must never grant.
        text: All of it, as CIL.
        claim_lines: Line of the text, from 1 -> id of the claim whose rule stands there.
    """

    allows: tuple[Allow, ...]
    claims: tuple[Never, ...]
    text: str
    claim_lines: dict[int, str]


def policy(manifest: Manifest, *, added: Iterable[str] = ()) -> Policy:
    """Return the policy of a device.

    Args:
        manifest: Which compartments.
        added: Statements that somebody writes beside it, in CIL; the claims bind them too.
    """
    allows = tuple(_allows(manifest))
    claims = tuple(nevers(manifest))
    lines = ["; Generated from the compartment manifest; change that instead."]
    lines += base.statements()
    lines += _declarations(manifest)
    lines += _trusted(manifest)
    lines += [str(allow) for allow in allows]
    lines += added
    claim_lines: dict[int, str] = {}
    for number, never in enumerate(claims):
        lines.append(f"; {never.claim}: {CLAIMS[never.claim].sentence}")
        statements = never.statements(number)
        claim_lines[len(lines) + len(statements)] = never.claim
        lines += statements
    text = "\n".join(lines) + "\n"
    return Policy(allows=allows, claims=claims, text=text, claim_lines=claim_lines)


def _declarations(manifest: Manifest) -> Iterator[str]:
    domains = compartments(manifest)
    for name in (*domains, *thing_types(manifest)):
        yield f"(type {name})"
    for name in domains:
        yield f"(roletype system_r {name})"
    for name in (*base.BASE_TYPES, *thing_types(manifest)):
        yield f"(roletype object_r {name})"
    yield f"(typeattribute {_EVERY})"
    yield f"(typeattributeset {_EVERY} ({' '.join(domains)}))"
    yield f"(typeattribute {_ALL})"
    yield f"(typeattributeset {_ALL} (all))"


def _trusted(manifest: Manifest) -> Iterator[str]:
    for source in (base.KERNEL, base.SUPERVISOR):
        for kind in base.CLASSES:
            yield f"(allow {source} {_ALL} ({kind} (all)))"
    yield f"(allow {_ALL} {base.OTHER} (filesystem (associate)))"
    for socket in things("endpoint", manifest.endpoints):
        # The supervisor connects, but the kernel asks by the label of the socket.
        yield f"(allow {socket} {base.OTHER} (tcp_socket (name_connect)))"


def _allows(manifest: Manifest) -> Iterator[Allow]:
    yield from _of_everyone()
    for compartment in manifest.compartments.values():
        yield from _of_one(compartment, manifest)


def _of_everyone() -> Iterator[Allow]:
    """What a compartment needs to be a process at all: itself, its code and its supervisor."""
    rows = (
        ("self", "process", ("fork", "getattr", "getrlimit", "getsched", "setrlimit", "sigchld")),
        ("self", "fd", ("use",)),
        (base.SUPERVISOR, "fd", ("use",)),
        (base.SUPERVISOR, "process", ("sigchld",)),
        (base.CODE, "file", ("entrypoint", "execute", "getattr", "map", "open", "read")),
        (base.CODE, "dir", ("getattr", "open", "read", "search")),
        (base.CODE, "lnk_file", ("getattr", "read")),
        (base.FOLDERS, "dir", ("getattr", "search")),
        (base.LOG, "file", ("append", "getattr")),
    )
    for target, kind, permissions in rows:
        yield Allow(source=_EVERY, target=target, kind=kind, permissions=permissions)


def _of_one(c: Compartment, manifest: Manifest) -> Iterator[Allow]:
    own = domain(c.name)
    devices = {d.name for d in manifest.documents.values() if d.device_file}
    # The control line is its supervisor's, not another compartment's: no right of the manifest.
    yield Allow(
        source=own, target=control_type(c.name), kind="unix_stream_socket", permissions=_TALK
    )
    for verb, names, rules in (
        (Verb.READS_RING, c.reads, _READS_RING),
        (Verb.WRITES_RING, c.writes, _WRITES_RING),
        (Verb.SAYS, c.says, _SAYS),
        (Verb.HEARS, c.hears, _HEARS),
        (Verb.IS_HANDED, tuple(n for n in c.handed if n not in devices), _IS_HANDED),
        (Verb.IS_HANDED, tuple(n for n in c.handed if n in devices), _IS_HANDED_DEVICE),
        (Verb.CONNECTS, c.endpoints, _CONNECTS),
        (Verb.REQUESTS, c.requests, _REQUESTS),
        (Verb.LISTENS, map(str, c.ports), _LISTENS),
        (Verb.KEEPS_FOLDER, (c.name,) if c.folder else (), _KEEPS_FOLDER),
    ):
        for name in names:
            object_ = "its own folder" if verb is Verb.KEEPS_FOLDER else name
            for prefix, kind, permissions in rules:
                yield Allow(
                    source=own,
                    target=thing(prefix, name),
                    kind=kind,
                    permissions=permissions,
                    right=Right(c.name, verb, object_),
                )


_Rules = tuple[tuple[str, str, tuple[str, ...]], ...]
_SEND: Final = ("getattr", "getopt", "setopt", "shutdown", "write")
_TAKE: Final = ("getattr", "getopt", "read", "setopt", "shutdown")
_READS_RING: Final[_Rules] = (
    ("ring", "file", _READ),
    ("wake", "unix_stream_socket", _TAKE),
    ("woken", "unix_stream_socket", _TALK),
)
_WRITES_RING: Final[_Rules] = (
    ("ring", "file", ("getattr", "map", "read", "write")),
    ("wake", "unix_stream_socket", _SEND),
)
_SAYS: Final[_Rules] = (("line", "unix_stream_socket", _SEND),)
_HEARS: Final[_Rules] = (("line", "unix_stream_socket", _TAKE),)
_IS_HANDED: Final[_Rules] = (("document", "file", ("getattr", "read")),)
_IS_HANDED_DEVICE: Final[_Rules] = (("document", "chr_file", ("getattr", "read", "write")),)
_CONNECTS: Final[_Rules] = (("endpoint", "tcp_socket", _TALK),)
_REQUESTS: Final[_Rules] = (("request", "unix_stream_socket", _TALK),)
_LISTENS: Final[_Rules] = (("port", "tcp_socket", ("accept", "listen", *_TALK)),)
_KEEPS_FOLDER: Final[_Rules] = (("folder", "file", _WRITE_FILE), ("folder", "dir", _WRITE_FOLDER))
