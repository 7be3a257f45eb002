"""The link between two gateways: a key of its own, and the other's certificate pinned.

The certificate that a hospital issues for a gateway is a client's; and a process that reads what
comes over the link need not be able to speak to the hub.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.trust import tls

BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """What a gateway proves itself to the other one with.

    Attributes:
        own: Key and self-signed certificate.
        other_der: The other's certificate, DER.
    """

    own: tls.KeyAndChain
    other_der: bytes

    def client(self) -> ssl.SSLContext:
        """Return the context towards the other gateway; errors as `read`."""
        return tls.peer_client_context([self.other_der], identity=self.own, by_host=False)

    def server(self) -> ssl.SSLContext:
        """Return the context for the other gateway; errors as `read`."""
        return tls.peer_server_context([self.other_der], identity=self.own)


def place(data: Path) -> tls.KeyAndChain:
    """Return where key and certificate of the link stand."""
    folder = data / "identity"
    return tls.KeyAndChain(chain_path=folder / "link.pem", key_path=folder / "link.key")


def read(data: Path, certificate_file: Path) -> LinkKeys:
    """Return the keys of the link.

    Raises:
        ConfigError: A file is absent or is no certificate.
    """
    try:
        text = certificate_file.read_text("ascii")[:BYTES_MAX]
        return LinkKeys(place(data), ssl.PEM_cert_to_DER_cert(text))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{certificate_file}: not the other gateway's link certificate",
            hint="asepsis gateway pair-key prints it there",
        ) from error
