"""What commands ask a hub about profiles of device models, as one person."""

from typing import Any, cast
from urllib.parse import quote

from asepsis.tools.people import PeopleClient


class ComplianceClient:
    """Asks and decides.

    Args:
        people: Speaks for the person.
    """

    def __init__(self, people: PeopleClient) -> None:
        self._people = people

    def profiles(self) -> list[dict[str, Any]]:
        """Return every version of every profile."""
        return cast("list[dict[str, Any]]", self._people.get("/api/profiles")["profiles"])

    def profile(self, name: str, *, version: int = 0) -> dict[str, Any]:
        """Return a version with its document; 0 is the newest."""
        path = f"/api/profiles/{quote(name, safe='')}/{version}"
        return cast("dict[str, Any]", self._people.get(path))

    def add(self, document: str) -> dict[str, Any]:
        """Keep a version of a profile."""
        return cast("dict[str, Any]", self._people.post("/api/profiles", {"document": document}))

    def learn(self, device: str, *, name: str, messages: int) -> str:
        """Return a profile that is proposed from what a device sent to the hub."""
        body = {"device": device, "name": name, "messages": messages}
        return cast("str", self._people.post("/api/profiles/learn", body)["document"])

    def state(self) -> dict[str, Any]:
        """Return decisions, how devices stand, and what waits for a person."""
        return cast("dict[str, Any]", self._people.get("/api/compliance"))

    def admit(
        self, subject: str, *, profile: str, version: int, conformant_days: int | None
    ) -> dict[str, Any]:
        """Decide which profile judges a device or model."""
        body: dict[str, Any] = {"subject": subject, "profile": profile, "version": version}
        if conformant_days is not None:
            body["conformant_days"] = conformant_days
        return cast("dict[str, Any]", self._people.post("/api/compliance/admit", body))

    def withdraw(self, subject: str, *, interface: str) -> None:
        """End a decision."""
        self._people.post("/api/compliance/withdraw", {"subject": subject, "interface": interface})
