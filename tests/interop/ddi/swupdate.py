"""Debian's `swupdate` as a device, and update files that a vendor signs for it."""

import hashlib
import os
import signal
import subprocess
from pathlib import Path

from ddi_ward import DdiWard

from asepsis.core.trust import tls

DESCRIPTION = """software =
{{
  version = "{version}";
  hardware-compatibility: [ "1.0" ];
  files: ( {{
    filename = "payload.bin";
    path = "{target}";
    sha256 = "{sha256}";
  }} );
}}
"""
CONFIG = """globals : {{
  verbose = true;
  loglevel = 5;
  public-key-file = "{ca}";
  no-downgrading = "{floor}";
}};
suricatta : {{
  tenant = "default";
  id = "{name}";
  url = "{url}";
  polldelay = 1;
  retry = 5;
  retrywait = 1;
  cafile = "{cafile}";
{proof}
}};
identify : ( {{ name = "asepsis-version"; value = "{runs}"; }},
             {{ name = "asepsis-self-test"; value = "{test}"; }} );
"""


def openssl(*words: str) -> None:
    """Run openssl; its complaint is the test's."""
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Vendor:
    """Who signs update files.

    Args:
        folder: Empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.ca = folder / "ca.pem"
        key, made = str(folder / "ca.key"), str(self.ca)
        days = ("-days", "9")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl(
            "req", "-x509", *curve, "-keyout", key, "-out", made, "-subj", "/CN=CA", "-days", "9"
        )
        leaf, request = str(folder / "signer.key"), str(folder / "signer.csr")
        openssl("req", *curve, "-keyout", leaf, "-out", request, "-subj", "/CN=Signer")
        more = folder / "more.cnf"
        more.write_text("keyUsage=digitalSignature\nextendedKeyUsage=emailProtection,codeSigning\n")
        signer = str(folder / "signer.pem")
        sign = ("-CA", made, "-CAkey", key, "-CAcreateserial", *days)
        openssl("x509", "-req", "-in", request, *sign, "-extfile", str(more), "-out", signer)

    def update(
        self, target: Path, payload: bytes, *, version: str = "2.0", good: bool = True
    ) -> bytes:
        """Return an update file that writes a payload to a path.

        Args:
            target: Where the device writes it.
            payload: What.
            version: Of the software.
            good: Whether the payload is what was signed.
        """
        folder = self.folder / f"{target.parent.name}-{version}-{good}"
        folder.mkdir()
        description = folder / "sw-description"
        sha256 = hashlib.sha256(payload).hexdigest()
        text = DESCRIPTION.format(version=version, target=target, sha256=sha256)
        description.write_text(text)
        (folder / "payload.bin").write_bytes(payload if good else payload[::-1])
        signed = ("-in", str(description), "-out", str(description) + ".sig", "-outform", "DER")
        who = (
            "-signer",
            str(self.folder / "signer.pem"),
            "-inkey",
            str(self.folder / "signer.key"),
        )
        openssl("cms", "-sign", *signed, *who, "-nosmimecap", "-binary")
        names = "sw-description\nsw-description.sig\npayload.bin\n"
        return subprocess.run(
            ["cpio", "-o", "-H", "crc", "--quiet"],
            input=names.encode(),
            cwd=folder,
            capture_output=True,
            check=True,
        ).stdout


class Device:
    """One device with `swupdate`.

    Args:
        ward: The hub.
        name: Name of the target.
        folder: Empty folder, the device's disk.
        trusts: CA of the vendor whom it trusts.
        proof: A target's token, or files of a certificate.
        floor: Oldest version that it takes.
        url: Where the hub is, by default itself.
    """

    def __init__(
        self,
        ward: DdiWard,
        name: str,
        folder: Path,
        *,
        trusts: Path,
        proof: str | tls.KeyAndChain,
        floor: str = "1.0",
        url: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.installed = folder / "installed.bin"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._facts = {
            "ca": trusts,
            "floor": floor,
            "name": name,
            "url": url or ward.url(),
            "cafile": ward.hospital.data / "ca" / "root.crt",
            "proof": f'  targettoken = "{proof}";'
            if isinstance(proof, str)
            else f'  sslkey = "{proof.key_path}";\n  sslcert = "{proof.chain_path}";',
        }

    def start(self, *, restarted: int | None = None, runs: str = "1.0", test: str = "") -> None:
        """Start the client; after an update with how it went (2 well, 3 not)."""
        config = self.folder / "swupdate.cfg"
        config.write_text(CONFIG.format(**self._facts, runs=runs, test=test))
        told = "" if restarted is None else f"-c {restarted}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["swupdate", "-v", "-f", str(config), "-H", "board:1.0", "-u", told],
                env=os.environ | {"TMPDIR": str(self.folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """End it with its children."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
