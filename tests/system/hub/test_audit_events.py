"""The audit log as FHIR on a real hub: who may read it, and that reading stands in it."""

import pytest
from hub_ward import Ward
from test_delegations import people

from asepsis.core.errors import InputError


def test_reading_the_log_is_in_the_log(ward: Ward) -> None:
    with people(ward) as client:
        page = client.get("/fhir/AuditEvent", patient="HOSP|4711")
        assert len(page["entry"]) == 1, "the search for the patient itself"
        agents = page["entry"][0]["resource"]["agent"]
        (who,) = [a["who"]["identifier"]["value"] for a in agents if a["requestor"]]
        found = client.get("/fhir/AuditEvent", action="R", agent=who, _count=5)
        reads = [entry["resource"] for entry in found["entry"]]
        assert reads, found
        read = reads[0]
        assert {"code": "read-audit", "system": "urn:asepsis:act"} in read["subtype"]
        patients = [e for e in read["entity"] if e["role"]["code"] == "1"]
        assert patients[0]["what"]["identifier"]["value"] == "4711"
        assert client.get(f"/fhir/AuditEvent/{read['id']}") == read
        plain = client.get("/api/audit", after=-1, limit=500)["entries"]
        assert {e["action"] for e in plain} >= {"read-audit"}
        for wrong in ({"date": "2026"}, {"outcome": "9"}, {"name": "x"}, {"_cursor": "x"}):
            with pytest.raises(InputError):
                client.get("/fhir/AuditEvent", **wrong)
        with pytest.raises(InputError):
            client.get("/fhir/AuditEvent/audit-x")
