"""What the suite has to be told about a hub: addresses, and tokens for identities of its own.

The suite brings its own devices; a person lists them at the hub as any other and gives their
one-time tokens in a file. Nothing else of the hub is known to it.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from asepsis.core.errors import ConfigError

FILE_BYTES_MAX: Final = 65_536
Role = Literal["signing", "other", "plain", "gateway", "consumer", "victim", "spare"]
ROLES: Final[dict[Role, str]] = {
    "signing": "a device with an origin key",
    "other": "a second device with an origin key",
    "plain": "a device without an origin key, with a certificate of its own",
    "gateway": "a gateway whose declared list holds the legacy device and nothing else",
    "consumer": "a consumer that may read every lane, watch every device and read images",
    "victim": "a device that the suite revokes",
    "spare": "a device whose token the suite tries to abuse",
}
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One identity of the suite.

    Attributes:
        name: Its name, as it was listed.
        token: Its one-time token (REQ-ID-007).
    """

    name: Name
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class HubPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the suite knows of a hub.

    Attributes:
        host: Name or address of the hub, as in its certificate.
        clinical: Port of the clinical listener.
        enrolment: Port of the listener for enrolment and time.
        people: Port of the people listener.
        legacy: A device without certificate on the gateway's declared list.
        identities: One for each role.
        admin_token_file: Token of a person who may revoke; without it what needs a revocation is
            not shown.
    """

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    clinical: Port
    enrolment: Port
    people: Port
    legacy: Name
    identities: dict[Role, Identity]
    admin_token_file: str = ""


def read_plan(path: Path) -> HubPlan:
    """Read a plan; a relative token file counts from the plan's folder.

    Raises:
        ConfigError: Absent, too long, no TOML, an unknown key or role, or a role without identity.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: longer than {FILE_BYTES_MAX} bytes")
        plan = msgspec.convert(tomllib.loads(content.decode()), HubPlan)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    missing: list[Role] = [role for role in ROLES if role not in plan.identities]
    if missing:
        raise ConfigError(
            f"{path}: no identity for {', '.join(missing)}",
            hint="; ".join(f"{role}: {ROLES[role]}" for role in missing),
        )
    if not plan.admin_token_file:
        return plan
    where = str((path.parent / plan.admin_token_file).resolve())
    return msgspec.structs.replace(plan, admin_token_file=where)
