"""The documents of releases that an evidence pack takes along."""

from collections.abc import Iterable

from sqlalchemy import Connection

from asepsis.core.errors import NotFound
from asepsis.hub.fleet.releases import records


def papers(connection: Connection, artefacts: Iterable[str]) -> list[tuple[str, str, bytes]]:
    """Return (kind, name, content) of what was signed about artefacts; unknown ones have nothing.

    Args:
        connection: A consistent view.
        artefacts: SHA-256 of each, hexadecimal.
    """
    found: list[tuple[str, str, bytes]] = []
    for artefact in sorted(set(artefacts)):
        try:
            published = records.read_release(connection, artefact)
        except NotFound:
            continue
        documents = records.read_documents(connection, [published.document])
        found += [("release", f"{sha}.json", content) for sha, content in documents.items()]
        found += [
            ("authorisation", f"{one.sha256}.json", one.content)
            for one in records.read_approvals(connection, artefact=artefact)
        ]
    return found
