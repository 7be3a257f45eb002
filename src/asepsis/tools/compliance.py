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

    def beside(self, devices: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return devices of the registry with a word on how each stands, as `compliance`."""
        state = self.state()
        told = {one["device"]: one for one in state["devices"]}
        decided: dict[str, dict[str, Any]] = {}
        for one in state["admissions"]:
            decided.setdefault(one["subject"], one)
        return [
            {**each, "compliance": _word(told.get(each["name"]), _decision(decided, each))}
            for each in devices
        ]

    def admit(
        self,
        subject: str,
        *,
        profile: str,
        version: int,
        conformant_days: int | None = None,
        certificate: str = "",
    ) -> dict[str, Any]:
        """Decide which profile judges a device or model; `certificate` is its own text."""
        body: dict[str, Any] = {"subject": subject, "profile": profile, "version": version}
        if conformant_days is not None:
            body["conformant_days"] = conformant_days
        if certificate:
            body["certificate"] = certificate
        return cast("dict[str, Any]", self._people.post("/api/compliance/admit", body))

    def withdraw(self, subject: str, *, interface: str) -> None:
        """End a decision."""
        self._people.post("/api/compliance/withdraw", {"subject": subject, "interface": interface})


def _decision(decided: dict[str, dict[str, Any]], device: dict[str, Any]) -> dict[str, Any] | None:
    return decided.get(device["name"]) or decided.get(device["model"])


def _word(told: dict[str, Any] | None, decision: dict[str, Any] | None) -> str:
    """Say in one line which profile judges a device, and what is wrong."""
    words: list[str] = []
    if decision is not None:
        words.append(f"{decision['profile']} v{decision['version']}")
        if decision["lapsed"]:
            words.append("certificate of conformance lapsed")
    if told is not None and told["unverified"]:
        words.append(f"unverified: {told['unverified']}")
    return "; ".join(words)
