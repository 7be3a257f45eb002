"""A running device attests by itself: the attester has the TPM, the network compartment the way."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from asepsis.cli.devices import people
from asepsis.core.errors import ContentMismatch, NotPermitted
from asepsis.core.trust import tls
from asepsis.core.trust.attestation_log import PCR_RUNTIME
from asepsis.core.trust.tpm import extend
from asepsis.edge.device.attesting import Attester
from asepsis.edge.device.measured_versions import begin_measuring
from asepsis.edge.device.proving import TpmProver, fingerprint
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import extend_pcr, floor_base, keys, read_floor
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.uplink import est
from asepsis.edge.uplink.connection import Endpoint, HubConnection
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.testing.software_tpm import SoftwareTpm

WAIT_S = 60.0
DEVICE = "urn:dev:mac:020000fffe00a77e"
MODEL = "under test"
IMAGE, SECURE = (hashlib.sha256(word).digest() for word in (b"kernel", b"secure boot"))
NUMBER = 2


def commission(person: Any, ek_sha256: str) -> None:
    """Do what a person does at the hub: say whose TPM, which release, and which floor."""
    person.post(f"/api/devices/{quote(DEVICE, safe='')}/attestation", {"ek_sha256": ek_sha256})
    registers = {"11": extend(bytes(32), IMAGE).hex()}
    release = {"model": MODEL, "name": "two", "number": NUMBER, "registers": registers}
    person.post("/api/attestation/releases", release)
    person.post("/api/attestation/floors", {"model": MODEL, "number": NUMBER})


@pytest.mark.slow
def test_a_running_device_brings_its_tpm_and_is_verified(wide_hub: Any) -> None:
    """Goal: bound, asked, answered and the floor raised, with nobody at the device.

    And once an answer is refused, this hub renews its certificate no more.
    """
    folder = wide_hub.enrolled(DEVICE)
    events: list[tuple[str, str, dict[str, Any]]] = []

    def tell(who: str, what: str, details: Any) -> None:
        events.append((who, what, dict(details)))

    with tempfile.TemporaryDirectory(prefix="asepsis-attester-") as made, SoftwareTpm() as software:
        software.measure({7: SECURE, 11: IMAGE})
        with Tpm(software.path) as tpm:
            ek = fingerprint(keys(tpm)[0])
        log = Path(made) / "measured.jsonl"
        begin_measuring(software.path, log=log, tell=tell)
        with closing(people(wide_hub.made.data)) as person:
            commission(person, ek)
            setting = Setting(seed=3, tpm=software.path, measured_log=log, image_number=NUMBER)
            supervisor = Supervisor(folder, holding=detect().holding, setting=setting, tell=tell)
            try:
                found = until(supervisor, lambda: said(events))
            finally:
                supervisor.close()
            shown = person.get(f"/api/devices/{quote(DEVICE, safe='')}/attestation")
        assert found == {"verified": "running", "release": "two"}, found
        assert shown["text"].startswith("running verified: two"), shown
        with Tpm(software.path) as tpm:
            assert read_floor(tpm) == (floor_base(tpm) or 0) + NUMBER
            renew(folder)
            # Something is changed without a word about it: refused, and renewed no more.
            extend_pcr(tpm, PCR_RUNTIME, bytes(32))
            with closing(connection(folder, folder.load()[1].clinical)) as line:
                attester = Attester(TpmProver(tpm, tuple), line, folder.key("tls").spki_der)
                with pytest.raises(ContentMismatch, match="does not explain"):
                    attester.attest()
            with pytest.raises(NotPermitted, match="attestation was refused"):
                renew(folder)
        alive = [d for who, what, d in events if (who, what) == ("attester", "alive")]
        assert alive
        assert alive[-1]["dropped"] == 0


def renew(folder: IdentityFolder) -> None:
    """Renew the TLS certificate, as the caretaker of the uplink does."""
    with closing(connection(folder, folder.load()[1].enrolment)) as line:
        est.renew(line, folder.request("tls", uri=DEVICE))


def connection(folder: IdentityFolder, where: Endpoint) -> HubConnection:
    context = tls.client_context(root_der=folder.load()[2], identity=folder.identity)
    return HubConnection(where, context, now_ns=time.time_ns)


def said(events: list[tuple[str, str, dict[str, Any]]]) -> dict[str, Any] | None:
    return next((d for who, what, d in events if what == "attestation"), None)


def until(supervisor: Supervisor, holds: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    until_s = time.monotonic() + WAIT_S
    while not (found := holds()):
        assert time.monotonic() < until_s
        supervisor.step()
    return found
