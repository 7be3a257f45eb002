"""A software TPM (swtpm) as tests and trials use it, and a maker that certifies its keys.

It is a TPM in everything but that its state is a file: who can read the file has its keys. Its
machine is restarted by `restart`; registers are then empty, as after power on.
"""

import datetime as dt
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.core.trust.endorsement import EKU_EK_CERTIFICATE
from asepsis.core.trust.tpm import EccKey
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import extend_pcr, keys, put_ek_certificate

START_S_MAX: Final = 20.0
_POLL_S: Final = 0.02
_DAYS: Final = 365


class SoftwareTpm:
    """A TPM of its own, with a new seed.

    Args:
        state: Folder of its state, copied; None for a TPM as it leaves the factory.

    Raises:
        ConfigError: swtpm is not installed.
        Unavailable: It does not start.

    Resource handling: a process and a folder; use it in a with statement.
    """

    def __init__(self, state: Path | None = None) -> None:
        program = shutil.which("swtpm")
        if program is None:
            raise ConfigError("swtpm is not installed", hint="apt-get install swtpm")
        self._program = program
        self.folder = Path(tempfile.mkdtemp(prefix="asepsis-tpm-"))
        self.state = self.folder / "state"
        if state is None:
            self.state.mkdir()
        else:
            shutil.copytree(state, self.state)
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    @property
    def path(self) -> Path:
        """Socket that commands go to."""
        return self.folder / "tpm.sock"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove its state."""
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self) -> None:
        """Do what a restart of the machine does: registers are empty, keys and counters stay."""
        self._stop()
        self._start()

    def measure(self, registers: dict[int, bytes]) -> None:
        """Extend registers as firmware does, each by one digest."""
        with Tpm(self.path) as tpm:
            for pcr, digest in registers.items():
                extend_pcr(tpm, pcr, digest)

    def _start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._process = subprocess.Popen(  # noqa: S603 - swtpm with arguments of our own
            [
                *(self._program, "socket", "--tpm2", "--flags", "startup-clear"),
                *("--tpmstate", f"dir={self.state}"),
                *("--server", f"type=unixio,path={self.path}"),
                *("--ctrl", f"type=unixio,path={self.folder / 'control.sock'}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until_s = time.monotonic() + START_S_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise Unavailable("swtpm does not start")
            time.sleep(_POLL_S)

    def _answers(self) -> bool:
        # The socket is there a moment before anybody listens on it.
        if not self.path.is_socket():
            return False
        try:
            Tpm(self.path).close()
        except ConfigError:
            return False
        return True

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class TpmMaker:
    """A maker of TPMs: a CA that certifies endorsement keys.

    Args:
        name: Common name of the CA.
    """

    def __init__(self, name: str = "Maker of TPMs") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.anchor_der = certificate.public_bytes(serialization.Encoding.DER)

    def certify(self, ek: EccKey, *, usage: x509.ObjectIdentifier = EKU_EK_CERTIFICATE) -> bytes:
        """Return a certificate for an endorsement key, DER."""
        public = serialization.load_der_public_key(ek.spki_der)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise TypeError("a key on P-256")
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TPM")])
        certificate = (
            self._builder(named, public)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.DER)

    def equip(self, software: SoftwareTpm) -> None:
        """Certify a software TPM and put the certificate where a TPM has it."""
        with Tpm(software.path) as tpm:
            ek, _ = keys(tpm)
            put_ek_certificate(tpm, self.certify(ek))

    def _builder(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.fromtimestamp(time.time(), dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=_DAYS))
        )
