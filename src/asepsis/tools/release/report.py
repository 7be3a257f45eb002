"""What a person reads before signing: roles, keys, ends, missing signatures, releases."""

from datetime import datetime
from typing import Any, cast

from asepsis.core.trust.metadata.approvers import FIELD, read_approvers
from asepsis.core.trust.metadata.fields import CUSTOM
from asepsis.core.trust.metadata.library import Targets
from asepsis.tools.release.editing import all_roles, role_of
from asepsis.tools.release.publishing import tally
from asepsis.tools.release.repository import Repository


def inspect(repository: Repository, *, now: datetime) -> dict[str, Any]:
    """Return the whole state of a repository as plain values."""
    root = repository.root()
    approvers = read_approvers(root, party=repository.settings.name) if _names(root) else None
    return {
        "name": repository.settings.name,
        "roles": [_role(repository, role, now=now) for role in all_roles(repository)],
        "approvers": {
            "keys": [key.keyid for key in approvers.keys] if approvers else [],
            "threshold": approvers.threshold if approvers else 0,
        },
        "releases": [
            found for role in repository.roles()[1:] for found in _releases(repository, role)
        ],
    }


def _names(root: Any) -> bool:
    return FIELD in root.unrecognized_fields


def _role(repository: Repository, role: str, *, now: datetime) -> dict[str, Any]:
    holders = role_of(repository, role)
    facts: dict[str, Any] = {
        "role": role,
        "keys": list(holders.keyids),
        "threshold": holders.threshold,
        "paths": list(getattr(holders, "paths", None) or ()),
    }
    draft = repository.draft(role)
    metadata = draft or repository.published(role)
    if metadata is None:
        return facts | {"state": "none yet"}
    facts |= {
        "state": "draft" if draft else "published",
        "version": metadata.signed.version,
        "expires": metadata.signed.expires.isoformat(),
        "expired": metadata.signed.is_expired(now),
    }
    if draft is None:
        return facts | {"missing": 0, "signed": [], "unsigned": []}
    counted = tally(repository, role)
    return facts | {
        "missing": counted.missing,
        "signed": list(counted.signed),
        "unsigned": list(counted.unsigned),
    }


def _releases(repository: Repository, role: str) -> list[dict[str, Any]]:
    published = repository.published(role)
    shown = cast("Targets", published.signed).targets if published else {}
    targets = cast("Targets", repository.current(role).signed).targets
    return [
        {
            "path": path,
            "role": role,
            "published": path in shown,
            "length": target.length,
            "sha256": target.hashes.get("sha256", ""),
            **cast("dict[str, Any]", target.custom or {}).get(CUSTOM, {}),
        }
        for path, target in targets.items()
    ]
