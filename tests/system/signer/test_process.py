"""Goal: the process as the hub starts it: what it loads, what survives a kill, what it refuses."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from asepsis.core.errors import ConfigError, IssuanceRefused, RateLimited, Unavailable
from asepsis.core.trust import answers, signer_values
from asepsis.core.trust import requests as typed
from asepsis.core.trust.identity import peer_from_der
from asepsis.hub import initialise as init
from asepsis.hub.keyholder import SignerSettings, start_signer

DEVICE = "urn:dev:mac:0011223344556677"
ALLOWED = ("asepsis.core.errors", "asepsis.core.model", "asepsis.core.trust", "asepsis.hub.signer")
FOREIGN = ("litestar", "uvicorn", "httptools", "starlette", "sqlalchemy", "alembic", "psycopg",
           "httpx", "http.server", "http.client", "xml", "sqlite3", "email.parser")  # fmt: skip


def loaded_modules() -> list[str]:
    program = (
        "import sys, json, asepsis.hub.signer.__main__ as m, asepsis.hub.signer.rehearsal as r;"
        "r.rehearse(); print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, check=True, timeout=60, cwd="/"
    )
    return list(json.loads(done.stdout))


def test_it_loads_trust_model_and_errors_and_nothing_else_of_ours() -> None:
    packages = ("asepsis", "asepsis.core", "asepsis.hub")
    ours = [one for one in loaded_modules() if one.startswith("asepsis") and one not in packages]
    assert [one for one in ours if not one.startswith(ALLOWED)] == []


def test_it_loads_no_parser_web_framework_or_database() -> None:
    modules = loaded_modules()
    assert [one for one in modules if one in FOREIGN or one.startswith(FOREIGN[:6])] == []


def test_nothing_imports_the_signer() -> None:
    source = Path(init.__file__).parents[1]
    importers = [
        path
        for path in source.rglob("*.py")
        if "hub/signer/" not in path.as_posix()
        and re.search(r"^\s*(import|from) asepsis\.hub\.signer", path.read_text(), re.MULTILINE)
    ]
    assert importers == []


def test_init_leaves_no_root_key_behind(hospital: Any) -> None:
    """Goal: a demo's root key is thrown away: what the folder holds signs no second issuing CA."""
    names = {path.name for path in hospital.data.rglob("*") if path.is_file()}
    assert names == {
        "config.json", "keys.sealed", "seal.secret", "signer.log", "root.crt", "issuing.crt",
    }  # fmt: skip
    assert hospital.outcome.root_key_path is None
    pem = b"PRIVATE KEY"
    assert all(pem not in p.read_bytes() for p in hospital.data.rglob("*") if p.is_file())


@pytest.mark.slow
def test_the_root_key_goes_to_the_named_file_encrypted(folder: Path) -> None:
    key_file = init.RootKeyFile(path=folder / "root.pem", passphrase=b"correct horse battery")
    options = init.InitOptions(
        data=folder / "data", hospital="St. Vitus", host_names=("hub",), root_key=key_file
    )
    outcome = init.initialise(options, clock=time.time_ns, who=init.numbered_users())
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in key_file.path.read_bytes()
    assert key_file.path.stat().st_mode & 0o777 == 0o400
    root = x509.load_der_x509_certificate(outcome.root_der)
    assert init.load_root(key_file).public_key() == root.public_key()
    with pytest.raises(ConfigError):
        init.load_root(init.RootKeyFile(path=key_file.path, passphrase=b"another passphrase"))
    renewed = init.renew_issuing(
        options.data, root_key=key_file, clock=lambda: time.time_ns() + 86_400 * 10**9
    )
    x509.load_der_x509_certificate(renewed).verify_directly_issued_by(root)
    process = start_signer(SignerSettings(data=options.data))
    process.stop()


@pytest.mark.parametrize("case", ["inside", "exists", "short", "twice"])
def test_init_refuses_what_would_spoil_it(folder: Path, case: str) -> None:
    (folder / "taken.pem").write_bytes(b"x")
    data = folder / "data"
    path = {"inside": data / "root.pem", "exists": folder / "taken.pem"}.get(case, folder / "r.pem")
    passphrase = b"short" if case == "short" else b"correct horse battery"
    if case == "twice":
        data.mkdir()
        (data / "hub.toml").write_text("")
    options = init.InitOptions(
        data=data,
        hospital="St. Vitus",
        host_names=("hub",),
        root_key=init.RootKeyFile(path=path, passphrase=passphrase),
    )
    with pytest.raises(ConfigError):
        init.initialise(options, clock=time.time_ns, who=init.numbered_users())


def test_kill_9_and_the_same_request_gets_the_same_certificate(hospital: Any, makers: Any) -> None:
    new_key, request_for = makers
    process = hospital.start()
    proof, key = hospital.expect(DEVICE), new_key()
    request = typed.IssueRequest(csr_der=request_for(key), profile="device", proof=proof)
    first = hospital.ask(lambda hub: hub.issue(request))
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(Unavailable):
        hospital.ask(lambda hub: hub.status())
    hospital.start()
    again = hospital.ask(lambda hub: hub.issue(request))
    assert again.chain_der == first.chain_der
    assert peer_from_der(again.chain_der[0]).uri == DEVICE


@pytest.mark.slow
def test_killed_at_any_moment_it_never_issues_two_certificates_for_one_token(
    hospital: Any, makers: Any
) -> None:
    """Goal: whatever moment the kill hits, log and answers agree afterwards."""
    new_key, request_for = makers
    for turn in range(6):
        process = hospital.start()
        name = f"urn:dev:mac:00000000000000{turn:02x}"
        proof, csr = hospital.expect(name), request_for(new_key())
        request = typed.IssueRequest(csr_der=csr, profile="device", proof=proof)
        answered = hospital.ask(lambda hub, r=request, p=process, t=turn: _cut_off(hub, r, p, t))
        hospital.start()
        again = hospital.ask(lambda hub, r=request: hub.issue(r))
        if answered is not None:
            assert answered.chain_der == again.chain_der
        other = typed.IssueRequest(csr_der=request_for(new_key()), profile="device", proof=proof)
        with pytest.raises(IssuanceRefused):
            hospital.ask(lambda hub, r=other: hub.issue(r))
        hospital.process.stop()


async def _cut_off(hub: Any, request: typed.IssueRequest, process: Any, turn: int) -> Any:
    asking = asyncio.ensure_future(hub.issue(request))
    await asyncio.sleep(turn * 0.0008)
    os.kill(process.pid, signal.SIGKILL)
    try:
        return await asking
    except Unavailable:
        return None


def test_1000_certificates_at_once_are_refused_and_alarmed(hospital: Any, makers: Any) -> None:
    """Goal: even listed names do not leave faster than the rate; the rest is refused, once said."""
    new_key, request_for = makers
    hospital.start()
    proofs = [hospital.expect(f"urn:dev:mac:{number:016x}") for number in range(100)]
    csrs = [request_for(new_key()) for _ in range(100)]

    async def flood(hub: Any) -> tuple[int, int]:
        issued = refused = 0
        for number in range(1_000):
            request = typed.IssueRequest(
                csr_der=csrs[number % 100], profile="device", proof=proofs[number % 100]
            )
            try:
                answer = await hub.issue(request)
                issued += not answer.again
            except RateLimited as error:
                refused += min(error.retry_after_s, 1)
        return issued, refused

    issued, refused = hospital.ask(flood)
    assert issued == 30
    assert refused == 10 * 70
    status = hospital.ask(lambda hub: hub.status())
    assert status.refusals == refused
    assert "rate-exceeded" in {one.code for one in hospital.ask(lambda hub: hub.alarms())}


def test_only_typed_requests_of_its_own_socket_are_taken(hospital: Any) -> None:
    """Goal: the hub's socket knows no request that lists a device."""
    hospital.start()
    wanted = signer_values.Expectation(id="", name=DEVICE, profile="device")
    smuggled = typed.encode_message(typed.ExpectRequest(expectation=wanted))
    oversized = signer_values.LENGTH.pack(signer_values.MESSAGE_BYTES_MAX + 1)
    for frame, code in ((smuggled, "ASP-100"), (oversized, "ASP-102"), (b"\0" * 4, "ASP-101")):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(10)
            raw.connect(str(hospital.data / "run" / "signer.sock"))
            raw.sendall(frame)
            length = typed.message_length(raw.recv(4, socket.MSG_WAITALL))
            answer = answers.decode_answer(raw.recv(length, socket.MSG_WAITALL))
        assert isinstance(answer, answers.Refused)
        assert answer.code == code
    assert hospital.order(lambda admin: admin.list()) == ()
    assert hospital.ask(lambda hub: hub.status()).refusals == 3


@pytest.mark.slow
def test_two_signers_never_hold_one_folder(hospital: Any) -> None:
    hospital.start()
    second = SignerSettings(data=hospital.data)
    with pytest.raises(ConfigError):
        start_signer(second)
    assert hospital.ask(lambda hub: hub.status()).certificates == 0


def test_a_changed_log_stops_the_start(hospital: Any) -> None:
    hospital.start()
    hospital.expect(DEVICE)
    hospital.process.stop()
    path = hospital.data / "signer" / "signer.log"
    path.write_bytes(path.read_bytes().replace(b"localhost", b"lokalhost"))
    with pytest.raises(ConfigError):
        hospital.start()


def test_the_signer_ends_with_the_hub(hospital: Any) -> None:
    """Goal: a hub killed with -9 leaves no signer behind that would block the next one."""
    program = (
        "import sys, time; from pathlib import Path;"
        "from asepsis.hub.keyholder import SignerSettings, start_signer;"
        f"p = start_signer(SignerSettings(data=Path({str(hospital.data)!r})));"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    hospital.start()  # waits for the lock of the one that is ending
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"
