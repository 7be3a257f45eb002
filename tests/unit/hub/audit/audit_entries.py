"""Entries of every kind of act, as the hub writes them."""

import json
from collections.abc import Iterator

from asepsis.hub.audit.rules import Entry
from asepsis.hub.audit.views.acts import View, view

HUB = "hub.example.org"
SECRETS = ("ASYSTOLE", "147842", "because of Mr Miller")
ACTS = {
    "sign-in": ("person:ana", "person:ana", "done", {}),
    "refuse-sign-in": ("person:", "person:mallory", "ASP-208", {}),
    "sign-out": ("person:ana", "person:ana", "done", {}),
    "set-roles": ("person:ana", "person:ben", "done", {"roles": ["viewer"]}),
    "add-person": ("person:ana", "person:ben", "done", {}),
    "remove-person": ("person:ana", "person:ben", "done", {}),
    "enrol": ("anonymous:", "urn:dev:mac:0000000000000001", "ASP-208", {"why": SECRETS[2]}),
    "revoke-device": ("person:ana", "urn:dev:mac:0000000000000001", "done", {"reason": SECRETS[2]}),
    "raise-alarm": ("hub", "urn:dev:mac:0000000000000001", "done", {"text": SECRETS[0]}),
    "submit": ("gateway:urn:uuid:1", "ADT^A40", "ASP-206", {}),
    "read-record": (
        "person:cleo",
        "urn:dev:mac:0000000000000001",
        "done",
        {"kind": "trend", "patients": ["HOSP|4711"], "code": SECRETS[1]},
    ),
    "watch-ward": ("person:cleo", "ICU", "done", {"patients": ["HOSP|4711", "urn:oid:1.2|x<&>"]}),
    "association-confirmed": (
        "person:cleo", "urn:dev:mac:0000000000000001", "done", {"patient": "HOSP|4711"},
    ),
    "read-audit": ("person:sam", "audit log", "done", {"patients": ["4711"]}),
    "search-images": ("consumer:urn:uuid:2", "studies", "done", {}),
    "retrieve-images": ("consumer:urn:uuid:2", "1.2.3", "done", {"patient": "HOSP|4711"}),
    "name-source": ("person:ana", "urn:uuid:1", "done", {}),
    "withdraw-profile": ("person:ana", "monitor", "ASP-403", {}),
    "something\u0001new": ("hub", "", "done", {}),
}  # fmt: skip


def entries() -> Iterator[Entry]:
    """Yield one entry a kind of act."""
    for index, (action, (actor, subject, outcome, detail)) in enumerate(ACTS.items()):
        yield Entry(
            index=index,
            at_ns=1_795_000_000_123_456_789 + index,
            actor=actor,
            action=action,
            subject=subject,
            outcome=outcome,
            detail=json.dumps(detail),
            salt="00" * 16,
        )


def views() -> list[View]:
    """Return the view of each."""
    return [view(entry) for entry in entries()]
