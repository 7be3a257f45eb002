"""A person at the console: signs in with a password, as a browser does, and looks.

The account is made for one story; its password is printed so that whoever runs it can sign in too.
"""

import hashlib
import re
import secrets
import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from asepsis.core.errors import NotAuthenticated, Unavailable
from asepsis.core.trust import tls
from asepsis.tools.people import PeopleClient

NAME: Final = "demo"
ROLES: Final = ("clinician", "clinical-engineer")
"""Who stands at the bed, and who cares for the devices: together they see every page but audit."""
TIMEOUT_S: Final = 10.0
_CSRF: Final = re.compile(r'name="csrf" value="([^"]{1,128})"')


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

    def associations(self, state: str) -> dict[str, dict[str, Any]]:
        """Return the associations of all beds in a state, by device; errors as `_ask`."""
        return {
            one["device"]: one
            for bed in self._ask("GET", "/api/places").json()["beds"]
            for one in bed["associations"]
            if one["state"] == state
        }

    def confirmed(self) -> dict[str, str]:
        """Return whose each device is now: its name, and the patient's number; errors as `_ask`."""
        found = self.associations("confirmed")
        return {device: one["patient"]["value"] for device, one in found.items()}

    def confirm(self, association: Mapping[str, Any]) -> None:
        """Confirm a proposal, as a person at the bedside does; errors as `_ask`."""
        page = self._ask("GET", "/account").text
        found = _CSRF.search(page)
        token = found.group(1) if found else ""
        patient = association["patient"]
        self._ask(
            "POST",
            f"/api/associations/{association['id']}/confirm",
            json={"confirm": f"{patient['authority']}|{patient['value']}"},
            headers={"X-CSRF-Token": token},
        )

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send one request.

        Raises:
            Unavailable: No answer, or not the one that was wanted.
        """
        try:
            return self._http.request(method, path, **content).raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable(f"the console does not answer {method} {path}") from error

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
