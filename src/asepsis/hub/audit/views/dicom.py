"""An entry as DICOM audit message, in a syslog message for TLS. Pure.

Source: DICOM PS3.15 section A.5.1 (message schema); RFC 5424 (syslog); RFC 5425 section 4.3 (octet
counting); IHE ITI TF-2 section 3.20.
"""

from datetime import UTC, datetime
from typing import Final
from xml.etree.ElementTree import (
    Element,
    SubElement,
    tostring,
)

from asepsis.hub.audit.views.acts import Code, View

PRIORITY: Final = 10 * 8 + 5
"""Facility 10 (security, authorisation), severity 5 (notice)."""
APPLICATION: Final = "asepsis"
MESSAGE_ID: Final = "DICOM+RFC3881"
_BOM: Final = b"\xef\xbb\xbf"
_HOST_CHARS_MAX: Final = 255
_PERSON, _SYSTEM_OBJECT = "1", "2"
_PATIENT, _DOMAIN_RESOURCE, _SECURITY_RESOURCE = "1", "4", "13"


def message(view: View, *, hub: str) -> bytes:
    """Return the AuditMessage of an entry, UTF-8.

    Args:
        view: The entry.
        hub: Name of this hub: the audit source.
    """
    root = Element("AuditMessage")
    _event(root, view)
    _participants(root, view, hub)
    source = SubElement(root, "AuditSourceIdentification", {"AuditSourceID": _clean(hub)})
    SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})
    _objects(root, view)
    return b'<?xml version="1.0" encoding="UTF-8"?>' + tostring(
        root, encoding="utf-8", xml_declaration=False
    )


def syslog(view: View, *, hub: str, process: int) -> bytes:
    """Return an entry as one frame of syslog over TLS.

    Args:
        view: The entry.
        hub: Name of this hub: HOSTNAME.
        process: Process id: PROCID.
    """
    at = datetime.fromtimestamp(view.entry.at_ns // 10**9, UTC)
    stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{view.entry.at_ns % 10**9 // 1_000:06d}Z"
    host = "".join(c for c in hub if 33 <= ord(c) <= 126)[:_HOST_CHARS_MAX] or "-"
    # The place in the log, so that a receiver knows a repetition and sees a gap.
    data = f'[audit@32473 index="{view.entry.index}"]'
    head = f"<{PRIORITY}>1 {stamp} {host} {APPLICATION} {process} {MESSAGE_ID} {data} "
    body = head.encode("ascii") + _BOM + message(view, hub=hub)
    return b"%d %b" % (len(body), body)


def _event(root: Element, view: View) -> None:
    at = datetime.fromtimestamp(view.entry.at_ns // 10**9, UTC)
    event = SubElement(
        root,
        "EventIdentification",
        {
            "EventActionCode": view.kind.action,
            "EventDateTime": f"{at:%Y-%m-%dT%H:%M:%S}Z",
            "EventOutcomeIndicator": str(view.outcome),
        },
    )
    _code(event, "EventID", view.kind.event)
    if view.kind.type is not None:
        _code(event, "EventTypeCode", view.kind.type)
    _code(event, "EventTypeCode", Code(view.entry.action, view.entry.action, "asepsis"))
    if view.outcome:
        SubElement(event, "EventOutcomeDescription").text = _clean(view.entry.outcome)


def _participants(root: Element, view: View, hub: str) -> None:
    actor = view.actor
    found = {"UserID": _clean(actor.name), "UserIsRequestor": "true"}
    if actor.is_person:
        found["UserName"] = _clean(actor.name)
    party = SubElement(root, "ActiveParticipant", found)
    _code(party, "RoleIDCode", Code(actor.kind, actor.kind, "asepsis"))
    SubElement(root, "ActiveParticipant", {"UserID": _clean(hub), "UserIsRequestor": "false"})


def _objects(root: Element, view: View) -> None:
    for patient in view.patients:
        authority, _, value = patient.rpartition("|")
        # As CX: value, then the authority in its fourth component.
        identifier = f"{value}^^^{authority}" if authority else value
        found = _object(root, identifier, kind=_PERSON, role=_PATIENT)
        _code(found, "ParticipantObjectIDTypeCode", Code("2", "Patient Number", "RFC-3881"))
    if view.entry.subject:
        role = _DOMAIN_RESOURCE if view.patients else _SECURITY_RESOURCE
        found = _object(root, view.entry.subject, kind=_SYSTEM_OBJECT, role=role)
        _code(found, "ParticipantObjectIDTypeCode", Code("12", "URI", "RFC-3881"))


def _object(root: Element, identifier: str, *, kind: str, role: str) -> Element:
    values = {
        "ParticipantObjectID": _clean(identifier),
        "ParticipantObjectTypeCode": kind,
        "ParticipantObjectTypeCodeRole": role,
    }
    return SubElement(root, "ParticipantObjectIdentification", values)


def _code(parent: Element, name: str, code: Code) -> None:
    values = {"csd-code": code.code, "codeSystemName": code.system, "originalText": code.text}
    SubElement(parent, name, {key: _clean(value) for key, value in values.items()})


def _clean(text: str) -> str:
    """Return text that XML 1.0 can hold: names come from outside."""
    return "".join(
        c
        if c >= " " and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) not in (0xFFFE, 0xFFFF)
        else "\ufffd"
        for c in text
    )
