"""Goal: code that runs as the hub reads no key and asks for nothing it may not have. Needs root."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import AsepsisError, IssuanceRefused, NotAuthenticated, NotPermitted
from asepsis.core.trust import requests as typed
from asepsis.hub.keyholder import separation

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: two users"),
]
DEVICE = "urn:dev:mac:0011223344556677"
REFUSED, REACHED = 0, 1


def test_hub_and_signer_run_as_two_users_without_network(hospital: Any) -> None:
    process = hospital.start()
    who = separation(hospital.data)
    status = hospital.ask(lambda hub: hub.status())
    assert who.separated
    assert status.separated
    assert status.separation.endswith("no network")
    owned = Path(f"/proc/{process.pid}/status").read_text()
    assert f"Uid:\t{who.signer_uid}\t{who.signer_uid}\t{who.signer_uid}" in owned
    assert "NoNewPrivs:\t1" in owned
    assert "CapEff:\t0000000000000000" in owned
    assert "Groups:\t \n" in owned
    interfaces = Path(f"/proc/{process.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert Path(f"/proc/{process.pid}/net/tcp").read_text().count("\n") == 1
    own_network = Path("/proc/self/ns/net").readlink()
    assert Path(f"/proc/{process.pid}/ns/net").readlink() != own_network


READ_KEYS = """
code = 0
for name in ("keys.sealed", "seal.secret", "signer.log", "config.json"):
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT):
        try:
            os.open(data / "signer" / name, flags)
            code = 1
        except PermissionError as error:
            assert error.errno == 13  # EACCES
try:
    os.listdir(data / "signer")
    code = 2
except PermissionError:
    pass
"""


def test_every_key_file_is_eacces_for_the_hub(hospital: Any, as_hub: Callable[[str], int]) -> None:
    hospital.start()
    assert as_hub("os.listdir(data / 'hub')") == REFUSED
    assert as_hub(READ_KEYS) == REFUSED


def test_the_hub_cannot_look_into_the_running_signer(
    hospital: Any, as_hub: Callable[[str], int]
) -> None:
    """Goal: ptrace, /proc/PID/mem, environment, descriptors and signals are all closed."""
    pid = hospital.start().pid
    for name in ("mem", "environ", "maps", "auxv", "syscall"):
        program = f"""
try:
    os.open("/proc/{pid}/{name}", os.O_RDONLY); code = 1
except PermissionError:
    pass
"""
        assert as_hub(program) == REFUSED, name
    listing = f"""
try:
    os.listdir("/proc/{pid}/fd"); code = 1
except PermissionError:
    pass
"""
    assert as_hub(listing) == REFUSED
    attach = f"""
libc = ctypes.CDLL(None, use_errno=True)
code = 0 if libc.ptrace(16, {pid}, 0, 0) == -1 and ctypes.get_errno() == 1 else 1
"""
    assert as_hub(attach) == REFUSED
    kill = f"""
try:
    os.kill({pid}, 9); code = 1
except PermissionError:
    pass
"""
    assert as_hub(kill) == REFUSED
    assert hospital.process.alive()


CONNECT = """
try:
    socket.socket(socket.AF_UNIX).connect(str(data / "run" / "{name}")); code = 1
except PermissionError:
    pass
"""


def test_the_hub_reaches_its_own_socket_and_not_the_operators(
    hospital: Any, as_hub: Callable[[str], int]
) -> None:
    hospital.start()
    assert as_hub(CONNECT.format(name="signer.sock")) == REACHED
    assert as_hub(CONNECT.format(name="signer-admin.sock")) == REFUSED


def test_the_kernels_word_on_the_peer_counts_even_if_modes_were_opened(
    hospital: Any, as_hub: Callable[[str], int]
) -> None:
    """Goal: SO_PEERCRED is checked: a careless chmod opens no operator's socket."""
    hospital.start()
    (hospital.data / "run" / "signer-admin.sock").chmod(0o666)
    asks = """
import contextlib
from asepsis.core.trust import answers
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(10)
peer.connect(str(data / "run" / "signer-admin.sock"))
with contextlib.suppress(BrokenPipeError):  # It may have answered and hung up already.
    peer.sendall(typed.encode_message(typed.ListRequest()))
length = typed.message_length(peer.recv(4, socket.MSG_WAITALL))
answer = answers.decode_answer(peer.recv(length, socket.MSG_WAITALL))
code = 0 if getattr(answer, "code", "") == "ASP-206" else 1
"""
    assert as_hub(asks) == REFUSED
    alarms = hospital.ask(lambda hub: hub.alarms())
    assert [one.code for one in alarms] == ["foreign-process"]
    assert NotPermitted.code == "ASP-206"


def test_a_broken_into_hub_gets_no_certificate_it_may_not_have(hospital: Any, makers: Any) -> None:
    """Goal: CA, another usage and an unlisted device are refused, logged and alarmed.

    Root connects here for the hub; what the signer decides depends on the request alone.
    """
    new_key, request_for = makers
    hospital.start()
    listed = hospital.expect(DEVICE)
    unlisted = typed.TokenProof(id="00" * 8, secret="x" * 43)
    attempts: list[tuple[str, typed.Proof, type[AsepsisError]]] = [
        ("ca", listed, IssuanceRefused),
        ("server", listed, IssuanceRefused),
        ("gateway", listed, IssuanceRefused),
        ("time", listed, IssuanceRefused),
        ("device", unlisted, NotAuthenticated),
    ]
    for profile, proof, error in attempts:
        request = typed.IssueRequest(csr_der=request_for(new_key()), profile=profile, proof=proof)
        with pytest.raises(error):
            hospital.ask(lambda hub, r=request: hub.issue(r))
    status = hospital.ask(lambda hub: hub.status())
    assert (status.certificates, status.refusals) == (0, len(attempts))
    log = (hospital.data / "signer" / "signer.log").read_text()
    assert log.count('"type":"refused"') == len(attempts)
    codes = {one.code for one in hospital.ask(lambda hub: hub.alarms())}
    assert codes == {"issuance-refused", "token-refused"}


def test_the_signer_reaches_no_network_address(hospital: Any) -> None:
    """Goal: from the signer's own network namespace even a loopback listener is out of reach."""
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        pytest.fail("util-linux's nsenter is part of every Debian")
    pid = hospital.start().pid
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=5)):
            pass
        done = subprocess.run(
            [
                nsenter,
                f"--net=/proc/{pid}/ns/net",
                "bash",
                "-c",
                f"echo > /dev/tcp/127.0.0.1/{port}",
            ],
            capture_output=True,
            timeout=20,
            check=False,
        )
    assert done.returncode != 0
    assert b"unreachable" in done.stderr
