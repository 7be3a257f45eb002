"""A hub of our own that only one run knows, and the plan that a person would write for it."""

import asyncio
import contextlib
import json
import secrets
import uuid
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.trust.signer_values import Expectation, Limits
from asepsis.hub.keys import AdminClient
from asepsis.tools.conformance.plan import ROLES, HubPlan, Identity, Role
from asepsis.tools.simulator import hospital
from asepsis.tools.simulator.processes import Service

START_S: Final = 60.0
LEASE_MS: Final = 2_000
LISTED_PER_MINUTE: Final = 100
SUITES_MAX: Final = LISTED_PER_MINUTE // len(ROLES)
BROKEN_HUB: Final = "asepsis.tools.testing.broken_hub"
_KINDS: Final[dict[Role, str]] = {"gateway": "gateway", "consumer": "consumer"}
_UNSIGNED: Final[frozenset[Role]] = frozenset({"plain", "gateway", "consumer"})


@contextlib.contextmanager
def own_hub(folder: Path, *, breaks: Path | None = None) -> Generator[HubPlan]:
    """Run a hub until the block ends, and yield the plan for it; as `shared_hub`."""
    with shared_hub(folder, breaks=breaks) as (plan,):
        yield plan


@contextlib.contextmanager
def shared_hub(
    folder: Path, *, breaks: Path | None = None, suites: int = 1
) -> Generator[Sequence[HubPlan]]:
    """Run a hub until the block ends, and yield plans that do not know of each other.

    Args:
        folder: Does not exist yet, or is empty.
        breaks: File that names the requirement that the hub breaks on purpose; None runs the
            hub as it is.
        suites: How many plans, each with identities of its own, 1 to `SUITES_MAX`.

    Raises:
        InputError: Too many suites.
        AsepsisError: The hub did not start; its log is in the folder.
    """
    if not 1 <= suites <= SUITES_MAX:
        raise InputError(f"a hub takes 1 to {SUITES_MAX} suites", hint="the signer's limit")
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    names: list[dict[Role, str]] = [{r: _name(r) for r in ROLES} for _ in range(suites)]
    consumers = [each["consumer"] for each in names]
    made = hospital.prepare(folder / "hub", subscriber=consumers[0], more=_settings(consumers))
    settings = str(made.data / "hub.toml")
    arguments = [str(breaks), settings] if breaks else ["hub", "--data", str(made.data)]
    process = Service(
        "hub",
        arguments,
        ready=made.ready,
        log=folder / "hub.log",
        module=BROKEN_HUB if breaks else "asepsis.cli.main",
    )
    try:
        ready = process.start(timeout_s=START_S)
        ports = {name: int(where["port"]) for name, where in ready["listeners"].items()}
        yield [_plan(made, ports, each) for each in names]
    finally:
        process.stop()


def _plan(made: hospital.Prepared, ports: Mapping[str, int], names: dict[Role, str]) -> HubPlan:
    legacy = _eui64()
    tokens = asyncio.run(list_identities(made.admin_socket, names, legacy=legacy))
    identities: dict[Role, Identity] = {
        role: Identity(name=name, token=tokens[role]) for role, name in names.items()
    }
    return HubPlan(
        host=made.host,
        clinical=ports["clinical"],
        enrolment=ports["enrolment"],
        people=ports["people"],
        legacy=legacy,
        identities=identities,
        admin_token_file=str(made.token_file),
    )


def _settings(consumers: Sequence[str]) -> str:
    """Return settings that name further consumers, and all of them as readers of images."""
    lanes = json.dumps(hospital.LANES)
    more = [
        f"[[consumers]]\nname = {json.dumps(name)}\nlanes = {lanes}\nmandatory = {lanes}\n"
        for name in consumers[1:]
    ]
    return "\n".join([f"[images]\nreaders = {json.dumps(consumers)}\n", *more])


async def list_identities(
    admin_socket: Path, names: dict[Role, str], *, legacy: str
) -> dict[Role, str]:
    """List the suite's identities at the signer and return their tokens.

    Args:
        admin_socket: The signer's socket for people.
        names: One for each role.
        legacy: Device on the gateway's declared list.

    Raises:
        AsepsisError: The signer refuses or is away.
    """
    admin = AdminClient(admin_socket)
    tokens: dict[Role, str] = {}
    try:
        await admin.set_limits(Limits(new_per_minute=LISTED_PER_MINUTE))
        for role, name in names.items():
            listed = Expectation(
                id="",
                name=name,
                profile=_KINDS.get(role, "device"),
                model="ADP/1 conformance suite",
                origin_required=role not in _UNSIGNED,
                lease_ms=LEASE_MS,
                declared=(legacy,) if role == "gateway" else (),
            )
            tokens[role] = (await admin.expect(listed)).token
    finally:
        await admin.close()
    return tokens


def _name(role: Role) -> str:
    return f"urn:uuid:{uuid.uuid4()}" if role in _KINDS else _eui64()


def _eui64() -> str:
    """Return a locally administered EUI-64 that no device of a hospital has."""
    return f"urn:dev:mac:02{secrets.token_hex(7)}"
