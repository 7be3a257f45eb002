"""Witnesses of a real hub: they sign what grows, and find out whoever has the database and keys."""

import base64
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from asepsis.core.errors import InputError, NotPermitted, TrustError
from asepsis.core.trust import merkle, tls
from asepsis.edge.uplink.connection import Endpoint, HubConnection
from asepsis.edge.uplink.witness import Witness, Witnessing
from asepsis.hub.access.principal import Role
from asepsis.hub.audit import log, packing
from asepsis.hub.audit.rules import leaf
from asepsis.hub.audit.tables import entries, heads, nodes
from asepsis.tools.evidence import exporting, verify_evidence
from asepsis.tools.evidence.verify_evidence import Pack, verify
from asepsis.tools.people import PeopleClient

NAMES = {
    "gateway": "urn:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    "consumer": "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
}
# One database is enough here: `tests/store/test_witnesses.py` tries both.
pytestmark = pytest.mark.parametrize("system", ["sqlite"], indirect=True, scope="module")
ABOUT = "urn:asepsis:release:vitals"


@pytest.fixture(scope="module")
def connect(
    system: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Callable[[], HubConnection]]:
    """Return how each witness reaches the clinical listener."""
    found: dict[str, Callable[[], HubConnection]] = {}
    root_der = ssl.PEM_cert_to_DER_cert(system.root_pem.read_text())
    for profile, name in NAMES.items():
        folder = tmp_path_factory.mktemp(profile)
        client = system.client(folder)
        token_id, secret, _ = system.expect(name, profile=profile).split(".")
        status, body = client.post_request(
            f"{profile}/simpleenroll",
            client.request(f"URI:{name}"),
            "--user",
            f"{token_id}:{secret}",
        )
        assert status == 200, body
        client.keep(body)
        identity = tls.KeyAndChain(chain_path=folder / "cert.pem", key_path=folder / "key.pem")

        def connection(identity: tls.KeyAndChain = identity) -> HubConnection:
            context = tls.client_context(root_der=root_der, identity=identity)
            return HubConnection(
                Endpoint("localhost", system.hub.ports["clinical"]), context, now_ns=None
            )

        found[profile] = connection
    return found


@pytest.fixture(scope="module")
def witnesses(system: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Witness]:
    root_der = ssl.PEM_cert_to_DER_cert(system.root_pem.read_text())
    return {
        profile: Witness(tmp_path_factory.mktemp("witness"), root_der=root_der, now_ns=time.time_ns)
        for profile in NAMES
    }


@pytest.fixture(scope="module")
def person(system: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a client of a person who may read the log."""
    token = tmp_path_factory.mktemp("person") / "token"
    system.hub.people.add_person("auditor", [Role.SECURITY], actor="person:root")
    token.write_text(system.hub.people.issue_token("auditor", actor="person:root"))
    place = f"https://localhost:{system.hub.ports['people']}"
    with closing(PeopleClient(place, root_path=system.root_pem, token_path=token)) as client:
        yield client


def act(system: Any, count: int) -> None:
    audit = log.AuditLog(system.hub.clock)
    for number in range(count):
        with system.hub.store.unit_of_work() as connection:
            audit.note(
                connection, actor="person:ana", action="approve-release", subject=ABOUT, n=number
            )


def look(witness: Witness, connect: Callable[[], HubConnection]) -> int:
    with closing(connect()) as hub:
        return witness.look(hub).size


def export(person: Any) -> dict[str, Any]:
    return exporting.export(person, about=[ABOUT], hospital="Test", now_ns=time.time_ns())


def test_witnesses_sign_and_a_pack_verifies(
    system: Any, connect: Any, witnesses: dict[str, Witness], person: Any, tmp_path: Path
) -> None:
    act(system, 3)
    system.hub.call(system.hub.audit.sign_head())
    first = {name: look(one, connect[name]) for name, one in witnesses.items()}
    act(system, 3)
    system.hub.call(system.hub.audit.sign_head())
    for name, one in witnesses.items():
        assert look(one, connect[name]) > first[name]
    with closing(connect["consumer"]()) as hub:
        kept = witnesses["consumer"].mirror(hub)
    assert kept > first["consumer"]
    trust = exporting.trust_of(person, threshold=2)
    keys = {one["key"] for one in trust["witnesses"]}
    assert keys == {one.spki_der.hex() for one in witnesses.values()}
    pack = export(person)
    found = verify(Pack(pack), trust)
    assert found["ok"], found
    assert found["entries"] == 6
    assert exporting.write(pack, tmp_path).exists()


def test_a_pack_of_the_hub_itself_verifies(
    system: Any, connect: Any, witnesses: dict[str, Witness], person: Any, tmp_path: Path
) -> None:
    """Goal: what a browser downloads is what `verify_evidence.py` accepts, run as a file."""
    act(system, 2)
    head = system.hub.call(system.hub.audit.sign_head())
    for name, one in witnesses.items():
        look(one, connect[name])
    trust = exporting.trust_of(person, threshold=2)
    said = person.get("/api/audit/witnesses")["audit_certificate"]
    der = base64.b64decode(said)
    making = packing.pack(
        system.hub.store, [ABOUT], head=head, audit_der=der, hospital="Test", documents=[]
    )
    (tmp_path / "pack.json").write_bytes(system.hub.call(making))
    (tmp_path / "trust.json").write_text(json.dumps(trust), "utf-8")
    arguments = [tmp_path / "pack.json", tmp_path / "trust.json"]
    done = subprocess.run(
        [sys.executable, verify_evidence.__file__, *arguments], capture_output=True, check=False
    )
    assert done.returncode == 0, done
    assert done.stdout.startswith(b"holds")


def test_a_thread_looks_by_itself(connect: Any, witnesses: dict[str, Witness]) -> None:
    told: list[object] = []
    thread = Witnessing(
        lambda: witnesses["gateway"], connect["gateway"], report=told.append, every_s=0.05
    )
    thread.start()
    deadline_s = time.monotonic() + 20
    while thread.last is None and time.monotonic() < deadline_s:
        time.sleep(0.05)
    thread.close()
    thread.join(20)
    assert thread.last is not None, told


def test_who_may_not_is_refused(system: Any, connect: Any, tmp_path: Path) -> None:
    client = system.client(tmp_path / "nobody")
    assert client.curl("clinical", "/audit/head")[0] in (0, 401, 403)
    with closing(connect["gateway"]()) as hub:
        for path in ("/audit/head?seen=x", "/audit/leaves?first=0&count=99999"):
            with pytest.raises(InputError):
                hub.request("GET", path)
    place = f"https://localhost:{system.hub.ports['people']}"
    token = _written(tmp_path / "token", "nonsense")
    with (
        closing(PeopleClient(place, root_path=system.root_pem, token_path=token)) as stranger,
        pytest.raises(NotPermitted),
    ):
        stranger.get("/api/audit/heads")


def test_whoever_has_the_database_and_every_key_is_found_out(
    system: Any, connect: Any, witnesses: dict[str, Witness], person: Any
) -> None:
    trust = exporting.trust_of(person, threshold=2)
    pack = export(person)
    bad = pack["entries"][4]["index"]
    store = system.hub.store
    with store.unit_of_work() as connection:
        connection.execute(
            update(entries).where(entries.c.leaf_index == bad).values(actor="person:eve")
        )
        state = merkle.Frontier()
        connection.execute(delete(nodes))
        while page := log.page(connection, after=state.size - 1):
            for entry in page:
                state, grown = state.append(leaf(entry))
                connection.execute(
                    insert(nodes),
                    [{"level": n.level, "node_index": n.index, "hash": n.digest} for n in grown],
                )
        # The stolen key signs every head anew; here the signature itself is not what is judged.
        for row in connection.execute(heads.select()).all():
            connection.execute(
                update(heads)
                .where(heads.c.size == row.size)
                .values(root=log.root(connection, row.size))
            )
        assert log.check(connection) == state.size
    rewritten = dict(pack, leaves=_leaves(store, pack["size"]))
    rewritten["entries"] = [dict(one) for one in pack["entries"]]
    rewritten["entries"][4]["actor"] = "person:eve"
    found = verify(Pack(rewritten), trust, {"mirror": Pack(pack).leaves})
    assert not found["ok"]
    assert bad in [one["leaf"] for one in found["findings"]]
    # The signature of a head that was not signed anew is the first thing that a witness sees.
    with closing(connect["consumer"]()) as hub, pytest.raises(TrustError):
        witnesses["consumer"].look(hub)


def _leaves(store: Any, size: int) -> str:
    with store.reading() as connection:
        found = b"".join(
            leaf(entry) for entry in log.page(connection, after=-1, entries_max=500)[:size]
        )
    return base64.b64encode(found).decode()


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
