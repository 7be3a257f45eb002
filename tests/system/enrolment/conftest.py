"""A real signer process, a real hub on three TLS listeners, on both databases."""

import asyncio
import importlib.util
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.trust import tls
from asepsis.core.trust.sealing import ColumnSealer, throw_away_kek
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.signer_values import Expectation
from asepsis.hub.access.access import build_access
from asepsis.hub.access.rules import Action, decide
from asepsis.hub.access.sessions import SessionLimits
from asepsis.hub.audit.http import AuditRoutes
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.service import AuditService
from asepsis.hub.audit.witness_http import WitnessRoutes
from asepsis.hub.initialise import InitOptions, initialise
from asepsis.hub.keyholder import Separation, SignerSettings, start_signer
from asepsis.hub.keys import AdminClient, SignerClient
from asepsis.hub.registry.book import IdentityBook
from asepsis.hub.registry.http import EnrolmentRoutes, authenticate
from asepsis.hub.registry.http_people import DeviceRoutes
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.store.migrate import migrate
from asepsis.hub.store.store import Store
from asepsis.hub.web import limits
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.listener import Listener
from asepsis.hub.web.routing import Route, Router
from asepsis.hub.web.server import new_loop, serve


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tests_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


postgres = _load(Path(__file__).parents[2] / "postgres.py")


class SkewedClock:
    """Wall time of the hub, which a test can move."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        """Return nanoseconds since 1970."""
        return time.time_ns() + self.ahead_ns


class RunningHub:
    """The hub in a thread with its own event loop."""

    def __init__(self, data: Path, url: str) -> None:
        self.data, self.url = data, url
        self.clock = SkewedClock()
        self.loop = new_loop()
        self.ports: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start and wait until it listens."""
        self._thread.start()
        assert self._ready.wait(30)
        if self.failure:
            raise self.failure

    def stop(self) -> None:
        """Stop and wait."""
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the hub's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self.failure = error
        finally:
            self._ready.set()
            self.loop.close()

    async def _serve(self) -> None:
        self.store = Store(
            self.url, ColumnSealer(throw_away_kek(), aead=CryptographyAead()), self.clock
        )
        migrate(self.store)
        self.signer = SignerClient(self.data / "run" / "signer.sock")
        self.book = IdentityBook()
        log = AuditLog(self.clock)
        access = build_access(self.store, log, limits=SessionLimits(), monotonic=time.monotonic_ns)
        self.credentials, self._accounts = access.credentials, access.accounts
        self.people = access.people
        self.people.ensure_first_administrator(self.data / "admin.token")
        self.registry = RegistryService(
            self.store, self.signer, audit=log, book=self.book, count_connections=self._count
        )
        self.registry.on_revoked(self._close)
        self.audit = AuditService(self.store, self.signer, holder="hub")
        await self.registry.load()
        self.server = await serve(await self._listeners(), clock=self.clock)
        self.ports = {name: port for name, (_, port) in self.server.addresses.items()}
        following = asyncio.create_task(self.registry.run())
        self._ready.set()
        await self._stop.wait()
        following.cancel()
        await self.server.close(drain_s=0)
        await self.signer.close()
        self._accounts.close()
        self.store.close()

    def _close(self, name: str) -> int:
        return self.server.registry.close_identity(name)

    def _count(self, name: str) -> int:
        return len(self.server.registry.of_identity(name))

    async def _listeners(self) -> list[Listener]:
        known = await self.signer.authorities()
        identity = await self._identity()
        enrolment = EnrolmentRoutes(self.registry, self.signer, clock=self.clock)
        witnessing = WitnessRoutes(self.store, AuditLog(self.clock), self.signer, heads=self.audit)
        people = [
            *witnessing.people(),
            *DeviceRoutes(self.registry, status={"devices": self._status}).routes(),
            *AuditRoutes(self.store, self.audit, log_=AuditLog(self.store.clock)).routes(),
        ]
        clinical = [
            *witnessing.clinical(),
            Route("GET", "/metadata", _metadata, Action.READ_METADATA),
            Route("GET", "/views/live", _stream, Action.READ_METADATA),
        ]
        apps = {
            tls.Listener.CLINICAL: Router(clinical, check=decide),
            tls.Listener.ENROLMENT: Router(
                enrolment.routes(), check=decide, authenticate=authenticate
            ),
            tls.Listener.PEOPLE: Router(people, check=decide, authenticate=self.credentials.api()),
        }
        return [
            Listener(
                name=kind.value,
                host="127.0.0.1",
                port=0,
                context=tls.server_context(
                    kind,
                    identity=identity,
                    issuing_der=() if kind is tls.Listener.PEOPLE else known.chain_der[:1],
                    maker_der=known.makers_der if kind is tls.Listener.ENROLMENT else (),
                ),
                app=app,
                admission=self.book,
                limits=limits.CLINICAL,
                idevid=kind is tls.Listener.ENROLMENT,
            )
            for kind, app in apps.items()
        ]

    async def _status(self) -> dict[str, int]:
        return {"enrolled": len(self.book.devices())}

    async def _identity(self) -> tls.KeyAndChain:
        folder = self.data / "hub"
        key, request = folder / "key.pem", folder / "request.der"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
        openssl("req", "-new", "-key", str(key), "-subj", "/CN=h", "-outform", "DER",
                "-out", str(request))  # fmt: skip
        issued = await self.signer.server_certificate(
            request.read_bytes(), ["localhost", "127.0.0.1"]
        )
        chain = folder / "chain.pem"
        chain.write_text("".join(ssl.DER_cert_to_PEM_cert(der) for der in issued.chain_der))
        return tls.KeyAndChain(chain_path=chain, key_path=key)


async def _metadata(scope: Scope, _receive: Receive, send: Send) -> None:
    await answer(send, 200, scope["asepsis.principal"].name.encode(), media=b"text/plain")


async def _stream(scope: Scope, _receive: Receive, send: Send) -> None:
    """Stream until the connection ends."""
    ended = asyncio.Event()
    scope["asepsis.connection"].on_close(ended.set)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"live\n", "more_body": True})
    await ended.wait()


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    """Run the openssl command."""
    done = subprocess.run(
        ["openssl", *arguments], input=stdin, capture_output=True, check=True, timeout=30
    )
    return done.stdout


class Client:
    """A device that has nothing but curl and openssl, in a folder of its own."""

    def __init__(self, hub: RunningHub, folder: Path, root_pem: Path) -> None:
        self.hub, self.folder, self.root = hub, folder, root_pem
        folder.mkdir(exist_ok=True)

    def key(self, name: str = "key.pem") -> Path:
        """Make a key once."""
        path = self.folder / name
        if not path.exists():
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))
        return path

    def request(self, san: str, *extra: str, key: str = "key.pem") -> Path:
        """Make a base64 PKCS#10 request."""
        der = openssl(
            "req", "-new", "-key", str(self.key(key)), "-subj", "/CN=x", "-addext",
            f"subjectAltName={san}", *extra, "-outform", "DER",
        )  # fmt: skip
        path = self.folder / "request.b64"
        path.write_bytes(openssl("base64", "-e", stdin=der))
        return path

    def curl(self, listener: str, path: str, *arguments: str) -> tuple[int, bytes]:
        """Send one request; return status and body, status 0 if TLS refused."""
        body = self.folder / "body"
        body.unlink(missing_ok=True)
        done = subprocess.run(
            [
                "curl", "--silent", "--cacert", str(self.root), "--output", str(body),
                "--write-out", "%{http_code}", *arguments,
                f"https://localhost:{self.hub.ports[listener]}{path}",
            ],
            capture_output=True, check=False, timeout=30,
        )  # fmt: skip
        return int(done.stdout or b"0"), body.read_bytes() if body.exists() else b""

    def post_request(self, path: str, request: Path, *arguments: str) -> tuple[int, bytes]:
        """Post a request to the enrolment listener."""
        return self.curl(
            "enrolment", f"/.well-known/est/{path}", "--header", "Content-Type: application/pkcs10",
            "--data-binary", f"@{request}", *arguments,
        )  # fmt: skip

    def keep(self, body: bytes, name: str = "cert.pem") -> Path:
        """Keep the certificate of an EST answer."""
        path = self.folder / name
        p7 = openssl("base64", "-d", stdin=body)
        path.write_bytes(openssl("pkcs7", "-inform", "DER", "-print_certs", stdin=p7))
        return path

    def cert(self, name: str = "cert.pem", key: str = "key.pem") -> tuple[str, ...]:
        """Return curl's arguments that present a certificate."""
        return ("--cert", str(self.folder / name), "--key", str(self.folder / key))


class System:
    """Signer, hub and what a person can do at the operator's socket."""

    def __init__(self, data: Path, hub: RunningHub) -> None:
        self.data, self.hub = data, hub
        self.root_pem = data / "ca" / "root.crt"

    def admin(self, call: Callable[[AdminClient], Coroutine[Any, Any, Any]]) -> Any:
        """Ask on the operator's socket."""

        async def ask() -> Any:
            client = AdminClient(self.data / "run" / "signer-admin.sock")
            try:
                return await call(client)
            finally:
                await client.close()

        return asyncio.run(ask())

    def expect(self, name: str, **listed: Any) -> str:
        """List a machine; return its token."""
        listed = {"id": "", "name": name, "profile": "device"} | listed
        return self.admin(lambda admin: admin.expect(Expectation(**listed))).token

    def client(self, folder: Path) -> Client:
        """Return a client."""
        return Client(self.hub, folder, self.root_pem)

    def enrolled(self, folder: Path, name: str, **listed: Any) -> Client:
        """Return a client that was enrolled by token."""
        client = self.client(folder)
        token_id, secret, _ = self.expect(name, **listed).split(".")
        status, body = client.post_request(
            "simpleenroll", client.request(f"URI:{name}"), "--user", f"{token_id}:{secret}"
        )
        assert status == 200, body
        client.keep(body)
        return client


def make_maker(folder: Path) -> Path:
    """Make a maker's CA for IDevIDs; return its folder."""
    folder.mkdir()
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(folder / "ca.key"))
    openssl(
        "req", "-x509", "-key", str(folder / "ca.key"), "-subj", "/O=Maker/CN=Maker CA", "-days",
        "3650", "-out", str(folder / "ca.pem"), "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    return folder


def make_idevid(maker: Path, client: Client, serial_number: str) -> None:
    """Give a client an IDevID of a maker: idevid.pem and idevid.key."""
    key = client.key("idevid.key")
    csr = openssl(
        "req", "-new", "-key", str(key), "-subj", f"/O=Maker/serialNumber={serial_number}"
    )
    profile = client.folder / "idevid.cnf"
    profile.write_text("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n")
    issued = openssl(
        "x509", "-req", "-CA", str(maker / "ca.pem"), "-CAkey", str(maker / "ca.key"),
        "-CAcreateserial", "-days", "3650", "-extfile", str(profile), stdin=csr,
    )  # fmt: skip
    (client.folder / "idevid.pem").write_bytes(issued)


@pytest.fixture(scope="session")
def cluster() -> Generator[Any]:
    if not postgres.available():
        pytest.skip("PostgreSQL is not installed")
    with postgres.running() as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[System]:
    """Start everything once a module and database."""
    data = tmp_path_factory.mktemp("data")
    user = {"hub_uid": os.geteuid(), "hub_gid": os.getegid()}
    user |= {"signer_uid": os.geteuid(), "signer_gid": os.getegid()}
    options = InitOptions(data=data, hospital="Test", host_names=("localhost", "127.0.0.1"))
    initialise(options, clock=time.time_ns, who=Separation(separated=False, **user))
    signer = start_signer(SignerSettings(data=data))
    maker = make_maker(data / "maker")
    url = f"sqlite:///{data / 'hub' / 'state.db'}"
    cluster = None
    if request.param == "postgresql":
        cluster = request.getfixturevalue("cluster")
        url = cluster.create_database()
    system = System(data, RunningHub(data, url))
    maker_der = openssl("x509", "-in", str(maker / "ca.pem"), "-outform", "DER")
    system.admin(lambda admin: admin.trust_maker(maker_der))
    system.hub.start()
    yield system
    system.hub.stop()
    signer.stop()
    if cluster is not None:
        cluster.drop_database(url)


@pytest.fixture
def give_idevid(system: System) -> Callable[[Client, str], None]:
    """Return a function that gives a client an IDevID of the trusted maker."""
    return lambda client, serial_number: make_idevid(system.data / "maker", client, serial_number)
