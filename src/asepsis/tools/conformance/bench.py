"""The suite's own place at a hub: its identities, and the ways to speak and to look."""

import base64
import contextlib
import itertools
import json
import socket
import ssl
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from asepsis.core.errors import ConfigError
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust import tls
from asepsis.core.wire import frames, origin
from asepsis.edge.gateway import enrolment as gateway_enrolment
from asepsis.edge.uplink.connection import Endpoint, HubConnection
from asepsis.edge.uplink.enrolment import EnrolmentOrder, enrol, probe_root
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken
from asepsis.tools.conformance.checks import (
    CREATED,
    NO_CONTENT,
    OK,
    NotShown,
    Violation,
    demand,
)
from asepsis.tools.conformance.live import Silence, View, watching
from asepsis.tools.conformance.plan import HubPlan, Role
from asepsis.tools.conformance.source import Source

TIMEOUT_S: Final = 20.0
SILENT_S_MAX: Final = 30.0
LISTENERS: Final = ("clinical", "enrolment", "people")
RECORDS_PER_READ: Final = 1_000
READS_MAX: Final = 1_000
BATCH: Final = {"Content-Type": origin.MEDIA_TYPE}
WAVES: Final = {"Content-Type": frames.MEDIA_TYPE}
FHIR: Final = {"Content-Type": "application/fhir+json"}
HL7: Final = {"Content-Type": "application/hl7-v2"}
ALARM: Final = {"Content-Type": "application/vnd.asepsis.alarm+json"}
_KEYED: Final[frozenset[Role]] = frozenset({"signing", "other", "victim"})


class HubBench:
    """The suite's identities at one hub.

    Args:
        plan: What the suite was told.
        folder: Empty folder for keys and certificates of the suite.

    Attributes:
        marks: Headers that every request carries beside its own; empty for a real hub.

    Resource handling: keeps clients and streams open; `close` ends them.
    """

    def __init__(self, plan: HubPlan, folder: Path) -> None:
        self.plan = plan
        self.marks: dict[str, str] = {}
        self.silent: dict[str, Silence] = {}
        self.root_der = b""
        self._folder = folder
        self._sources: dict[Role, Source] = {}
        self._clients: dict[tuple[Role | None, str], httpx.Client] = {}
        self._numbers: dict[str, Iterator[int]] = {}
        self._epoch = time.time_ns()
        self._stack = contextlib.ExitStack()

    def open(self, *, only: Sequence[Role] = ()) -> None:
        """Pin the root and enrol every identity but the spare one, as a device would.

        Args:
            only: Roles to enrol; all if empty.

        Raises:
            AsepsisError: The hub cannot be reached, is another one, or refuses.
        """
        first = self.token("signing")
        self.root_der = probe_root(self.endpoint("enrolment"), pin=first.pin)
        hospital = Hospital(self.endpoint("clinical"), self.endpoint("enrolment"))
        for role, identity in self.plan.identities.items():
            if role == "spare" or (only and role not in only):
                continue
            folder, token = self.folder(role), self.token(role)
            if role == "gateway":
                gateway_enrolment.enrol(folder, identity.name, hospital=hospital, token=token)
                continue
            wanted = EnrolmentOrder(
                name=identity.name, hospital=hospital, token=token, origin=role in _KEYED
            )
            enrol(folder, wanted)

    def stay_silent(self) -> None:
        """Open a connection to every listener and say nothing, until the hub ends it."""
        for listener in LISTENERS:
            self.silent[listener] = Silence(self.dial(listener, timeout_s=SILENT_S_MAX))
            self._stack.callback(self.silent[listener].close)

    def close(self) -> None:
        """End every connection."""
        self._stack.close()

    # --- who -----------------------------------------------------------------------------------

    def name(self, role: Role) -> str:
        """Return the name of an identity."""
        return self.plan.identities[role].name

    def token(self, role: Role) -> EnrolmentToken:
        """Return the token of an identity."""
        return EnrolmentToken.parse(self.plan.identities[role].token)

    def folder(self, role: Role) -> IdentityFolder:
        """Return where keys and certificates of an identity are."""
        return IdentityFolder(self._folder / role)

    def endpoint(self, listener: str) -> Endpoint:
        """Return address and port of a listener."""
        return Endpoint(self.plan.host, getattr(self.plan, listener))

    def source(self, role: Role = "signing") -> Source:
        """Return the signing device of a role, one boot for the whole run."""
        if role not in self._sources:
            self._sources[role] = self.rebooted(role)
        return self._sources[role]

    def rebooted(self, role: Role = "signing") -> Source:
        """Return the device of a role in a new epoch, and go on with it."""
        made = Source(DeviceId.parse(self.name(role)), self.folder(role).key("origin"))
        self._sources[role] = made
        return made

    # --- speaking ------------------------------------------------------------------------------

    def context(self, role: Role | None) -> ssl.SSLContext:
        """Return a right TLS context with the certificate of a role, or without one."""
        identity = self.folder(role).identity if role else None
        return tls.client_context(root_der=self.root_der, identity=identity)

    def client(self, role: Role | None, listener: str = "clinical") -> httpx.Client:
        """Return the HTTP client of a role, or of nobody in particular."""
        if (role, listener) not in self._clients:
            self._clients[role, listener] = self.fresh_client(role, listener)
        return self._clients[role, listener]

    def fresh_client(self, role: Role | None, listener: str = "clinical") -> httpx.Client:
        """Return one with connections of its own; it may be closed early."""
        where = self.endpoint(listener)
        made = httpx.Client(
            verify=self.context(role),
            base_url=f"https://{where.host}:{where.port}",
            event_hooks={"request": [self._mark]},
            timeout=TIMEOUT_S,
            trust_env=False,
        )
        self._stack.callback(made.close)
        return made

    def _mark(self, request: httpx.Request) -> None:
        request.headers.update(self.marks)

    def connection(self, role: Role | None) -> HubConnection:
        """Return a connection to the enrolment listener, to be closed by the caller."""
        return HubConnection(self.endpoint("enrolment"), self.context(role), now_ns=time.time_ns)

    def post(
        self, role: Role, path: str, body: bytes, headers: Mapping[str, str]
    ) -> httpx.Response:
        """Send one record and return the answer."""
        return self.client(role).post(path, content=body, headers=dict(headers))

    def numbered(self, role: Role, headers: Mapping[str, str]) -> dict[str, str]:
        """Return headers with the next number of an unsigned sender (REQ-OBS-008)."""
        kind = "message" if headers is HL7 else "fhir"
        numbers = self._numbers.setdefault(f"{role}/{kind}", itertools.count(1))
        return self.under(next(numbers), headers)

    def under(self, number: int, headers: Mapping[str, str]) -> dict[str, str]:
        """Return headers with this number in the epoch of the run."""
        numbers = {"Asepsis-Epoch": str(self._epoch), "Asepsis-Sequence": str(number)}
        return dict(headers) | numbers

    def accept(self, role: Role, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a record that is right.

        Raises:
            Violation: The hub does not store it.
        """
        answer = self.post(role, path, body, headers)
        demand(
            answer.status_code in (200, CREATED),
            f"{path} answers {answer.status_code} to a right record: {answer.text[:200]}",
        )

    def refuse(
        self, role: Role, path: str, body: bytes, headers: Mapping[str, str], *statuses: int
    ) -> httpx.Response:
        """Send a record that is wrong and return the refusal.

        Raises:
            Violation: The hub takes it, or refuses it with another status.
        """
        answer = self.post(role, path, body, headers)
        demand(
            answer.status_code in statuses,
            f"{path} answers {answer.status_code} instead of {' or '.join(map(str, statuses))}",
        )
        return answer

    def revoke(self, role: Role) -> float:
        """Revoke an identity and return when that was asked, monotonic seconds.

        Raises:
            NotShown: The plan gives no right to.
            Violation: The hub does not.
        """
        client, headers = self.client(None, "people"), self.person()
        path = f"/api/devices/{quote(self.name(role), safe='')}/revoke"
        body = {"reason": "conformance run", "confirm": self.name(role)}
        asked_s = time.monotonic()
        answer = client.post(path, json=body, headers=headers)
        demand(answer.status_code < 300, f"revocation answers {answer.status_code}")
        return asked_s

    def person(self) -> dict[str, str]:
        """Return the credential of the plan's administrator, as headers.

        Raises:
            NotShown: The plan names none.
            ConfigError: Its file cannot be read.
        """
        if not self.plan.admin_token_file:
            raise NotShown("the plan names no admin_token_file: nobody may revoke or read audit")
        try:
            token = Path(self.plan.admin_token_file).read_text("ascii").strip()
        except OSError as error:
            raise ConfigError(f"cannot read {self.plan.admin_token_file}") from error
        return {"Authorization": f"Bearer {token}"}

    # --- looking -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def view(self, *devices: str, waveforms: bool = False) -> Generator[View]:
        """Watch devices by name; those of the suite's signing device if none is named."""
        names = devices or (self.name("signing"),)
        with watching(self.fresh_client("consumer"), *names, "hub", waveforms=waveforms) as view:
            yield view

    def records(self, lane: str, *, wait_s: int = 1) -> Generator[dict[str, Any]]:
        """Yield the records of a lane after the consumer's cursor, and move it.

        Args:
            lane: Which one.
            wait_s: How long the hub waits for a record before it answers with none.

        Raises:
            Violation: The consumer lane does not answer as the standard says.
        """
        client, path = self.client("consumer"), f"/consumers/{quote(self.name('consumer'))}"
        for _ in range(READS_MAX):
            answer = client.get(
                f"{path}/batch",
                params={"lane": lane, "max": RECORDS_PER_READ, "wait_s": wait_s},
                headers={"Accept": "application/json"},
            )
            demand(answer.status_code == OK, f"the {lane} lane cannot be read")
            found = answer.json()["records"]
            if not found:
                return
            yield from found
            body = {"lane": lane, "position": found[-1]["position"]}
            done = client.post(f"{path}/commit", json=body)
            demand(done.status_code == NO_CONTENT, "a cursor cannot be moved")

    def stored(self, lane: str, body: bytes) -> dict[str, Any]:
        """Return the record of a lane that holds these bytes.

        Raises:
            Violation: There is none.
        """
        encoded = base64.b64encode(body).decode()
        for record in self.records(lane):
            if record["body"] == encoded:
                return record
        raise Violation(f"the {lane} lane does not hold what was acknowledged, byte for byte")

    def chain(self, listener: str) -> tuple[bytes, ...]:
        """Return the certificates that a listener sends, leaf first.

        Raises:
            Violation: No TLS, or no chain.
        """
        where = self.endpoint(listener)
        try:
            with (
                self.dial(listener) as plain,
                tls.chain_probe_context().wrap_socket(plain, server_hostname=where.host) as probe,
            ):
                return tls.unverified_chain(probe)
        except OSError as error:
            raise Violation(f"no TLS on the {listener} listener: {error}") from error

    def dial(self, listener: str, *, timeout_s: float = TIMEOUT_S) -> socket.socket:
        """Return a plain TCP connection to a listener."""
        where = self.endpoint(listener)
        return socket.create_connection((where.host, where.port), timeout_s)


def problem(answer: httpx.Response) -> dict[str, Any]:
    """Return the problem document of an error.

    Raises:
        Violation: It is none.

    Source: RFC 9457; REQ-ERR-003.
    """
    kind = answer.headers.get("content-type", "")
    demand(kind.startswith("application/problem+json"), f"an error is of type {kind!r}")
    try:
        document = json.loads(answer.content)
    except ValueError as error:
        raise Violation("a problem document is not JSON") from error
    demand(isinstance(document.get("code"), str), "a problem document has no code")
    return dict(document)
