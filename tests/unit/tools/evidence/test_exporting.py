"""Packs are made of what the hub says, bounded, and printed the same every time."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import InputError, LimitExceeded, NotFound
from asepsis.core.trust import merkle
from asepsis.hub.audit.rules import Act, Entry, encode_detail, leaf
from asepsis.tools.evidence import exporting, printing
from asepsis.tools.evidence.verify_evidence import Pack, check_documents, check_entries

NOW_NS = 1_800_000_000 * 10**9
RELEASE = json.dumps(
    {
        "name": "Vitals 2.1",
        "vendor": "acme",
        "model": "m5",
        "closes": [{"id": "CVE-2026-1", "words": "overflow <b>in</b> the parser"}],
        "self_tests": [{"name": "spo2", "low": 97, "high": 99, "unit": "%"}],
        "assessment": {
            "manufacturer": "Acme",
            "author": "R. Egg",
            "document": "RA-1",
            "date": "2026-11-01",
            "schedule": "routine",
            "pathways": [
                {
                    "name": "510k",
                    "answers": [{"question": "risk", "answer": False, "rationale": "none"}],
                }
            ],
            "field_action": {"kind": "none", "rationale": "no harm"},
        },
    }
).encode()
SHA256 = hashlib.sha256(RELEASE).hexdigest()


class Answers:
    """What a hub with a log of 1,200 entries answers, without the hub: every tenth concerns us."""

    def __init__(self) -> None:
        self.entries = [self._entry(index) for index in range(1_200)]

    def _entry(self, index: int) -> Entry:
        detail = {"sha256": SHA256} if index % 10 == 0 else {"note": "ä ☃ \n"}
        act = Act(actor="person:ana", action="approve", subject=f"s{index}", detail=detail)
        return Entry(
            index=index,
            at_ns=NOW_NS + index,
            actor=act.actor,
            action=act.action,
            subject=act.subject,
            outcome=act.outcome,
            detail=encode_detail(act.detail).decode(),
            salt=f"{index:032x}",
        )

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Sign nothing: a pack does not rely on it."""
        assert (path, body) == ("/api/audit/head", {})
        return {"size": 1_100}

    def get(self, path: str, **query: str | int) -> Any:
        """Answer as the routes do."""
        fields = Entry.__struct_fields__
        if path == "/api/audit":
            after, limit = int(query["after"]), int(query["limit"])
            page = self.entries[after + 1 : after + 1 + limit]
            return {"entries": [{name: getattr(one, name) for name in fields} for one in page]}
        if path == "/api/audit/leaves":
            first, count = int(query["first"]), int(query["count"])
            found = b"".join(leaf(one) for one in self.entries[first : first + count])
            return {"leaves": base64.b64encode(found).decode()}
        if path == "/api/audit/heads":
            return {"cosignatures": [{"size": 1_100}, {"size": 1_101}]}
        witnesses = [{"name": f"w{n}", "kind": "gateway", "key": "00", "since_ns": 0} for n in "ab"]
        return {"witnesses": witnesses, "audit_certificate": ""}


@pytest.fixture(scope="module")
def pack() -> dict[str, Any]:
    return exporting.export(
        Answers(),
        about=[SHA256],
        documents=[("release", "release.json", RELEASE)],
        hospital="St. Ülm",
        now_ns=NOW_NS,
    )


def test_a_pack_holds_what_concerns_it_and_every_leaf(pack: dict[str, Any]) -> None:
    read = Pack(pack)
    assert [one["index"] for one in pack["entries"]] == list(range(0, 1_100, 10))
    assert [one["size"] for one in pack["cosignatures"]] == [1_100]
    assert list(check_entries(read)) == []
    assert list(check_documents(read, {})) == []
    state = merkle.Frontier()
    for one in read.leaves:
        state, _ = state.append(one)
    assert state.size == 1_100


def test_limits_and_mistakes_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(**changed: Any) -> object:
        wanted = {"about": [SHA256], "hospital": "", "now_ns": NOW_NS} | changed
        return exporting.export(Answers(), **wanted)

    with pytest.raises(InputError):
        make(about=[""])
    with pytest.raises(NotFound):
        make(about=["nothing of that"])
    with pytest.raises(InputError, match="kind"):
        make(documents=[("poem", "x", b"")])
    with pytest.raises(LimitExceeded):
        make(documents=[("other", "x", b"")] * 201)
    monkeypatch.setattr(exporting, "ENTRIES_MAX", 5)
    with pytest.raises(LimitExceeded, match="narrower"):
        make()
    monkeypatch.setattr(exporting, "LEAVES_MAX", 5)
    with pytest.raises(LimitExceeded, match="covers"):
        make()


def test_a_trust_file_names_who_must_agree() -> None:
    made = exporting.trust_of(Answers(), threshold=2)
    assert [one["name"] for one in made["witnesses"]] == ["wa", "wb"]
    with pytest.raises(InputError):
        exporting.trust_of(Answers(), threshold=3)


def test_the_paper_is_the_same_every_time(pack: dict[str, Any], tmp_path: Path) -> None:
    small = pack | {"entries": pack["entries"][:20]}
    paper = printing.to_pdf(small)
    assert paper.startswith(b"%PDF-")
    assert paper == printing.to_pdf(small)
    found = {"ok": False, "findings": [{"leaf": 3, "what": "<changed>"}]}
    assert printing.to_pdf(small, found=found) != paper
    good = {"ok": True, "vouched": 3, "size": 4, "witnesses": ["a"]}
    strange = small | {
        "documents": [{"kind": "release", "name": "x", "sha256": "", "content": "bm8="}]
    }
    assert printing.to_pdf(strange, found=good).startswith(b"%PDF-")
    path = exporting.write(pack, tmp_path / "evidence")
    assert json.loads(path.read_text("utf-8")) == pack
    assert (path.parent / "verify_evidence.py").exists()
