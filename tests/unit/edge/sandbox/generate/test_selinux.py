"""The SELinux policy: compiled by the real compiler, its claims proved, its rules within rights."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asepsis
from asepsis.core.errors import ConfigError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import (
    Compartment,
    Confirmation,
    Criticality,
    Document,
    Endpoint,
    Line,
    Manifest,
    Request,
    Resources,
    Ring,
    Rung,
    Update,
    Zone,
)
from asepsis.core.model.manifest_claims import CLAIMS, breaches
from asepsis.core.model.manifest_rules import problems
from asepsis.core.model.manifest_toml import read_manifest
from asepsis.core.model.syscall_class import SyscallClass
from asepsis.edge.sandbox.generate import secilc
from asepsis.edge.sandbox.generate.selinux import policy
from asepsis.edge.sandbox.generate.selinux_types import compartments

SHIPPED = read_manifest(
    (Path(asepsis.__file__).parent / "edge/device/monitor.toml").read_bytes()
).manifest
REQUEST = Request(
    name="limit",
    text="x",
    to="vitals",
    per_minute_max=6,
    confirmed_by=Confirmation.BEDSIDE,
)
ASKING = replace(
    SHIPPED,
    compartments={
        **SHIPPED.compartments,
        "network": replace(SHIPPED.compartments["network"], requests=("limit",)),
    },
    requests={"limit": REQUEST},
)
MAGIC = bytes.fromhex("8cff7cf9")
NAMES = ("vitals", "origin", "network", "timekeeper", "display", "gateway")


def _compiler_missing() -> bool:
    missing = secilc.program() is None
    assert not (missing and os.environ.get("CI")), "CI must have secilc"
    return missing


compiled = pytest.mark.skipif(_compiler_missing(), reason="needs the package secilc")


@compiled
def test_the_policy_of_the_shipped_manifest_compiles_small() -> None:
    binary = secilc.compile_policy(policy(SHIPPED))
    assert binary.startswith(MAGIC)
    assert len(binary) < 65_536


ADDED = {
    "(allow network_t ring__vitals_t (file (write)))": "CLAIM-RING-001",
    "(allow origin_t ring__vitals_t (file (setattr)))": "CLAIM-RING-001",
    "(allow network_t wake__signed_t (unix_stream_socket (write)))": "CLAIM-RING-001",
    "(allow vitals_t ring__signed_t (file (read)))": "CLAIM-DIODE-001",
    "(allow vitals_t endpoint__clinical_t (tcp_socket (append)))": "CLAIM-DIODE-001",
    "(allow vitals_t control__network_t (unix_stream_socket (read)))": "CLAIM-DIODE-001",
    "(allow vitals_t wake__signed_t (unix_stream_socket (read)))": "CLAIM-DIODE-002",
    "(allow network_t ring__signed_t (file (lock)))": "CLAIM-DIODE-002",
    "(allow network_t line__time_t (unix_stream_socket (write)))": "CLAIM-LINE-001",
    "(allow network_t document__origin_key_t (file (read)))": "CLAIM-KEY-001",
    "(allow timekeeper_t folder__network_t (file (read)))": "CLAIM-KEY-001",
    "(allow network_t vitals_t (process (ptrace)))": "CLAIM-APART-001",
    "(allow network_t origin_t (process (sigkill)))": "CLAIM-APART-001",
    "(allow network_t supervisor_t (process (setsched)))": "CLAIM-APART-001",
    "(allow network_t origin_t (unix_stream_socket (connectto)))": "CLAIM-APART-001",
    "(allow network_t self (process (execmem)))": "CLAIM-CODE-001",
    "(allow network_t code__t (file (execute_no_trans)))": "CLAIM-CODE-001",
    "(allow network_t code__t (file (write)))": "CLAIM-CODE-001",
    "(allow network_t folder__network_t (file (execute)))": "CLAIM-CODE-001",
    "(allow network_t self (tcp_socket (create)))": "CLAIM-NET-001",
    "(allow network_t endpoint__clinical_t (tcp_socket (connect)))": "CLAIM-NET-001",
    "(allow network_t self (udp_socket (create)))": "CLAIM-NET-001",
    "(allow timekeeper_t self (packet_socket (create)))": "CLAIM-NET-001",
    "(allow origin_t endpoint__clinical_t (tcp_socket (write)))": "CLAIM-NET-001",
    "(allow timekeeper_t request__limit_t (unix_stream_socket (write)))": "CLAIM-REQUEST-001",
    "(allow network_t other__t (security (load_policy)))": "CLAIM-UPDATE-001",
    "(allow network_t self (capability (sys_module)))": "CLAIM-UPDATE-001",
    "(allow compartment other__t (filesystem (mount)))": "CLAIM-UPDATE-001",
}


@compiled
@pytest.mark.parametrize("rule", ADDED)
def test_a_rule_that_breaks_a_claim_fails_the_build_with_its_id(rule: str) -> None:
    with pytest.raises(ConfigError, match=f"^{ADDED[rule]}: ") as caught:
        secilc.compile_policy(policy(ASKING, added=[rule]))
    assert caught.value.hint == CLAIMS[ADDED[rule]].sentence


def test_every_claim_that_policy_can_state_is_proved_above() -> None:
    # Who is served first is the scheduler's business, not that of an access policy.
    assert set(ADDED.values()) == CLAIMS.keys() - {"CLAIM-FIRST-001"}
    assert {never.claim for never in policy(ASKING).claims} == set(ADDED.values())


@compiled
def test_a_rule_within_the_claims_compiles_and_another_mistake_is_told() -> None:
    secilc.compile_policy(policy(SHIPPED, added=["(allow origin_t self (process (getpgid)))"]))
    with pytest.raises(ConfigError, match="secilc refuses"):
        secilc.compile_policy(policy(SHIPPED, added=["(allow nobody_t self (process (fork)))"]))


def test_the_lines_of_claims_are_their_rules() -> None:
    found = policy(ASKING)
    lines = found.text.splitlines()
    assert len(found.claim_lines) == len(found.claims)
    for number, claim in found.claim_lines.items():
        assert lines[number - 1].startswith("(neverallow ")
        assert claim.replace("-", "_") in lines[number - 1]


ROOMY = Resources(
    memory_mib=64,
    files=32,
    file_mib=1,
    tasks=4,
    cpu_percent=10,
    nice=5,
    oom_score=500,
    silence_s=5.0,
    restart_s_max=5.0,
)
FIRST = replace(ROOMY, nice=-5, oom_score=-900, realtime=50, lock_memory=True)
IDLE = (ClinicalState.IDLE,)


def _compartment(draw: st.DrawFn, name: str, place: int, rings: list[str]) -> Compartment:
    way = draw(st.sampled_from(["inside", "broker", "listening"])) if place else "inside"
    folder = way != "inside" and draw(st.booleans())
    return Compartment(
        name=name,
        text="x",
        criticality=Criticality.EXPENDABLE if place else Criticality.CRITICAL,
        code=f"device.{name}",
        user=1_000 + place,
        syscalls={
            "inside": SyscallClass.CORE,
            "broker": SyscallClass.NETWORK,
            "listening": SyscallClass.LISTENING,
        }[way],
        zone=Zone.BROKER if way == "broker" else Zone.NONE,
        reads=tuple(r for r in rings if place and draw(st.booleans())),
        writes=(f"of-{name}",) if draw(st.booleans()) else (),
        folder=folder,
        keeps=(f"{name}-key",) if folder else (),
        ports=(8_000 + place,) if way == "listening" else (),
        endpoints=("hub",) if way == "broker" else (),
        channels=2 if way == "broker" else 0,
        self_tests=("alive",),
        update=Update(rung=Rung.RESTART, when=IDLE),
        resources=ROOMY if place else FIRST,
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Draw a manifest without a contradiction; most of them keep every claim."""
    made: dict[str, Compartment] = {}
    rings: list[str] = []
    for place, name in enumerate(NAMES[: draw(st.integers(1, len(NAMES)))]):
        made[name] = _compartment(draw, name, place, rings)
        rings += made[name].writes
    lines: dict[str, Line] = {}
    if len(made) > 2 and draw(st.booleans()):
        speaker, hearer = draw(st.permutations(list(made)[1:]))[:2]
        lines["word"] = Line(name="word", text="x", bytes_max=8)
        made[speaker] = replace(made[speaker], says=("word",))
        made[hearer] = replace(made[hearer], hears=("word",))
    secret = draw(st.sampled_from(list(made)))
    made[secret] = replace(made[secret], handed=("key",))
    asks = [name for name in made if name != "vitals" and draw(st.booleans())]
    for name in asks:
        made[name] = replace(made[name], requests=("limit",))
    brokered = any(c.endpoints for c in made.values())
    return Manifest(
        device="drawn",
        version=1,
        text="x",
        compartments=made,
        rings={name: Ring(name=name, text="x") for name in rings},
        lines=lines,
        documents={"key": Document(name="key", text="x", secret=draw(st.booleans()))},
        endpoints={"hub": Endpoint(name="hub", text="x")} if brokered else {},
        requests={"limit": REQUEST} if asks else {},
    )


@compiled
@given(manifests())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_manifest_that_keeps_its_claims_compiles(manifest: Manifest) -> None:
    assert list(problems(manifest)) == []
    if not breaches(manifest):
        assert secilc.compile_policy(policy(manifest)).startswith(MAGIC)


_ALLOW = re.compile(r"^\(allow (\w+) (\w+) \((\w+) \(([\w ]+)\)\)\)$", re.MULTILINE)


def _named_by(c: Compartment, target: str, permissions: set[str]) -> bool:
    """Judge a rule by the manifest alone, without the generator's tables."""
    kind, _, rest = target.removesuffix("_t").partition("__")
    name = rest.replace("_", "-")
    sends, takes = bool(permissions & {"write", "append"}), "read" in permissions
    may = {
        "ring": (name in c.writes, name in (*c.writes, *c.reads)),
        "wake": (name in c.writes, name in c.reads),
        "woken": (name in c.reads,) * 2,
        "line": (name in c.says, name in c.hears),
        "document": (False, name in c.handed),
        "endpoint": (name in c.endpoints,) * 2,
        "request": (name in c.requests,) * 2,
        "port": (name in map(str, c.ports),) * 2,
        "folder": (c.folder and name == c.name,) * 2,
        "control": (name == c.name,) * 2,
    }[kind]
    return (not sends or may[0]) and (not takes or may[1]) and any(may)


@given(manifests())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_policy_grants_a_right_that_the_manifest_does_not_name(manifest: Manifest) -> None:
    by_type = dict(zip(compartments(manifest), manifest.compartments.values(), strict=True))
    everybody = {"self", "supervisor_t", "code__t", "folders__t", "log__t"}
    seen = 0
    for source, target, _, words in _ALLOW.findall(policy(manifest).text):
        if source == "compartment":
            assert target in everybody
            assert not set(words.split()) & {"write", "create", "unlink"}
            assert "append" not in words.split() or (target == "log__t" and "read" not in words)
        elif source in by_type:
            seen += 1
            assert _named_by(by_type[source], target, set(words.split())), (source, target)
    assert seen >= len(by_type)
