"""A person at the console: signs in with a password, as a browser does, and looks.

The account is made for one story; its password is printed so that whoever runs it can sign in too.
"""

import hashlib
import secrets
import socket
from typing import Any, Final, cast
from urllib.parse import quote

import httpx

from asepsis.core.errors import NotAuthenticated, Unavailable
from asepsis.core.trust import tls
from asepsis.tools.people import PeopleClient

NAME: Final = "demo"
ROLES: Final = ("clinician", "clinical-engineer")
"""Who stands at the bed, and who cares for the devices: together they see every page but audit."""
TIMEOUT_S: Final = 10.0


def create_account(people: PeopleClient) -> str:
    """Make the account and return its password; errors as `PeopleClient.post`."""
    password = "-".join(secrets.token_hex(2) for _ in range(4))
    people.post("/api/people", {"name": NAME, "roles": list(ROLES)})
    people.post(f"/api/people/{quote(NAME)}/password", {"password": password})
    return password


class Visitor:
    """Signed in at the console.

    Args:
        base_url: `https://host:port` of the people listener.
        root_der: The hospital's root.
        password: Of the account that `create_account` made.

    Raises:
        Unavailable: No answer.
        NotAuthenticated: The console does not let this person in.

    Resource handling: keeps one connection; `close` releases it.
    """

    def __init__(self, base_url: str, *, root_der: bytes, password: str) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            verify=tls.client_context(root_der=root_der),
            timeout=TIMEOUT_S,
            trust_env=False,
            headers={"Origin": base_url, "Sec-Fetch-Site": "same-origin"},
        )
        try:
            answer = self._http.post("/sign-in", data={"name": NAME, "password": password})
        except httpx.HTTPError as error:
            self._http.close()
            raise Unavailable("the console does not answer") from error
        if answer.status_code >= 400:
            self._http.close()
            raise NotAuthenticated("the console does not let the visitor in")

    def beds(self) -> list[dict[str, Any]]:
        """Return the beds as the console shows them, with patients, devices and associations.

        Raises:
            Unavailable: No answer.
        """
        try:
            answer = self._http.get("/api/places").raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable("the console does not answer") from error
        return cast("list[dict[str, Any]]", answer.json()["beds"])

    def confirmed(self) -> dict[str, str]:
        """Return whose each device is now: its name, and the patient's number; errors as `beds`."""
        return {
            one["device"]: one["patient"]["value"]
            for bed in self.beds()
            for one in bed["associations"]
            if one["state"] == "confirmed"
        }

    def close(self) -> None:
        """Close the connection; the session ends by itself."""
        self._http.close()


def fingerprint(host: str, port: int, *, root_der: bytes) -> str:
    """Return the SHA-256 of the hub's certificate, as browsers show it.

    Raises:
        Unavailable: No answer.
    """
    context = tls.client_context(root_der=root_der)
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as line,
        ):
            der = line.getpeercert(binary_form=True) or b""
    except OSError as error:
        raise Unavailable("the console does not answer") from error
    return hashlib.sha256(der).digest().hex(":").upper()
