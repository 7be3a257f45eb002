"""TLS by the BCP 195 profiles, certificates, and users that prove themselves; DCMTK is the peer."""

import os
import secrets
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom.data
import pytest
from dicom_ward import CLEAR, PLAIN, DicomWard, make_ward, peer_text, run, storescu
from proofs_of_users import (
    AUDIENCE,
    ISSUER,
    REALM,
    SERVICE,
    Authority,
    Kdc,
    assertion,
    token,
)

from asepsis.edge.gateway.imaging.proofs import passcode_line

CT_SMALL = pydicom.data.get_testdata_file("CT_small.dcm")


@dataclass
class Clinic:
    """A gateway with a TLS listener, a plain one, and every kind of user."""

    ward: DicomWard
    ours: Authority
    strange: Authority
    kdc: Kdc
    leaves: dict[str, tuple[Path, Path]] = field(default_factory=dict)

    def tls(self, name: str = "ct") -> list[object]:
        """Return the options of DCMTK for TLS with one of the certificates."""
        key, certificate = self.leaves[name]
        return ["+tls", key, certificate, "+cf", self.ours.certificate_file]

    def store(self, *options: object, title: str = "CT1", plain: bool = False) -> bool:
        """Return whether an instance was a success."""
        port = self.ward.port("rad" if plain else "tls")
        done = storescu(port, CT_SMALL, title=title, options=options)
        return "Received Store Response (Success)" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """Return a running clinic."""
    folder = tmp_path_factory.mktemp("clinic")
    ours, strange = Authority(folder / "ours", "ours"), Authority(folder / "strange", "strange")
    kdc = Kdc(folder / "kdc")
    leaves: dict[str, tuple[Path, Path]] = {}
    prints: dict[str, str] = {}
    for name in ("gateway", "ct", "other"):
        key, certificate, prints[name] = ours.leaf(name)
        leaves[name] = (key, certificate)
    key, certificate, _ = strange.leaf("ct")
    leaves["strange"] = (key, certificate)
    passcodes = folder / "passcodes"
    passcodes.write_text(passcode_line("nurse", "correct horse", salt=secrets.token_bytes(16)))
    passcodes.chmod(0o600)
    ward = make_ward(
        folder / "ward",
        listeners=PLAIN + tls_listener(ours, leaves["gateway"]),
        peers=peers(prints["ct"]),
        more=identity(folder, ours, passcodes),
    )
    ward.start_server()
    os.environ["KRB5_CONFIG"] = kdc.environment["KRB5_CONFIG"]
    try:
        ward.start_gateway()
    finally:
        del os.environ["KRB5_CONFIG"]
    yield Clinic(ward, ours, strange, kdc, leaves)
    ward.close()
    kdc.close()


def tls_listener(ours: Authority, files: tuple[Path, Path]) -> str:
    return (
        '[[imaging.listeners]]\nname = "tls"\nhost = "127.0.0.1"\nport = 0\nae_titles = ["GATE"]\n'
        f'tls = {{ chain_file = "{files[1]}", key_file = "{files[0]}",'
        f' client_ca_file = "{ours.certificate_file}" }}\n'
    )


def peers(fingerprint: str) -> str:
    pinned = f'sop_classes = ["storage"]\ncertificate_sha256 = ["{fingerprint}"]\n'
    named = 'sop_classes = ["storage"]\ncertificate_names = ["other.hospital.test"]\n'
    users = pinned + 'user_identity = ["passcode", "saml", "jwt", "kerberos"]\n'
    texts = [
        peer_text("ct", ["CT1"], more=pinned),
        peer_text("named", ["CT2"], more=named),
        peer_text("users", ["CT3"], more=users),
    ]
    on_tls = "".join(texts).replace('listener = "rad"', 'listener = "tls"')
    plain = peer_text("plain", ["CT1"], more=CLEAR)
    return on_tls + plain + peer_text("ticket", ["CT4"], more=CLEAR + KERBEROS)


KERBEROS = 'user_identity = ["kerberos"]\n'


def identity(folder: Path, ours: Authority, passcodes: Path) -> str:
    rows = (
        'form = "passcode"\nuser = "nurse"\nroles = ["store"]\n',
        'form = "jwt"\nclaim = "radiographer"\nroles = ["store"]\n',
        'form = "saml"\nclaim = "radiographer"\nroles = ["store"]\n',
        f'form = "kerberos"\nuser = "nurse@{REALM}"\nroles = ["store"]\n',
    )
    return (
        f'[imaging.identity]\npasscode_file = "{passcodes}"\n'
        f'[imaging.identity.kerberos]\nkeytab_file = "{folder}/kdc/service.keytab"\n'
        f'service = "{SERVICE}"\n'
        f'[imaging.identity.jwt]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
        f'key_file = "{ours.public_file}"\nrole_claim = "role"\n'
        f'[imaging.identity.saml]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
        f'certificate_file = "{ours.certificate_file}"\nrole_attribute = "role"\n'
        + "".join(f"[[imaging.identity.table]]\n{row}" for row in rows)
    )


@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
def test_every_bcp_195_profile_of_dcmtk_is_served(clinic: Clinic, profile: str) -> None:
    assert clinic.store(profile, *clinic.tls())


@pytest.mark.parametrize("profile", ["+pa", "+pb", "+pn"])
def test_the_retired_profiles_are_not(clinic: Clinic, profile: str) -> None:
    """Goal: AES with CBC, 3DES and authentication without encryption: no handshake."""
    assert not clinic.store(profile, *clinic.tls())


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_nothing_below_tls_1_2_is_spoken(clinic: Clinic, version: str) -> None:
    key, certificate = clinic.leaves["ct"]
    done = run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{clinic.ward.port('tls')}", version,
        "-cipher", "ALL:@SECLEVEL=0", "-key", key, "-cert", certificate,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Cipher is (NONE)" in done.stdout + done.stderr


def test_tls_1_3_is_preferred(clinic: Clinic) -> None:
    context = ssl.create_default_context(cafile=str(clinic.ours.certificate_file))
    context.load_cert_chain(clinic.leaves["ct"][1], clinic.leaves["ct"][0])
    with (
        socket.create_connection(("127.0.0.1", clinic.ward.port("tls")), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        assert wrapped.version() == "TLSv1.3"


def test_certificates_decide_who_a_peer_is(clinic: Clinic) -> None:
    assert clinic.store(*clinic.tls("ct"), title="CT1")
    assert clinic.store(*clinic.tls("other"), title="CT2")
    assert not clinic.store(*clinic.tls("other"), title="CT1")
    assert not clinic.store(*clinic.tls("ct"), title="CT2")
    assert not clinic.store(*clinic.tls("strange"), title="CT1")
    assert not clinic.store("+tla", "+cf", clinic.ours.certificate_file)
    assert not clinic.store()  # Clear text to the TLS listener.
    assert clinic.ward.findings()["association-rejected"] >= 1


def test_an_identity_that_nobody_asks_for_is_not_looked_at(clinic: Clinic) -> None:
    assert clinic.store("-usr", "anybody", plain=True)


def test_passcodes(clinic: Clinic) -> None:
    def ask(user: str, passcode: str) -> bool:
        return clinic.store(*clinic.tls(), "-usr", user, "-pwd", passcode, "-rsp", title="CT3")

    assert clinic.ward.server is not None
    assert ask("nurse", "correct horse")
    assert clinic.ward.server.users[-1] == "nurse"
    assert not ask("nurse", "wrong horse")
    assert not ask("nobody", "correct horse")
    assert not clinic.store(*clinic.tls(), "-usr", "nurse", title="CT3")
    assert not clinic.store(*clinic.tls(), title="CT3")


def test_tokens(clinic: Clinic, tmp_path: Path) -> None:
    def ask(text: str) -> bool:
        file = tmp_path / "token"
        file.write_text(text)
        return clinic.store(*clinic.tls(), "--jwt", file, "-rsp", title="CT3")

    good = token(clinic.ours)
    assert ask(good)
    assert not ask(token(clinic.strange))
    assert not ask(token(clinic.ours, exp=1))
    assert not ask(token(clinic.ours, role=["porter"]))
    assert not ask(good[:-4] + "AAAA")


def test_assertions(clinic: Clinic, tmp_path: Path) -> None:
    def ask(data: bytes) -> bool:
        file = tmp_path / "assertion"
        file.write_bytes(data)
        return clinic.store(*clinic.tls(), "--saml", file, "-rsp", title="CT3")

    good = assertion(clinic.ours)
    assert ask(good)
    assert not ask(good.replace(b"nurse", b"admin"))
    assert not ask(assertion(clinic.strange))
    assert not ask(assertion(clinic.ours, sign=False))


def test_tickets(clinic: Clinic, tmp_path: Path) -> None:
    """Goal: a ticket counts once, for our service, also on the device's own segment."""

    def ask(data: bytes, *, plain: bool = True) -> bool:
        file = tmp_path / "ticket"
        file.write_bytes(data)
        title, tls = ("CT4", []) if plain else ("CT3", clinic.tls())
        return clinic.store(*tls, "-kt", file, "-rsp", title=title, plain=plain)

    ticket = clinic.kdc.ticket()
    assert ask(ticket)
    assert not ask(ticket)
    assert ask(clinic.kdc.ticket(), plain=False)
    assert not ask(clinic.kdc.ticket(user="visitor"))
    assert not ask(clinic.kdc.ticket(service=f"other/gateway@{REALM}"))
    assert not clinic.store(title="CT4", plain=True)
