"""What an entry of the log means in the vocabulary of others. Pure.

An entry says who did what to whom. A view says the same with codes, names the patients that the
detail names, and says nothing else of the detail: what is not read cannot leak, so a view holds a
patient's identifier and the user, and never a value that was measured or a person's own words.

Source: DICOM PS3.15 A.5 (DCM codes), RFC 3881 section 5, IHE ITI BALP 1.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from asepsis.hub.audit.rules import Entry

PATIENTS_MAX: Final = 64
DONE: Final = "done"
SUCCESS: Final = 0
MINOR: Final = 4
SERIOUS: Final = 8


@dataclass(frozen=True, slots=True)
class Code:
    """A code of a vocabulary.

    Attributes:
        code: The code.
        text: What it says.
        system: `DCM` or a URI.
    """

    code: str
    text: str
    system: str = "DCM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What sort of event an act is.

    Attributes:
        event: DICOM's event id.
        action: C, R, U, D or E.
        type: DICOM's event type code; None for none.
        restful: The FHIR interaction that a BALP profile describes; empty where none does.
    """

    event: Code
    action: str
    type: Code | None = None
    restful: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who acted.

    Attributes:
        kind: `person`, `device`, `gateway`, `consumer`, `hub`, ...
        name: Account, SAN URI or address.
    """

    kind: str
    name: str

    @property
    def is_person(self) -> bool:
        """Whether it is a user."""
        return self.kind == "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One entry, ready for any form.

    Attributes:
        entry: The entry.
        kind: What sort of event it is.
        actor: Who acted.
        patients: `authority|value` of whom it is about.
        outcome: 0 success, 4 minor failure, 8 serious failure.
    """

    entry: Entry
    kind: Kind
    actor: Party
    patients: tuple[str, ...]
    outcome: int


_ALERT: Final = Code("110113", "Security Alert")
_USER: Final = Code("110114", "User Authentication")
_RECORD: Final = Code("110110", "Patient Record")
_USED: Final = Code("110101", "Audit Log Used")
_INSTANCES: Final = Code("110103", "DICOM Instances Accessed")
_QUERY: Final = Code("110112", "Query")
_ACTIVITY: Final = Code("110100", "Application Activity")
_NODE: Final = Code("110126", "Node Authentication")
_SECURITY: Final = Code("110129", "Security Configuration")
_RESTRICTED: Final = Code("110132", "Use of Restricted Function")
_OBJECT: Final = Code("110135", "Object Security Attributes Changed")
_ROLES: Final = Code("110136", "Security Roles Changed")
_ATTRIBUTES: Final = Code("110137", "User Security Attributes Changed")
_OVERRIDE: Final = Code("110127", "Emergency Override Started")

_KINDS: Final[Mapping[str, Kind]] = {
    "sign-in": Kind(event=_USER, action="E", type=Code("110122", "Login")),
    "refuse-sign-in": Kind(event=_USER, action="E", type=Code("110122", "Login")),
    "sign-out": Kind(event=_USER, action="E", type=Code("110123", "Logout")),
    "set-password": Kind(event=_ALERT, action="U", type=_ATTRIBUTES, restful="update"),
    "issue-token": Kind(event=_ALERT, action="C", type=_ATTRIBUTES, restful="create"),
    "revoke-token": Kind(event=_ALERT, action="D", type=_ATTRIBUTES, restful="delete"),
    "add-person": Kind(event=_ALERT, action="C", type=_ROLES, restful="create"),
    "set-roles": Kind(event=_ALERT, action="U", type=_ROLES, restful="update"),
    "remove-person": Kind(event=_ALERT, action="D", type=_ROLES, restful="delete"),
    "enrol": Kind(event=_ALERT, action="C", type=_NODE),
    "renew": Kind(event=_ALERT, action="U", type=_NODE),
    "revoke-device": Kind(event=_ALERT, action="D", type=_OBJECT, restful="delete"),
    "report-denial": Kind(event=_ALERT, action="E", type=_RESTRICTED),
    "raise-alarm": Kind(event=_ALERT, action="E", type=_RESTRICTED),
    "submit": Kind(event=_ALERT, action="C", type=_RESTRICTED),
    "report-evidence": Kind(event=_ALERT, action="U", type=_NODE),
    "bind-tpm": Kind(event=_ALERT, action="C", type=_NODE),
    "attest": Kind(event=_ALERT, action="E", type=_NODE),
    "take-over-pair": Kind(event=_ALERT, action="U", type=_NODE),
    "open-bypass": Kind(event=_ALERT, action="E", type=_OVERRIDE),
    "read-record": Kind(event=_RECORD, action="R", restful="read"),
    "watch-ward": Kind(event=_RECORD, action="R", restful="read"),
    "read-dead-letter": Kind(event=_RECORD, action="R", restful="read"),
    "retrieve-images": Kind(event=_INSTANCES, action="R", restful="read"),
    "search-images": Kind(event=_QUERY, action="E"),
    "search-dead-letters": Kind(event=_QUERY, action="E"),
    "read-audit": Kind(event=_USED, action="R", restful="read"),
}
"""What is no association and no configuration; every other act is `_CONFIGURATION`."""
_CONFIGURATION: Final = Kind(event=_ALERT, action="U", type=_SECURITY, restful="update")
_ASSOCIATION: Final = Kind(event=_RECORD, action="U", restful="update")
_HUB: Final = Kind(event=_ACTIVITY, action="E")
_SERIOUS_CODES: Final = ("ASP-2", "ASP-3")


def view(entry: Entry) -> View:
    """Return what an entry means."""
    kind, _, name = entry.actor.partition(":")
    actor = Party(kind=kind, name=name or kind)
    return View(
        entry=entry,
        kind=_kind(entry.action, actor),
        actor=actor,
        patients=patients(entry.detail),
        outcome=_outcome(entry.outcome),
    )


def patients(detail: str) -> tuple[str, ...]:
    """Return the patients that a detail names as `authority|value`, at most `PATIENTS_MAX`."""
    try:
        document: Any = msgspec.json.decode(detail)
    except msgspec.DecodeError:
        return ()
    if not isinstance(document, dict):
        return ()
    found = cast("dict[str, Any]", document)
    several: object = found.get("patients", ())
    named = [
        found.get("patient"),
        *(cast("list[Any]", several) if isinstance(several, list) else ()),
    ]
    return tuple(dict.fromkeys(n for n in named if isinstance(n, str) and n))[:PATIENTS_MAX]


def _kind(action: str, actor: Party) -> Kind:
    known = _KINDS.get(action)
    if known is not None:
        return known
    if action.startswith("association-") or action == "assign-late":
        return _ASSOCIATION
    return _CONFIGURATION if actor.is_person else _HUB


def _outcome(outcome: str) -> int:
    if outcome == DONE:
        return SUCCESS
    return SERIOUS if outcome.startswith(_SERIOUS_CODES) else MINOR
