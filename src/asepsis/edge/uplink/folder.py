"""What an identity keeps about itself and its hospital: keys, chains, addresses, boot epoch."""

import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, NotFound
from asepsis.core.trust import libcrypto
from asepsis.core.trust.tls import KeyAndChain
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.files import read_state, write_durably

CHAIN_BYTES_MAX: Final = 65_536
REQUEST_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Hospital:
    """Where the hub is, as it was told at enrolment.

    Attributes:
        clinical: Listener for the lanes.
        enrolment: Listener for EST and signed time.
    """

    clinical: Endpoint
    enrolment: Endpoint


@dataclass(frozen=True, slots=True)
class IdentityFolder:
    """The folder of one device, gateway or consumer, mode 0700.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def identity(self) -> KeyAndChain:
        """Where TLS key and chain are."""
        return KeyAndChain(chain_path=self.path / "tls.pem", key_path=self.path / "tls.key")

    @property
    def origin_key_path(self) -> Path:
        """The origin key; a device's network compartment cannot read it."""
        return self.path / "origin.key"

    @property
    def enrolled(self) -> bool:
        """Whether an enrolment was finished here."""
        return (self.path / "identity.json").exists()

    def create(self) -> None:
        """Make the folder.

        Raises:
            ConfigError: The path is taken or cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the folder {self.path}") from error

    def key(self, name: str) -> libcrypto.PrivateKey:
        """Return the key `tls` or `origin`, made on the device at the first call (REQ-ID-004)."""
        path = self.path / f"{name}.key"
        if not path.exists():
            libcrypto.write_key(libcrypto.generate_key(), path)
        return libcrypto.read_key(path)

    def request(self, name: str, *, uri: str) -> bytes:
        """Return the request for a certificate of a key, DER (PKCS#10).

        That of the origin key is kept from the enrolment on: whoever renews that certificate has
        neither the key nor a need for it (REQ-ID-013, REQ-ORG-016).
        """
        kept = self.path / f"{name}.csr"
        if kept.exists():
            return kept.read_bytes()[:REQUEST_BYTES_MAX]
        return self.key(name).csr_der(common_name="asepsis", uri=uri)

    def store_chain(self, name: str, chain_der: list[bytes]) -> None:
        """Keep a chain, leaf first, durably."""
        text = "".join(ssl.DER_cert_to_PEM_cert(der) for der in chain_der)
        write_durably(self.path / f"{name}.pem", text.encode())

    def leaf(self, name: str) -> bytes:
        """Return the leaf certificate of a stored chain, DER.

        Raises:
            NotFound: Not enrolled, or the file is damaged.
        """
        try:
            text = (self.path / f"{name}.pem").read_text("ascii")[:CHAIN_BYTES_MAX]
            return ssl.PEM_cert_to_DER_cert(text[: text.index(_PEM_END) + len(_PEM_END)])
        except (OSError, ValueError) as error:
            raise NotFound(f"no {name} certificate here", hint="enrol the device first") from error

    def finish(self, name: str, hospital: Hospital, root_der: bytes) -> None:
        """Record a finished enrolment; the last write of it, so that a cut one starts over."""
        write_durably(self.path / "root.der", root_der)
        document = {
            "name": name,
            "clinical": [hospital.clinical.host, hospital.clinical.port],
            "enrolment": [hospital.enrolment.host, hospital.enrolment.port],
        }
        write_durably(self.path / "identity.json", json.dumps(document).encode())

    def load(self) -> tuple[str, Hospital, bytes]:
        """Return name, addresses and root of a finished enrolment.

        Raises:
            NotFound: Not enrolled, or the record is damaged.
        """
        state = read_state(self.path / "identity.json")
        try:
            hospital = Hospital(
                Endpoint(str(state["clinical"][0]), int(state["clinical"][1])),
                Endpoint(str(state["enrolment"][0]), int(state["enrolment"][1])),
            )
            return (
                str(state["name"]),
                hospital,
                (self.path / "root.der").read_bytes(),
            )
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise NotFound("no finished enrolment here", hint="enrol the device first") from error

    def next_epoch(self, *, wall_s: int) -> int:
        """Return a boot epoch above every earlier one, durable before it is used (REQ-ORG-005).

        Args:
            wall_s: Best known time, seconds since 1970. It keeps epochs rising when the folder
                was restored from a backup, which a mere counter would not.
        """
        path = self.path / "epoch.json"
        stored = read_state(path).get("epoch")
        epoch = max((stored if isinstance(stored, int) else 0) + 1, wall_s)
        write_durably(path, json.dumps({"epoch": epoch}).encode())
        return epoch


_PEM_END: Final = "-----END CERTIFICATE-----"
