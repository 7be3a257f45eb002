"""Goal: the same signer over a real PKCS#11 token (SoftHSM): keys are made there and stay there."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from asepsis.core.errors import ConfigError
from asepsis.core.trust import requests as typed
from asepsis.core.trust import signer_values
from asepsis.core.trust.identity import peer_from_der
from asepsis.core.trust.statements import read_time_statement
from asepsis.hub import initialise as init
from asepsis.hub.keyholder import SignerSettings, start_signer
from asepsis.hub.keys import AdminClient, SignerClient

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
DEVICE = "urn:dev:mac:0011223344556677"
pytestmark = pytest.mark.skipif(not MODULE.exists(), reason="needs the Debian package softhsm2")


@pytest.fixture
def token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> init.Pkcs11Token:
    """A fresh SoftHSM token owned by the signer's user."""
    who = init.numbered_users()
    store, pin_file, config = folder / "tokens", folder / "pin", folder / "softhsm2.conf"
    store.mkdir()
    config.write_text(f"directories.tokendir = {store}\nlog.level = ERROR\n")
    pin_file.write_text("864209\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    tool = shutil.which("softhsm2-util")
    assert tool is not None
    subprocess.run(
        [
            tool,
            "--init-token",
            "--free",
            "--label",
            "asepsis",
            "--pin",
            "864209",
            "--so-pin",
            "1234",
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    if os.geteuid() == 0:
        for path in (pin_file, store, *store.rglob("*")):
            os.chown(path, who.signer_uid, who.signer_gid)
    pin_file.chmod(0o400)
    return init.Pkcs11Token(module=MODULE, token="asepsis", pin_file=pin_file)


@pytest.fixture
def data(folder: Path, token: init.Pkcs11Token) -> Path:
    options = init.InitOptions(
        data=folder / "data", hospital="St. Vitus", host_names=("localhost",), pkcs11=token
    )
    init.initialise(options, clock=time.time_ns, who=init.numbered_users())
    return options.data


def test_certificates_time_and_lists_are_signed_in_the_token(data: Path, makers: Any) -> None:
    new_key, request_for = makers
    process = start_signer(SignerSettings(data=data))
    try:
        answers = asyncio.run(_ask(data, request_for(new_key())))
    finally:
        process.stop()
    issued, signed_time, crl, status = answers
    issuer = x509.load_der_x509_certificate(issued.chain_der[1])
    x509.load_der_x509_certificate(issued.chain_der[0]).verify_directly_issued_by(issuer)
    assert peer_from_der(issued.chain_der[0]).uri == DEVICE
    assert read_time_statement(signed_time.statement, nonce=b"12345678")[1] == 1_000
    assert x509.load_der_x509_crl(crl).is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    assert status.key_storage == "PKCS#11 token asepsis (libsofthsm2.so)"
    assert not (data / "signer" / "keys.sealed").exists()


async def _ask(data: Path, csr: bytes) -> Any:
    hub, admin = SignerClient(data / "run/signer.sock"), AdminClient(data / "run/signer-admin.sock")
    try:
        wanted = signer_values.Expectation(id="", name=DEVICE, profile="device")
        id_, secret, _ = (await admin.expect(wanted)).token.split(".")
        proof = typed.TokenProof(id=id_, secret=secret)
        request = typed.IssueRequest(csr_der=csr, profile="device", proof=proof)
        return (
            await hub.issue(request),
            await hub.sign_time(b"12345678"),
            await hub.sign_crl(),
            await hub.status(),
        )
    finally:
        await hub.close()
        await admin.close()


def test_the_keys_cannot_be_taken_out(data: Path, token: init.Pkcs11Token) -> None:
    del data
    tool = shutil.which("softhsm2-util")
    assert tool is not None
    listing = subprocess.run([tool, "--show-slots"], capture_output=True, check=True, timeout=30)
    assert b"asepsis" in listing.stdout
    program = (
        "import pkcs11; from pkcs11 import Attribute as A, ObjectClass as C;"
        f"t = pkcs11.lib({str(token.module)!r}).get_token(token_label='asepsis');"
        "s = t.open(user_pin='864209');"
        "keys = list(s.get_objects({A.CLASS: C.PRIVATE_KEY}));"
        "print(len(keys), all(k[A.SENSITIVE] and not k[A.EXTRACTABLE] for k in keys))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        timeout=30,
        text=True,
    )
    assert shown.stdout.strip() == "4 True", shown.stderr


def test_a_wrong_pin_stops_the_start(data: Path, token: init.Pkcs11Token) -> None:
    token.pin_file.chmod(0o600)
    token.pin_file.write_text("000000\n")
    with pytest.raises(ConfigError):
        start_signer(SignerSettings(data=data))
