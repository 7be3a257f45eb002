"""Makes an evidence pack of the audit log: what concerns one thing, provable to strangers."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from asepsis.core.errors import InputError, LimitExceeded, NotFound
from asepsis.tools.evidence import verify_evidence

LEAVES_AT_ONCE: Final = 8_192
ENTRIES_AT_ONCE: Final = 500
LEAVES_MAX: Final = 5_000_000
"""Entries of a log that one pack covers: 160 MB of hashes; a hospital writes fewer in years."""
ENTRIES_MAX: Final = 20_000
DOCUMENTS_MAX: Final = 200
DOCUMENT_BYTES_MAX: Final = 64 << 20
KINDS: Final = ("release", "authorisation", "sbom", "vex", "assessment", "receipt", "other")
"""What a document is, for people; an authorisation's signatures are judged too."""


class Asks(Protocol):
    """Asks the people listener; `asepsis.tools.people.PeopleClient` is one."""

    def get(self, path: str, **query: str | int) -> Any:
        """Return the JSON of a route."""
        ...

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a JSON document and return the answer's."""
        ...


def export(
    hub: Asks,
    *,
    about: Sequence[str],
    documents: Sequence[tuple[str, str, bytes]] = (),
    hospital: str,
    now_ns: int,
) -> dict[str, Any]:
    """Return a pack, as JSON values.

    Args:
        hub: Whom to ask, as a person who may read the audit log.
        about: Texts, at least one of which an entry's subject or detail holds: the name of a
            campaign, the SHA-256 of a release, the name of a device.
        documents: (kind, name, content); kinds are `KINDS`.
        hospital: Name, for people.
        now_ns: Time, nanoseconds since 1970.

    Raises:
        InputError: Nothing to look for, or a kind that nobody knows.
        NotFound: The log says nothing about it.
        LimitExceeded: More than a pack holds.
        TransientError: The hub does not answer.
    """
    if not about or not all(about):
        raise InputError("say what the pack is about", hint="a campaign, a release's SHA-256")
    head = hub.post("/api/audit/head", {})
    size = int(head["size"])
    if size > LEAVES_MAX:
        raise LimitExceeded(f"a pack covers {LEAVES_MAX} entries of a log at most")
    entries = _entries(hub, size, lambda entry: _concerns(entry, about))
    if not entries:
        raise NotFound("the audit log says nothing about that")
    known = hub.get("/api/audit/witnesses")
    return {
        "format": verify_evidence.PACK_FORMAT,
        "hospital": hospital,
        "about": list(about),
        "made_at_ns": now_ns,
        "size": size,
        "head": head,
        "audit_certificate": known["audit_certificate"],
        "witnesses": known["witnesses"],
        "cosignatures": [
            one for one in hub.get("/api/audit/heads")["cosignatures"] if one["size"] <= size
        ],
        "entries": entries,
        "documents": [_document(*one) for one in _bounded(documents)],
        "leaves": base64.b64encode(_leaves(hub, size)).decode(),
    }


def trust_of(hub: Asks, *, threshold: int, approvers: Sequence[Mapping[str, str]] = ()) -> Any:
    """Return a trust file of the witnesses that the hub names now, for a person to check and keep.

    Args:
        hub: Whom to ask.
        threshold: How many must agree, 1 to the number of witnesses.
        approvers: `party`, `name` and `key` of each.

    Raises:
        InputError: Fewer witnesses than the threshold.
    """
    found = hub.get("/api/audit/witnesses")["witnesses"]
    if not 1 <= threshold <= len(found):
        raise InputError(f"{threshold} of {len(found)} witnesses cannot agree")
    return {
        "format": verify_evidence.TRUST_FORMAT,
        "threshold": threshold,
        "witnesses": [{"name": one["name"], "key": one["key"]} for one in found],
        "approvers": [dict(one) for one in approvers],
    }


def write(pack: Mapping[str, Any], folder: Path) -> Path:
    """Write the pack and, beside it, the file that verifies it; returns the pack's path.

    Raises:
        InputError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "pack.json"
        path.write_text(json.dumps(pack, indent=1, ensure_ascii=False) + "\n", "utf-8")
        program = Path(verify_evidence.__file__).read_bytes()
        (folder / Path(verify_evidence.__file__).name).write_bytes(program)
    except OSError as error:
        raise InputError(f"the pack cannot be written: {error.strerror}") from error
    return path


def _concerns(entry: Mapping[str, Any], about: Sequence[str]) -> bool:
    return any(text in entry["subject"] or text in entry["detail"] for text in about)


def _entries(
    hub: Asks, size: int, wanted: Callable[[Mapping[str, Any]], bool]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = -1
    while after + 1 < size:
        page = hub.get("/api/audit", after=after, limit=ENTRIES_AT_ONCE)["entries"]
        if not page:
            break
        # Looking is written into the log too: what came after the head is not part of the pack.
        found += [entry for entry in page if entry["index"] < size and wanted(entry)]
        after = page[-1]["index"]
        if len(found) > ENTRIES_MAX:
            raise LimitExceeded(f"more than {ENTRIES_MAX} entries: look for something narrower")
    return found


def _leaves(hub: Asks, size: int) -> bytes:
    parts: list[bytes] = []
    for first in range(0, size, LEAVES_AT_ONCE):
        count = min(LEAVES_AT_ONCE, size - first)
        said = hub.get("/api/audit/leaves", first=first, count=count)
        parts.append(base64.b64decode(said["leaves"]))
    return b"".join(parts)


def _bounded(documents: Sequence[tuple[str, str, bytes]]) -> Sequence[tuple[str, str, bytes]]:
    if len(documents) > DOCUMENTS_MAX:
        raise LimitExceeded(f"a pack holds {DOCUMENTS_MAX} documents")
    return documents


def _document(kind: str, name: str, content: bytes) -> dict[str, str]:
    if kind not in KINDS:
        raise InputError(f"no such kind of document: {kind}", hint=", ".join(KINDS))
    if len(content) > DOCUMENT_BYTES_MAX:
        raise LimitExceeded(f"{name} is over {DOCUMENT_BYTES_MAX} bytes")
    return {
        "kind": kind,
        "name": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "content": base64.b64encode(content).decode(),
    }
