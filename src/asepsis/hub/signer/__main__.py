"""`python -m asepsis.hub.signer [serve|init|install] --data DIR`: the key-holding process.

* `init` reads its configuration as JSON from stdin, makes the four keys, and writes the issuing
  key's public half (SubjectPublicKeyInfo, DER, hex) to stdout.
* `install` reads the certificates that the root made for it, as JSON, from stdin.
* `serve` answers on the two sockets until it is told to stop.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
from cryptography.hazmat.primitives import serialization

from asepsis.core.errors import AsepsisError, ConfigError
from asepsis.core.trust import requests as typed
from asepsis.core.trust.sealing import write_durably
from asepsis.hub.signer import confine, entries, keystore, sealed, server
from asepsis.hub.signer.desk import Desk, Setting
from asepsis.hub.signer.log import SignerLog
from asepsis.hub.signer.options import Options, read_options
from asepsis.hub.signer.rehearsal import rehearse
from asepsis.hub.signer.service import Signer
from asepsis.hub.signer.token import TokenKeyStore

LOG_NAME: Final = "signer.log"
CONFIG_NAME: Final = "config.json"
STDIN_BYTES_MAX: Final = 65_536
EXIT_CONFIG: Final = 5
_CONFIG: Final = msgspec.json.Decoder(keystore.SignerConfig)
_INSTALL: Final = msgspec.json.Decoder(entries.Installed | entries.Reissued)
_Read = TypeVar("_Read")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action; returns the exit code (0 done, 5 an operator's mistake)."""
    try:
        options = read_options(arguments, environment=os.environ)
        rehearse()
        {"init": init, "install": install, "serve": serve}[options.action](options)
    except AsepsisError as error:
        sys.stderr.write(f"asepsis signer: {error.code} {error} {error.hint}\n")
        return EXIT_CONFIG
    return 0


def init(options: Options) -> None:
    """Make the keys."""
    config = _decode(_read_stdin(), _CONFIG)
    _drop(options)
    if config.pkcs11 is not None:
        keys: keystore.KeyStore = TokenKeyStore.create(config.pkcs11)
    else:
        secret = options.secret or sealed.local_secret(options.folder)
        keys = keystore.SealedKeyStore.create(options.folder, secret=secret)
    write_durably(options.folder / CONFIG_NAME, msgspec.json.encode(config))
    spki = (
        keys.key(keystore.Role.ISSUING)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    sys.stdout.write(spki.hex() + "\n")


def install(options: Options) -> None:
    """Take the certificates that the root made."""
    entry = _decode(_read_stdin(), _INSTALL)
    log = _open_log(options)
    config = _config(options)
    _drop(options)
    signer = _signer(options, config=config, log=log, network="")
    signer.install(entry)
    signer.close()


def serve(options: Options) -> None:
    """Answer on the two sockets."""
    log = _open_log(options)
    config = _config(options)
    run = options.data / "run"
    hub_listener = server.bind(run / server.HUB_SOCKET, owner=options.hub)
    admin_listener = server.bind(run / server.ADMIN_SOCKET, owner=options.own)
    network = "no network" if confine.leave_network() else "network not taken away"
    _drop(options)
    signer = _signer(options, config=config, log=log, network=network)
    doors = (
        server.Door(
            listener=hub_listener,
            uids=frozenset({0, options.hub.uid}),
            answer=lambda body: signer.hub_request(typed.decode_hub_request(body)),
        ),
        server.Door(
            listener=admin_listener,
            uids=frozenset({0, options.own.uid}) | options.operator_uids,
            answer=lambda body: signer.admin_request(typed.decode_admin_request(body)),
        ),
    )
    asyncio.run(_serve(server.Server(signer), doors, options))
    signer.close()


async def _serve(serving: server.Server, doors: Sequence[server.Door], options: Options) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.stop)
    if options.lifeline:
        loop.add_reader(0, _read_lifeline, serving)
    await serving.run(doors, ready=lambda: _say_ready(options))


def _read_lifeline(serving: server.Server) -> None:
    if not os.read(0, 64):
        asyncio.get_running_loop().remove_reader(0)
        serving.stop()


def _say_ready(options: Options) -> None:
    if options.ready_fd is not None:
        os.write(options.ready_fd, b"ready\n")
        os.close(options.ready_fd)


def _drop(options: Options) -> None:
    if options.changes_user:
        confine.become(options.own)
    confine.harden()


def _open_log(options: Options) -> SignerLog:
    owner = (options.own.uid, options.own.gid) if options.changes_user else None
    return SignerLog(options.folder / LOG_NAME, owner=owner)


def _config(options: Options) -> keystore.SignerConfig:
    try:
        content = (options.folder / CONFIG_NAME).read_bytes()
        return _CONFIG.decode(content)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{options.folder} holds no signer", hint="run `asepsis hub init`"
        ) from error


def _signer(
    options: Options, *, config: keystore.SignerConfig, log: SignerLog, network: str
) -> Signer:
    if config.pkcs11 is not None:
        keys: keystore.KeyStore = TokenKeyStore.open(config.pkcs11)
    else:
        secret = options.secret or sealed.local_secret(options.folder)
        keys = keystore.SealedKeyStore.open(options.folder, secret=secret)
    users = (
        f"keys held by user {options.own.uid}, apart from the hub's user {options.hub.uid}"
        if options.separated
        else "keys not separated here: hub and signer run as one user"
    )
    setting = Setting(
        separated=options.separated,
        separation=f"{users}; {network}",
        time_uncertainty_ms=config.time_uncertainty_ms,
    )
    return Signer(Desk(keys, log=log, setting=setting, clock=time.time_ns, random_bytes=os.urandom))


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(STDIN_BYTES_MAX)


def _decode(content: bytes, decoder: "msgspec.json.Decoder[_Read]") -> _Read:
    try:
        return decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError("standard input is not what this action takes") from error


if __name__ == "__main__":
    sys.exit(main())
