"""A real hub folder and a real signer process."""

import asyncio
import ctypes
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.trust import requests as typed
from asepsis.core.trust import signer_values
from asepsis.hub.initialise import InitOptions, InitOutcome, initialise, numbered_users
from asepsis.hub.keyholder import SignerProcess, SignerSettings, start_signer
from asepsis.hub.keys import AdminClient, SignerClient

_T = TypeVar("_T")


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def request_for(key: ec.EllipticCurvePrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@dataclass
class Hospital:
    """One data folder, made by `initialise`, with a signer that can be killed and started."""

    folder: Path
    outcome: InitOutcome
    process: SignerProcess | None = None
    started: list[SignerProcess] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, **more: Any) -> SignerProcess:
        self.stop()
        self.started.clear()
        self.process = start_signer(SignerSettings(data=self.data, **more))
        self.started.append(self.process)
        return self.process

    def ask(self, question: Callable[[SignerClient], Coroutine[Any, Any, _T]]) -> _T:
        async def asked() -> _T:
            client = SignerClient(self.data / "run" / "signer.sock")
            try:
                return await question(client)
            finally:
                await client.close()

        return asyncio.run(asked())

    def order(self, question: Callable[[AdminClient], Coroutine[Any, Any, _T]]) -> _T:
        async def asked() -> _T:
            client = AdminClient(self.data / "run" / "signer-admin.sock")
            try:
                return await question(client)
            finally:
                await client.close()

        return asyncio.run(asked())

    def expect(self, name: str, **more: Any) -> typed.TokenProof:
        wanted = signer_values.Expectation(id="", name=name, profile="device", **more)
        token = self.order(lambda admin: admin.expect(wanted)).token
        id_, secret, _ = token.split(".")
        return typed.TokenProof(id=id_, secret=secret)

    def stop(self) -> None:
        for process in self.started:
            process.stop()  # of a killed one, this closes the lifeline


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may pass through: pytest's own is closed to them."""
    made = Path(tempfile.mkdtemp(prefix="asepsis-signer-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def hospital(folder: Path) -> Iterator[Hospital]:
    options = InitOptions(
        data=folder / "data", hospital="St. Vitus", host_names=("localhost", "127.0.0.1")
    )
    outcome = initialise(options, clock=time.time_ns, who=numbered_users())
    made = Hospital(folder, outcome)
    yield made
    made.stop()


@pytest.fixture
def as_hub(hospital: Hospital) -> Callable[[str], int]:
    """Run a piece of Python with the hub's user and nothing else; returns its exit code."""
    who = hospital.outcome.separation

    def run(program: str) -> int:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                os.setgroups([])
                os.setresgid(who.hub_gid, who.hub_gid, who.hub_gid)
                os.setresuid(who.hub_uid, who.hub_uid, who.hub_uid)
                # Imported before: the hub's user may not be able to read the code's folder.
                names: dict[str, Any] = {"data": hospital.data, "code": 0, "os": os}
                names |= {"socket": socket, "ctypes": ctypes, "typed": typed}
                exec(program, names)  # noqa: S102 - the test's own words
                code = int(names["code"])
            except BaseException as error:  # noqa: BLE001 - must reach the parent as a code
                sys.stderr.write(repr(error))
            os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return run


@pytest.fixture
def makers() -> tuple[Callable[[], ec.EllipticCurvePrivateKey], Callable[..., bytes]]:
    return new_key, request_for
