"""The forms of an entry: patients and users, codes, never a value or a person's own words."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from asepsis.hub.audit.rules import Entry
from asepsis.hub.audit.views import dicom, fhir
from asepsis.hub.audit.views.acts import View, patients, view

sys.path.insert(0, str(Path(__file__).parent))

from audit_entries import HUB, SECRETS, views

CODED = """<attribute name="csd-code"/>
<optional><attribute name="codeSystemName"/><attribute name="originalText"/></optional>"""
SCHEMA = f"""
<grammar xmlns="http://relaxng.org/ns/structure/1.0"
 datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
<start><element name="AuditMessage">
 <element name="EventIdentification">
  <attribute name="EventActionCode"><choice>
   <value>C</value><value>R</value><value>U</value><value>D</value><value>E</value></choice></attribute>
  <attribute name="EventDateTime"><data type="dateTime"/></attribute>
  <attribute name="EventOutcomeIndicator"><choice>
   <value>0</value><value>4</value><value>8</value><value>12</value></choice></attribute>
  <element name="EventID">{CODED}</element>
  <zeroOrMore><element name="EventTypeCode">{CODED}</element></zeroOrMore>
  <optional><element name="EventOutcomeDescription"><text/></element></optional>
 </element>
 <oneOrMore><element name="ActiveParticipant">
  <attribute name="UserID"/><attribute name="UserIsRequestor"><data type="boolean"/></attribute>
  <optional><attribute name="AlternativeUserID"/></optional>
  <optional><attribute name="UserName"/></optional>
  <optional><attribute name="NetworkAccessPointID"/></optional>
  <optional><attribute name="NetworkAccessPointTypeCode"/></optional>
  <zeroOrMore><element name="RoleIDCode">{CODED}</element></zeroOrMore>
 </element></oneOrMore>
 <element name="AuditSourceIdentification">
  <optional><attribute name="AuditEnterpriseSiteID"/></optional><attribute name="AuditSourceID"/>
  <zeroOrMore><element name="AuditSourceTypeCode">{CODED}</element></zeroOrMore>
 </element>
 <zeroOrMore><element name="ParticipantObjectIdentification">
  <attribute name="ParticipantObjectID"/>
  <attribute name="ParticipantObjectTypeCode"><choice>
   <value>1</value><value>2</value><value>3</value><value>4</value></choice></attribute>
  <attribute name="ParticipantObjectTypeCodeRole">
   <data type="positiveInteger"><param name="maxInclusive">26</param></data></attribute>
  <element name="ParticipantObjectIDTypeCode">{CODED}</element>
  <optional><choice><element name="ParticipantObjectName"><text/></element>
   <element name="ParticipantObjectQuery"><data type="base64Binary"/></element></choice></optional>
 </element></zeroOrMore>
</element></start></grammar>
"""
"""The elements, order and code tables of the schema of PS3.15 A.5.1, as far as we write it."""
JUDGE = etree.RelaxNG(
    etree.fromstring(SCHEMA.replace("<optional><attribute", "<optional><attribute"))
)


def judged(text: bytes) -> etree._Element:
    document = etree.fromstring(text)
    assert JUDGE.validate(document), JUDGE.error_log
    return document


@pytest.mark.parametrize("one", views(), ids=lambda v: v.entry.action)
def test_a_dicom_message_is_of_the_schema_and_tells_nothing_but_who_and_whom(one: View) -> None:
    text = dicom.message(one, hub=HUB)
    document = judged(text)
    for secret in SECRETS:
        assert secret.encode() not in text
    users = [p.get("UserID") for p in document.iter("ActiveParticipant")]
    assert users == [one.actor.name, HUB]
    shown = [
        o.get("ParticipantObjectID")
        for o in document.iter("ParticipantObjectIdentification")
        if o.get("ParticipantObjectTypeCode") == "1"
    ]
    assert shown == [
        f"{p.rpartition('|')[2]}^^^{p.rpartition('|')[0]}" if "|" in p else p for p in one.patients
    ]


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_whatever_a_name_holds_the_xml_is_well_formed(actor: str, subject: str, who: str) -> None:
    entry = Entry(
        index=1, at_ns=0, actor=f"person:{actor}", action="submit", subject=subject,
        outcome=who or "done", detail=json.dumps({"patient": who}), salt="00",
    )  # fmt: skip
    judged(dicom.message(view(entry), hub=HUB))


def test_a_frame_counts_its_octets() -> None:
    frame = dicom.syslog(views()[0], hub=HUB, process=17)
    length, _, rest = frame.partition(b" ")
    assert int(length) == len(rest)
    assert rest.startswith(
        b"<85>1 2026-11-18T11:06:40.123456Z hub.example.org asepsis 17 DICOM+RFC3881 "
        b'[audit@32473 index="0"] \xef\xbb\xbf<?xml'
    )


@pytest.mark.parametrize("one", views(), ids=lambda v: v.entry.action)
def test_an_audit_event_names_user_and_patients_and_no_value(one: View) -> None:
    event = fhir.event(one, hub=HUB)
    text = json.dumps(event)
    for secret in SECRETS:
        assert secret not in text
    assert event["action"] in "CRUDE"
    requestors = [agent for agent in event["agent"] if agent["requestor"]]
    assert len(requestors) == 1
    assert requestors[0]["who"]["identifier"]["value"] == one.actor.name
    shown = [e for e in event["entity"] if e["type"]["code"] == "1"]
    assert [e["what"]["identifier"]["value"] for e in shown] == [
        p.rpartition("|")[2] for p in one.patients
    ]
    if one.kind.restful:
        (profile,) = event["meta"]["profile"]
        assert ("Patient" in profile) == (len(one.patients) == 1)


def test_who_read_whose_record_is_a_patient_read_of_balp() -> None:
    read = next(v for v in views() if v.entry.action == "read-record")
    event = fhir.event(read, hub=HUB)
    assert event["meta"]["profile"][0].endswith("IHE.BasicAudit.PatientRead")
    assert [a["type"]["coding"][0]["code"] for a in event["agent"]] == ["110152", "110153", "IRCP"]
    refused = fhir.event(next(v for v in views() if v.entry.action == "submit"), hub=HUB)
    assert (refused["outcome"], refused["outcomeDesc"]) == ("8", "ASP-206")


@pytest.mark.parametrize(
    ("detail", "named"),
    [
        ("{}", ()),
        ("[]", ()),
        ("no json", ()),
        ('{"patient": 5, "patients": "x"}', ()),
        ('{"patient": "A|1", "patients": ["A|1", "A|2", 3, ""]}', ("A|1", "A|2")),
    ],
)
def test_only_what_names_a_patient_is_read_of_a_detail(detail: str, named: tuple[str, ...]) -> None:
    assert patients(detail) == named
