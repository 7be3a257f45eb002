"""TLS of DICOM by the profiles on BCP 195: both ends, of files that the settings name.

Source: DICOM PS3.15 annexes B.12 and B.13; RFC 8996, RFC 9325.
"""

import ssl
from pathlib import Path

from asepsis.core.errors import ConfigError
from asepsis.core.trust import tls
from asepsis.edge.gateway.imaging.settings import ArchiveEntry, ImagingTls, MoveEntry


def provider_context(files: ImagingTls) -> ssl.SSLContext:
    """Return the context of a listener; a peer always brings a certificate of the CA.

    Raises:
        ConfigError: A file does not load.
    """
    identity = tls.KeyAndChain(chain_path=Path(files.chain_file), key_path=Path(files.key_file))
    context = tls.server_context(tls.Listener.PEOPLE, identity=identity)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cafile=files.client_ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{files.client_ca_file}: no CA certificate loads") from error
    return context


def user_context(entry: ArchiveEntry | MoveEntry) -> ssl.SSLContext | None:
    """Return the context towards a PACS, None for clear text.

    Raises:
        ConfigError: A file does not load.
    """
    if not entry.ca_file:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(tls.SUITES_TLS12)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.load_verify_locations(cafile=entry.ca_file)
        if entry.chain_file:
            context.load_cert_chain(entry.chain_file, entry.key_file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{entry.host}: a certificate does not load") from error
    return context
