# ruff: noqa: INP001 - a program of the standard, not part of a package.
"""Golden vectors of enrolment token, signed time and audit log."""

import datetime as dt
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from vector_keys import START_NS, Vector, private_key, signature

from asepsis.core.trust.merkle import Frontier, MemoryNodes, consistency_proof, inclusion_proof
from asepsis.core.trust.merkle import leaf_hash as merkle_leaf
from asepsis.core.trust.statements import time_statement, tree_head_statement


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    serial: int,
    by: tuple[str, ec.EllipticCurvePrivateKey],
    path_length: int | None = None,
) -> bytes:
    """Return a certificate, a CA's if it has a path length, else that of the time key."""
    issuer, issuer_key = by
    ca = path_length is not None
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    off = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment",
                         "key_agreement", "encipher_only", "decipher_only"), False)  # fmt: skip
    usage = x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **off)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder(named(issuer), named(name), key.public_key(), serial)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3_650))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(authority, critical=False)
    )
    if not ca:
        stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(stamping, critical=True)
    signed = builder.sign(issuer_key, SHA256(), ecdsa_deterministic=True)
    return signed.public_bytes(Encoding.DER)


def trust_document() -> Vector:
    """Return the vectors of frames.md sections 5 and 6: token and signed time."""
    keys = {name: private_key(name) for name in ("root", "issuing", "time")}
    root_name, issuing_name = "ADP/1 vector root", "ADP/1 vector issuing"
    root = certificate(root_name, keys["root"], serial=1, by=(root_name, keys["root"]),
                       path_length=1)  # fmt: skip
    issuing = certificate(issuing_name, keys["issuing"], serial=2, by=(root_name, keys["root"]),
                          path_length=0)  # fmt: skip
    leaf = certificate("ADP/1 vector time", keys["time"], serial=3,
                       by=(issuing_name, keys["issuing"]))  # fmt: skip
    nonce = bytes(range(16))
    statement = time_statement(nonce=nonce, wall_ns=START_NS, uncertainty_ms=20)
    raw = signature(keys["time"], statement)
    other = time_statement(nonce=bytes(16), wall_ns=START_NS, uncertainty_ms=20)
    return {
        "source": "frames.md sections 5 and 6",
        "root": root.hex(),
        "token": {
            "id": "kX3vQ9",
            "secret": "3u5yQ0VJm0a8c1Z2b7T4Rw",
            "pin": hashlib.sha256(root).hexdigest(),
            "text": f"kX3vQ9.3u5yQ0VJm0a8c1Z2b7T4Rw.{hashlib.sha256(root).hexdigest()}",
            "authorization": "Basic a1gzdlE5OjN1NXlRMFZKbTBhOGMxWjJiN1Q0Unc=",
        },
        "signed_time": {
            "nonce": nonce.hex(),
            "statement": statement.hex(),
            "signature": raw.hex(),
            "chain": [leaf.hex(), issuing.hex(), root.hex()],
            "wall_ns": START_NS,
            "uncertainty_ms": 20,
        },
        "refused_time": [
            {
                "explanation": "answers another nonce: a replay",
                "statement": other.hex(),
                "signature": signature(keys["time"], other).hex(),
            },
            {
                "explanation": "signed by the issuing key, not the time key",
                "statement": statement.hex(),
                "signature": signature(keys["issuing"], statement).hex(),
            },
        ],
    }


def merkle_document() -> Vector:
    """Return the vectors of frames.md section 8, over the leaves of RFC 6962's test suite."""
    texts = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
             "606162636465666768696a6b6c6d6e6f")  # fmt: skip
    states, nodes = [Frontier()], MemoryNodes()
    for text in texts:
        state, complete = states[-1].append(merkle_leaf(bytes.fromhex(text)))
        states.append(state)
        nodes.add(complete)
    inclusion = [(index, size) for size in (1, 3, 8) for index in range(size)]
    consistency = [(1, 8), (2, 5), (3, 7), (4, 8), (6, 8), (8, 8)]
    return {
        "source": "frames.md section 8; RFC 9162 section 2.1",
        "entries": list(texts),
        "roots": [state.root().hex() for state in states],
        "inclusion": [
            {"index": i, "size": n,
             "proof": [d.hex() for d in inclusion_proof(i, size=n, node=nodes)]}
            for i, n in inclusion
        ],
        "consistency": [
            {"first": m, "second": n,
             "proof": [d.hex() for d in consistency_proof(m, second=n, node=nodes)]}
            for m, n in consistency
        ],
        "tree_head": {
            "size": 8,
            "timestamp_ns": START_NS,
            "statement": tree_head_statement(
                size=8, root=states[8].root(), timestamp_ns=START_NS
            ).hex(),
        },
    }  # fmt: skip
