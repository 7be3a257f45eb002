"""Goal: the director key signs what devices are to have, and nothing else."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asepsis.core.errors import InputError
from asepsis.core.trust import answers
from asepsis.core.trust import requests as typed
from asepsis.core.trust.director import Assigned, DirectorSet
from asepsis.core.trust.metadata.directing import director_key, files
from asepsis.core.trust.metadata.judgement import Own, assignments
from asepsis.core.trust.metadata.library import Metadata, Targets
from asepsis.core.trust.metadata.session import Session
from asepsis.tools.testing.releases import FolderSource, Hospital, MemoryStore

DEVICE = "urn:dev:mac:0011223344556677"
HASH = "ab" * 32
ONE = Assigned(path="m5/v-1.img", length=9, sha256=HASH, vendor="acme", authorisation=HASH)


def asked(*targets: Assigned, device: str = DEVICE) -> typed.DirectorRequest:
    return typed.DirectorRequest(
        sets=(DirectorSet(device=device, hardware="m5-rev-b", targets=targets),)
    )


def signed(answer: answers.Answer) -> answers.DirectorSigned:
    assert isinstance(answer, answers.DirectorSigned), answer
    return answer


def test_a_device_believes_what_the_signer_signed(bench: Any, tmp_path: Path) -> None:
    bench.enrol(DEVICE)
    authorities = bench.signer.hub_request(typed.AuthoritiesRequest())
    now = datetime.fromtimestamp(bench.now_ns // 10**9, UTC)
    hospital = Hospital(tmp_path / "hospital", director_key(authorities.director_der), now=now)
    store = MemoryStore({"root.json": hospital.first_root})
    folder = tmp_path / "served"
    folder.mkdir()
    for version in (1, 2):
        answer = signed(bench.signer.hub_request(asked(ONE)))
        for name, content in files(answer, 0).items():
            (folder / name).write_bytes(content)
        session = Session(store=store, source=FolderSource(folder), now=now + timedelta(days=1))
        session.refresh()
        assert (answer.version, session.targets.version) == (version, version)
        own = Own(device=DEVICE, hardware="m5-rev-b", model="m5")
        [(target, said)] = assignments(session.targets, own)
        assert (target.path, target.length, said.vendor) == ("m5/v-1.img", 9, "acme")


def test_the_bytes_that_are_signed_are_tufs_canonical_form(bench: Any) -> None:
    bench.enrol(DEVICE)
    answer = signed(bench.signer.hub_request(asked(ONE)))
    for payload, content in zip(
        (answer.sets[0].targets, answer.sets[0].snapshot, answer.sets[0].timestamp),
        files(answer, 0).values(),
        strict=True,
    ):
        assert Metadata[Any].from_bytes(content).signed_bytes == payload


def test_versions_rise_over_a_restart(bench: Any) -> None:
    bench.enrol(DEVICE)
    assert signed(bench.signer.hub_request(asked())).version == 1
    bench.restart()
    assert signed(bench.signer.hub_request(asked())).version == 2


def test_only_enrolled_and_living_devices_are_spoken_to(bench: Any) -> None:
    for revoke in (False, True):
        if revoke:
            bench.enrol(DEVICE)
            bench.signer.hub_request(typed.RevokeRequest(name=DEVICE, reason="lost"))
        answer = bench.signer.hub_request(asked(ONE))
        assert isinstance(answer, answers.Refused)
        assert answer.code == "ASP-207"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", "m5/../x"),
        ("path", 'm5/"x'),
        ("path", "m5/x/y"),
        ("path", "m5/é"),
        ("path", "/x"),
        ("length", -1),
        ("length", 2**60),
        ("sha256", HASH.upper()),
        ("authorisation", ""),
        ("vendor", "A B"),
        ("emergency", True),
    ],
)
def test_nothing_else_can_be_asked(field: str, value: object) -> None:
    document = msgspec.to_builtins(asked(ONE))
    document["sets"][0]["targets"][0][field] = value
    with pytest.raises(InputError):
        typed.decode_hub_request(msgspec.msgpack.encode(document))


def test_what_is_signed_is_never_a_root_and_never_delegates(bench: Any) -> None:
    bench.enrol(DEVICE)
    one = signed(bench.signer.hub_request(asked(ONE))).sets[0]
    kinds = [json.loads(p)["_type"] for p in (one.targets, one.snapshot, one.timestamp)]
    assert kinds == ["targets", "snapshot", "timestamp"]
    assert Targets.from_dict(json.loads(one.targets)).delegations is None
