"""The hospital's certification authority as pure functions: values and a key in, DER out.

Who may have a certificate is decided elsewhere (the signer's policy); this package decides what a
certificate of each profile looks like, and what is taken from a request: a P-256 key and the proof
that the asker holds it. Nothing else.
"""

from asepsis.core.trust.authority.certificates import (
    ISSUING_DAYS,
    LEAF_DAYS,
    ROOT_DAYS,
    Issuer,
    issue_leaf,
    issuing_certificate,
    root_certificate,
)
from asepsis.core.trust.authority.chains import check_anchor, verify_idevid_chain, verify_issued_by
from asepsis.core.trust.authority.csr import CertificateRequest, read_csr
from asepsis.core.trust.authority.revocation import Revoked, sign_crl

__all__ = [
    "ISSUING_DAYS",
    "LEAF_DAYS",
    "ROOT_DAYS",
    "CertificateRequest",
    "Issuer",
    "Revoked",
    "check_anchor",
    "issue_leaf",
    "issuing_certificate",
    "read_csr",
    "root_certificate",
    "sign_crl",
    "verify_idevid_chain",
    "verify_issued_by",
]
