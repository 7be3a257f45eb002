"""Client of the hub's people listener, for commands and stories."""

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import httpx

from asepsis.core.errors import ConfigError, InputError, NotPermitted, Unavailable
from asepsis.core.trust import tls

TIMEOUT_S: Final = 10.0
FILE_S: Final = 600.0
"""Longest pause while a file is sent, seconds."""


class PeopleClient:
    """Speaks for one person, with a bearer token and the hospital's root pinned.

    Args:
        base_url: `https://host:port` of the people listener.
        root_path: The hospital root, PEM.
        token_path: File with the person's token, mode 0600.

    Raises:
        ConfigError: A file is absent.

    Resource handling: keeps one connection; `close` releases it.
    """

    def __init__(self, base_url: str, *, root_path: Path, token_path: Path) -> None:
        try:
            token = token_path.read_text("ascii").strip()
            root = root_path.read_text("ascii")
        except OSError as error:
            raise ConfigError(
                f"cannot read {error.filename}", hint="run this on the hub, as its administrator"
            ) from error
        context = tls.client_context(root_der=ssl.PEM_cert_to_DER_cert(root))
        self._http = httpx.Client(
            base_url=base_url,
            verify=context,
            timeout=TIMEOUT_S,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **query: str | int) -> Any:
        """Return the JSON of a route; errors as `_ask`."""
        return self._ask("GET", path, params=query)

    def status(self) -> dict[str, Any]:
        """Return what the hub says of itself."""
        return cast("dict[str, Any]", self.get("/api/status"))

    def devices(self) -> list[dict[str, Any]]:
        """Return every device that the hub knows, page after page."""
        page = self.get("/api/devices")
        found: list[dict[str, Any]] = page["devices"]
        while page["next"] is not None:
            page = self.get("/api/devices", after=page["next"])
            found += page["devices"]
        return found

    def device(self, name: str) -> dict[str, Any]:
        """Return one device."""
        return cast("dict[str, Any]", self.get(f"/api/devices/{quote(name, safe='')}"))

    def revoke(self, name: str, *, reason: str, confirm: bool) -> dict[str, Any]:
        """Revoke an identity; without `confirm` return what would happen."""
        path = f"/api/devices/{quote(name, safe='')}/revoke"
        body = {"reason": reason} | ({"confirm": name} if confirm else {})
        return cast("dict[str, Any]", self._ask("POST", path, json=body))

    def declare(
        self, gateway: str, devices: Sequence[str], *, days: int, evidence: str, **terms: Any
    ) -> None:
        """Let a gateway speak for devices; `terms` are the further fields of the route's body."""
        body = {"devices": list(devices), "days": days, "evidence": evidence, **terms}
        self._ask("POST", f"/api/devices/{quote(gateway, safe='')}/declare", json=body)

    def name_source(self, gateway: str, kind: str, *, days: int, partner: str = "") -> None:
        """Name a gateway as a source of ADT, merges or worklists."""
        path = f"/api/devices/{quote(gateway, safe='')}/sources"
        self._ask("POST", path, json={"kind": kind, "days": days, "partner": partner})

    def withdraw_source(self, gateway: str, kind: str) -> None:
        """End that a gateway is a source."""
        path = f"/api/devices/{quote(gateway, safe='')}/sources/withdraw"
        self._ask("POST", path, json={"kind": kind})

    def withdraw(self, gateway: str, devices: Sequence[str]) -> None:
        """Take devices from a gateway's declared list."""
        path = f"/api/devices/{quote(gateway, safe='')}/withdraw"
        self._ask("POST", path, json={"devices": list(devices)})

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a JSON document and return the answer's; errors as `_ask`."""
        return self._ask("POST", path, json=body)

    def post_file(self, path: str, file: Path, **query: str) -> Any:
        """Send a file, however long, and return the answer's JSON; errors as `_ask`.

        Raises:
            InputError: The file does not open.
        """
        headers = {"Content-Type": "application/octet-stream"}
        try:
            with file.open("rb") as content:
                headers["Content-Length"] = str(file.stat().st_size)
                sent = {"params": query, "content": content, "headers": headers}
                return self._ask("POST", path, timeout=FILE_S, **sent)
        except OSError as error:
            raise InputError(f"{file} does not open: {error.strerror}") from error

    def delete(self, path: str) -> Any:
        """Delete a resource and return the answer's JSON; errors as `_ask`."""
        return self._ask("DELETE", path)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """Put a JSON document and return the answer's; errors as `_ask`."""
        return self._ask("PUT", path, json=body)

    def put_file(self, path: str, file: Path) -> Any:
        """Put a file, however long, and return the answer's JSON; errors as `_ask`.

        Raises:
            InputError: The file does not open.
        """
        headers = {"Content-Type": "application/octet-stream"}
        try:
            with file.open("rb") as content:
                headers["Content-Length"] = str(file.stat().st_size)
                return self._ask("PUT", path, content=content, headers=headers, timeout=FILE_S)
        except OSError as error:
            raise InputError(f"{file} does not open: {error.strerror}") from error

    def people(self) -> list[dict[str, Any]]:
        """Return every account."""
        return cast("list[dict[str, Any]]", self.get("/api/people")["people"])

    def add_person(self, name: str, *, roles: Sequence[str]) -> None:
        """Add an account; it has no password yet."""
        self._ask("POST", "/api/people", json={"name": name, "roles": list(roles)})

    def set_roles(self, name: str, *, roles: Sequence[str]) -> None:
        """Replace the roles of an account."""
        self._ask("POST", f"{_account(name)}/roles", json={"roles": list(roles)})

    def set_password(self, name: str, *, password: str) -> None:
        """Give an account a password; its sessions end."""
        self._ask("POST", f"{_account(name)}/password", json={"password": password})

    def issue_token(self, name: str, *, days: int) -> str:
        """Return a new token of an account; the hub keeps only its hash."""
        found = self._ask("POST", f"{_account(name)}/tokens", json={"days": days})
        return cast("str", found["token"])

    def end_second_factor(self, name: str) -> None:
        """Take the second factor of an account away, for one who lost it."""
        self._ask("POST", f"{_account(name)}/second-factor/end")

    def remove_person(self, name: str) -> None:
        """Remove an account; its sessions and streams end."""
        self._ask("DELETE", _account(name))

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        """Send one request.

        Raises:
            InputError: The hub says the request is wrong.
            NotPermitted: This person may not do that.
            Unavailable: No answer.
        """
        try:
            answer = self._http.request(method, path, **content)
            document: Any = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(
                f"no answer from the hub ({type(error).__name__})", hint="does `asepsis hub` run?"
            ) from error
        if answer.is_success:
            return document
        text = f"{document.get('title', answer.status_code)}: {document.get('detail', '')}"
        kind = NotPermitted if answer.status_code in (401, 403) else InputError
        raise kind(text, hint=str(document.get("hint", "")))


def _account(name: str) -> str:
    return f"/api/people/{quote(name, safe='')}"
