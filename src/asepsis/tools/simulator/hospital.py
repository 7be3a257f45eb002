"""Prepares a hub for a story: as `asepsis hub init` does, with throw-away keys and free ports."""

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.hub.initialise import InitOptions, initialise, numbered_users
from asepsis.hub.keyholder import Separation

HOST: Final = "127.0.0.1"
LISTENERS: Final = ("clinical", "enrolment", "people")
LANES: Final = ("alert", "vitals", "waveform", "late", "message")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a story needs to know of its hub.

    Attributes:
        data: Data folder.
        host: Address of every listener.
        ready: File that appears when the hub listens.
        admin_socket: The signer's socket for people.
        token_file: Token of the first administrator, once the hub has run.
        root: The hospital root, PEM.
        passphrase_file: Throw-away passphrase outside the data folder.
        separation: Who owns hub and keys.
        subscriber: Name of the consumer that the settings name.
        more: Further settings, TOML.
    """

    data: Path
    host: str
    ready: Path
    admin_socket: Path
    token_file: Path
    root: Path
    passphrase_file: Path
    separation: Separation
    subscriber: str
    more: str = ""


def prepare(folder: Path, *, subscriber: str, host: str = HOST, more: str = "") -> Prepared:
    """Make a hospital below `folder` that only this story uses.

    Args:
        folder: Does not exist yet.
        subscriber: `urn:uuid:` name of the subscriber; all its lanes are mandatory.
        host: Address of every listener.
        more: Further settings, TOML.

    Raises:
        ConfigError: The folder cannot be made, or the signer did not make its keys.
    """
    folder.mkdir(mode=0o755, parents=True)
    data = folder / "data"
    # The root key is thrown away: nothing of this hospital outlives the story.
    outcome = initialise(
        InitOptions(data=data, hospital="Demonstration", host_names=(host, "localhost")),
        clock=time.time_ns,
        who=numbered_users(),
    )
    who = outcome.separation
    passphrase = folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_urlsafe(32), encoding="ascii")
    if os.geteuid() == 0:
        os.chown(passphrase, who.hub_uid, who.hub_gid)
    made = Prepared(
        data=data,
        host=host,
        ready=data / "run" / "ready.json",
        admin_socket=data / "run" / "signer-admin.sock",
        token_file=data / "hub" / "admin.token",
        root=data / "ca" / "root.crt",
        passphrase_file=passphrase,
        separation=who,
        subscriber=subscriber,
        more=more,
    )
    keep_ports(made, dict.fromkeys(LISTENERS, 0))
    return made


def keep_ports(made: Prepared, ports: Mapping[str, int]) -> None:
    """Let every later start of the hub use the ports of its first one, as devices expect."""
    (made.data / "hub.toml").write_text(_settings(made, ports), encoding="utf-8")


def _settings(made: Prepared, ports: Mapping[str, int]) -> str:
    lanes, host = json.dumps(LANES), json.dumps(made.host)
    places = "\n".join(f"{name} = {{ host = {host}, port = {ports[name]} }}" for name in LISTENERS)
    return f"""\
names = [{host}, "localhost"]

[listeners]
{places}

[sealing]
source = "passphrase"
passphrase_file = {json.dumps(str(made.passphrase_file))}

{made.more}
[[consumers]]
name = {json.dumps(made.subscriber)}
lanes = {lanes}
mandatory = {lanes}
"""
