"""What commands and stories ask a hub about associations and places, as one person."""

from typing import Any, cast
from urllib.parse import quote

from asepsis.core.model.patient import PatientId, Place
from asepsis.tools.people import PeopleClient


class AssociationClient:
    """Asks and decides; every act that binds data to a patient can be previewed.

    Args:
        people: Speaks for the person.
    """

    def __init__(self, people: PeopleClient) -> None:
        self._people = people

    def beds(self) -> dict[str, Any]:
        """Return beds, and the wards whose fixed monitors follow ADT."""
        return cast("dict[str, Any]", self._people.get("/api/places"))

    def associations(self, state: str, *, limit: int = 100) -> list[dict[str, Any]]:
        """Return associations in a state, the newest first."""
        found = self._people.get("/api/associations", state=state, limit=limit)
        return cast("list[dict[str, Any]]", found["associations"])

    def confirm(self, association: str, *, patient: str | None) -> dict[str, Any]:
        """Confirm a proposal; without `patient` (authority|value) return whom it is about."""
        return self._act(f"/api/associations/{_part(association)}/confirm", {}, patient)

    def reject(self, association: str, *, reason: str) -> dict[str, Any]:
        """Decline a proposal."""
        path = f"/api/associations/{_part(association)}/reject"
        return self._act(path, {"reason": reason}, None)

    def end(self, association: str, *, reason: str, patient: str | None) -> dict[str, Any]:
        """End a confirmed association now; without `patient` return whom it is about."""
        path = f"/api/associations/{_part(association)}/end"
        return self._act(path, {"reason": reason}, patient)

    def associate(self, device: str, patient: PatientId, *, confirm: bool) -> dict[str, Any]:
        """Propose and confirm at the bedside; without `confirm` return whom it is about."""
        body = {"device": device, "patient": _patient(patient)}
        return self._act("/api/associations", body, patient.key() if confirm else None)

    def assign_late(
        self, device: str, patient: PatientId, *, start_ns: int, end_ns: int, confirm: bool
    ) -> dict[str, Any]:
        """Assign a time that is over; without `confirm` return what is confirmed in it."""
        body = {
            "device": device,
            "patient": _patient(patient),
            "start_ns": start_ns,
            "end_ns": end_ns,
        }
        return self._act("/api/associations/late", body, patient.key() if confirm else None)

    def place(
        self, device: str, place: Place | None, *, fixed: bool, confirm: bool
    ) -> dict[str, Any]:
        """Say where a device stands; without `confirm` nothing is done that ends an association."""
        where = None
        if place is not None:
            where = {
                "point_of_care": place.point_of_care,
                "room": place.room,
                "bed": place.bed,
                "facility": place.facility,
            }
        body = {"place": where, "fixed": fixed} | ({"confirm": device} if confirm else {})
        return cast("dict[str, Any]", self._people.put(f"/api/devices/{_part(device)}/place", body))

    def set_rule(self, ward: str, *, follow_adt: bool, confirm: bool) -> dict[str, Any]:
        """Let a ward's fixed monitors follow ADT or not; without `confirm` return which."""
        body = {"follow_adt": follow_adt} | ({"confirm": ward} if confirm else {})
        return cast("dict[str, Any]", self._people.put(f"/api/wards/{_part(ward)}/rule", body))

    def _act(self, path: str, body: dict[str, Any], confirm: str | None) -> dict[str, Any]:
        whole = body | ({"confirm": confirm} if confirm is not None else {})
        return cast("dict[str, Any]", self._people.post(path, whole))


def _patient(patient: PatientId) -> dict[str, str]:
    return {"value": patient.value, "authority": patient.authority}


def _part(text: str) -> str:
    return quote(text, safe="")
