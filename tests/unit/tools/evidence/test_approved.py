"""A pack says who approved which hash: judged by the approvers' own signatures, offline."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from asepsis.core.trust.metadata.library import Key
from asepsis.hub.audit.rules import Act, Entry, encode_detail, leaf
from asepsis.tools.evidence.verify_evidence import PACK_FORMAT, Pack, check_documents
from asepsis.tools.release.approving import approve, propose, root_of
from asepsis.tools.testing.releases import Hospital, Vendor, new_signer


def spki(key: Key) -> str:
    pem: Any = key.keyval["public"]
    public = load_pem_public_key(pem.encode())
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vendor, Hospital, str]:
    folder: Path = tmp_path_factory.mktemp("approved")
    vendor = Vendor(folder / "vendor")
    hospital = Hospital(folder / "hospital", new_signer().public_key, now=vendor.now)
    return vendor, hospital, vendor.release(4)


def authorised(world: tuple[Vendor, Hospital, str], *parties: str) -> bytes:
    vendor, hospital, path = world
    content = propose(vendor.repository, path, models=(), floor=0, days=30, now=vendor.now)
    for party, holder in (("vendor", vendor), ("hospital", hospital)):
        if party in parties:
            root = root_of(holder.first_root, party)
            content = approve(content, holder.approver, root=root, party=party)
    return content


def found(world: tuple[Vendor, Hospital, str], content: bytes, named: str) -> list[str]:
    vendor, hospital, _ = world
    act = Act(
        actor="person:ana", action="submit-authorisation", subject="m5", detail={"sha256": named}
    )
    entry = Entry(
        index=0,
        at_ns=1,
        actor=act.actor,
        action=act.action,
        subject=act.subject,
        outcome=act.outcome,
        detail=encode_detail(act.detail).decode(),
        salt="00" * 16,
    )
    fields = {name: getattr(entry, name) for name in Entry.__struct_fields__}
    document = {
        "kind": "authorisation",
        "name": "approved.json",
        "sha256": hashlib.sha256(content).hexdigest(),
        "content": base64.b64encode(content).decode(),
    }
    pack = {
        "format": PACK_FORMAT,
        "size": 1,
        "made_at_ns": 1,
        "leaves": base64.b64encode(leaf(entry)).decode(),
        "cosignatures": [],
        "entries": [fields],
        "documents": [document],
    }
    trust = {
        "approvers": [
            {"party": "vendor", "name": "reg", "key": spki(vendor.approver.public_key)},
            {"party": "hospital", "name": "ce", "key": spki(hospital.approver.public_key)},
        ]
    }
    return [what for _, what in check_documents(Pack(pack), trust)]


def test_both_parties_signed_what_the_log_names(world: tuple[Vendor, Hospital, str]) -> None:
    content = authorised(world, "vendor", "hospital")
    assert found(world, content, hashlib.sha256(content).hexdigest()) == []


@pytest.mark.parametrize("party", ["vendor", "hospital"])
def test_one_party_alone_is_named(world: tuple[Vendor, Hospital, str], party: str) -> None:
    content = authorised(world, party)
    other = {"vendor": "hospital", "hospital": "vendor"}[party]
    [what] = found(world, content, hashlib.sha256(content).hexdigest())
    assert what.endswith(f"no approver of {other} signed")


def test_a_changed_or_unnamed_authorisation_is_found(world: tuple[Vendor, Hospital, str]) -> None:
    document = json.loads(authorised(world, "vendor", "hospital"))
    document["signed"]["expires"] = "2099-01-01T00:00:00Z"
    content = json.dumps(document).encode()
    [what] = found(world, content, hashlib.sha256(content).hexdigest())
    assert "hospital, vendor" in what
    [what] = found(world, content, "another")
    assert "not named by any entry" in what
