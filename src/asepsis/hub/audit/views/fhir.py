"""An entry as FHIR R4 AuditEvent, by the patterns of IHE BALP where one describes the act. Pure.

Source: FHIR R4 AuditEvent; IHE ITI Basic Audit Log Patterns 1.1, sections 3:5.7.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from asepsis.hub.audit.views.acts import Code, Party, View

PROFILE: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
ID_PREFIX: Final = "audit-"
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_TYPES: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_ENTITIES: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLES: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCES: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_INTERACTIONS: Final = "http://hl7.org/fhir/restful-interaction"
_URI: Final = "urn:ietf:rfc:3986"
_SOURCE_ROLE: Final = Code("110153", "Source Role ID")
_DESTINATION_ROLE: Final = Code("110152", "Destination Role ID")
_APPLICATION: Final = Code("110150", "Application")
_CUSTODIAN: Final = Code(
    "custodian",
    "Custodian",
    "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
)
_ENDS: Final[Mapping[str, tuple[Code, Code]]] = {
    "read": (_DESTINATION_ROLE, _SOURCE_ROLE),
    "delete": (_APPLICATION, _CUSTODIAN),
}
"""Interaction -> what client and server are in it; the others bring something to the server."""


def event(view: View, *, hub: str) -> dict[str, Any]:
    """Return the AuditEvent of an entry.

    Args:
        view: The entry.
        hub: Name of this hub, for people.
    """
    entry, kind = view.entry, view.kind
    found: dict[str, Any] = {"resourceType": "AuditEvent", "id": f"{ID_PREFIX}{entry.index}"}
    if kind.restful:
        patient = "Patient" if len(view.patients) == 1 else ""
        found["meta"] = {"profile": [f"{PROFILE}{patient}{kind.restful.capitalize()}"]}
        found["type"] = {"system": _TYPES, "code": "rest", "display": "RESTful Operation"}
        found["subtype"] = [
            {"system": _INTERACTIONS, "code": kind.restful, "display": kind.restful},
            *([_coding(kind.type)] if kind.type else []),
        ]
    else:
        found["type"] = _coding(kind.event)
        found["subtype"] = [_coding(kind.type)] if kind.type else []
    found["subtype"].append({"system": "urn:asepsis:act", "code": entry.action})
    found["action"] = kind.action
    at = datetime.fromtimestamp(entry.at_ns // 10**9, UTC)
    found["recorded"] = f"{at:%Y-%m-%dT%H:%M:%S}.{entry.at_ns % 10**9 // 10**6:03d}Z"
    found["outcome"] = str(view.outcome)
    if view.outcome:
        found["outcomeDesc"] = entry.outcome
    found["agent"] = _agents(view, hub)
    found["source"] = {
        "observer": {"display": hub},
        "type": [{"system": _SOURCES, "code": "4", "display": "Application Server"}],
    }
    found["entity"] = _entities(view)
    return found


def bundle(events: list[dict[str, Any]], *, links: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of a search.

    Args:
        events: Of `event`.
        links: Relation -> address; `self`, and `next` where there is more.
    """
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": name, "url": url} for name, url in links.items()],
        "entry": [
            {
                "fullUrl": f"urn:asepsis:audit:{each['id']}",
                "resource": each,
                "search": {"mode": "match"},
            }
            for each in events
        ],
    }


def _agents(view: View, hub: str) -> list[dict[str, Any]]:
    ends = _ENDS.get(view.kind.restful, (_SOURCE_ROLE, _DESTINATION_ROLE))
    client, server = ends if view.kind.restful else (_APPLICATION, _APPLICATION)
    person = view.actor.is_person
    found = [
        {
            "type": _concept(client),
            "who": {"display": "console or command"} if person else _who(view.actor),
            "requestor": not person,
        },
        {"type": _concept(server), "who": {"display": hub}, "requestor": False},
    ]
    if person:
        reads = view.kind.action == "R"
        role = {
            "system": _PARTICIPATION,
            "code": "IRCP" if reads else "AUT",
            "display": "information recipient" if reads else "author (originator)",
        }
        found.append({"type": {"coding": [role]}, "who": _who(view.actor), "requestor": True})
    return found


def _who(party: Party) -> dict[str, Any]:
    if party.name.startswith("urn:"):
        return {"identifier": {"system": _URI, "value": party.name}, "display": party.kind}
    return {"identifier": {"value": party.name}, "display": party.name}


def _entities(view: View) -> list[dict[str, Any]]:
    found = [
        {
            "what": {"identifier": _identifier(patient)},
            "type": {"system": _ENTITIES, "code": "1", "display": "Person"},
            "role": {"system": _ROLES, "code": "1", "display": "Patient"},
        }
        for patient in view.patients
    ]
    subject = view.entry.subject
    if subject or view.kind.restful or not found:
        found.append(
            {
                "what": {"identifier": {"value": subject or view.entry.action}},
                "type": {"system": _ENTITIES, "code": "2", "display": "System Object"},
                "role": {"system": _ROLES, "code": "4", "display": "Domain Resource"},
            }
        )
    return found


def _identifier(patient: str) -> dict[str, Any]:
    authority, _, value = patient.rpartition("|")
    found: dict[str, Any] = {"value": value}
    if authority.startswith(("urn:", "http://", "https://")):
        found["system"] = authority
    elif authority:
        found["assigner"] = {"display": authority}
    return found


def _coding(code: Code) -> dict[str, str]:
    system = _DCM if code.system == "DCM" else code.system
    return {"system": system, "code": code.code, "display": code.text}


def _concept(code: Code) -> dict[str, Any]:
    return {"coding": [_coding(code)]}
