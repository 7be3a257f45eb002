"""The parts of python-tuf and securesystemslib that Asepsis uses, named in one place.

python-tuf documents these names in `tuf.api.metadata` without declaring them as exported there;
its rules without its I/O it offers under no public name at all (ADR 0052).
"""

from securesystemslib.exceptions import Error as SignatureLibraryError
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import Key, SSlibKey
from tuf.api._payload import (
    DelegatedRole,
    Delegations,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.exceptions import EqualVersionNumberError, RepositoryError
from tuf.api.metadata import Metadata
from tuf.api.serialization.json import CanonicalJSONSerializer, JSONSerializer
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

__all__ = [
    "CanonicalJSONSerializer",
    "CryptoSigner",
    "DelegatedRole",
    "Delegations",
    "EnvelopeType",
    "EqualVersionNumberError",
    "JSONSerializer",
    "Key",
    "MetaFile",
    "Metadata",
    "RepositoryError",
    "Role",
    "Root",
    "SSlibKey",
    "SignatureLibraryError",
    "Signed",
    "Snapshot",
    "TargetFile",
    "Targets",
    "Timestamp",
    "TrustedMetadataSet",
]
