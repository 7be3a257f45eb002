"""An evidence pack made by the hub itself, for a person with a browser.

The same document as `asepsis audit export` makes, of the same log; nothing in it has to be believed
because the hub made it (docs/reference/evidence.md).
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from asepsis.core.errors import InputError, LimitExceeded, NotFound
from asepsis.hub.audit import log, witnesses
from asepsis.hub.audit.rules import Entry, SignedHead
from asepsis.hub.store.store import Store

FORMAT: Final = "asepsis-evidence-1"
ABOUT_MAX: Final = 16
ABOUT_CHARS: Final = range(4, 161)
"""Shorter texts would be found in everything."""
LOG_MAX: Final = 300_000
"""Entries of a log that are looked through for a browser; the command goes further."""
ENTRIES_MAX: Final = 20_000


def check_about(about: Sequence[str]) -> None:
    """Check what a pack is to be about.

    Raises:
        InputError: Nothing, too much, or a text so short that it is found in everything.
    """
    if not 1 <= len(about) <= ABOUT_MAX:
        raise InputError(f"name 1 to {ABOUT_MAX} things, such as a campaign or a release's SHA-256")
    if any(len(text) not in ABOUT_CHARS for text in about):
        raise InputError(f"a text to look for has {ABOUT_CHARS[0]} to {ABOUT_CHARS[-1]} characters")


async def find(store: Store, about: Sequence[str], *, size: int) -> list[Entry]:
    """Return the entries whose subject or detail holds one of some texts, ascending.

    Args:
        store: Where the log stands.
        about: What to look for.
        size: Entries of the log that are looked at.

    Raises:
        InputError: See `check_about`.
        LimitExceeded: A longer log, or more entries, than a browser is served.
    """
    check_about(about)
    if size > LOG_MAX:
        raise LimitExceeded(
            f"the log has over {LOG_MAX} entries", hint="asepsis audit export FOLDER --about WHAT"
        )
    found: list[Entry] = []
    after = -1
    while after + 1 < size:
        page = await store.read(_page(after))
        if not page:
            break
        found += [one for one in page if one.index < size and _concerns(one, about)]
        after = page[-1].index
        if len(found) > ENTRIES_MAX:
            raise LimitExceeded(f"over {ENTRIES_MAX} entries: look for something narrower")
    return found


async def pack(
    store: Store,
    about: Sequence[str],
    *,
    head: SignedHead,
    audit_der: bytes,
    hospital: str,
    documents: Sequence[tuple[str, str, bytes]],
) -> bytes:
    """Return a pack as JSON.

    Args:
        store: Where the log stands.
        about: What it is about.
        head: Signed just now; the pack covers the log up to there.
        audit_der: Certificate of the audit key.
        hospital: Name, for people.
        documents: (kind, name, content) of each.

    Raises:
        NotFound: The log says nothing about that.
        AsepsisError: As `find`.
    """
    entries = await find(store, about, size=head.size)
    if not entries:
        raise NotFound("the audit log says nothing about that")

    def read(connection: Connection) -> dict[str, Any]:
        signed = witnesses.signed(connection)
        return {
            "witnesses": witnesses.known(connection),
            "cosignatures": [one for one in signed if one.size <= head.size],
        }

    leaves: list[bytes] = []
    for first in range(0, head.size, witnesses.LEAVES_MAX):
        count = min(witnesses.LEAVES_MAX, head.size - first)
        leaves.append(await store.read(_leaves(first, count)))
    said = {
        "format": FORMAT,
        "hospital": hospital,
        "about": list(about),
        "made_at_ns": store.clock(),
        "size": head.size,
        "head": head,
        "audit_certificate": base64.b64encode(audit_der).decode(),
        **await store.read(read),
        "entries": entries,
        "documents": [_document(*one) for one in documents],
        "leaves": base64.b64encode(b"".join(leaves)).decode(),
    }
    return msgspec.json.encode(said)


def _page(after: int) -> Callable[[Connection], list[Entry]]:
    return lambda connection: log.page(connection, after=after)


def _leaves(first: int, count: int) -> Callable[[Connection], bytes]:
    return lambda connection: witnesses.leaves(connection, first=first, count=count)


def _concerns(entry: Entry, about: Sequence[str]) -> bool:
    return any(text in entry.subject or text in entry.detail for text in about)


def _document(kind: str, name: str, content: bytes) -> dict[str, str]:
    return {
        "kind": kind,
        "name": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "content": base64.b64encode(content).decode(),
    }
