"""The hub as a process: `python -m asepsis.hub.run <hub.toml>`.

Writes `run/ready.json` when it listens, logs JSON lines to standard error, ends on SIGTERM after a
drain, and exits with 5 for an operator's mistake.
"""

import asyncio
import contextlib
import encodings
import gc
import importlib
import logging
import os
import pkgutil
import signal
import sys
import time
from pathlib import Path
from typing import Final

import structlog

from asepsis.core.errors import AsepsisError
from asepsis.core.trust.metadata.rehearsal import rehearse_metadata
from asepsis.core.trust.sealing import KeyEncryptionKey
from asepsis.hub.app.hub import Hub
from asepsis.hub.app.imaging import start_inspection
from asepsis.hub.app.records import start_keeping
from asepsis.hub.console.render import load_templates
from asepsis.hub.exchange.intake import Clocks
from asepsis.hub.imaging.inspector import Inspection
from asepsis.hub.keyholder import (
    Separation,
    SignerProcess,
    SignerSettings,
    separation,
    start_signer,
)
from asepsis.hub.opening import SALT_FILE, open_kek
from asepsis.hub.records.client import Keeping
from asepsis.hub.settings import LogSettings, Settings, read_settings
from asepsis.hub.store.migrate import load_scripts
from asepsis.hub.web.litestar_mount import rehearse
from asepsis.hub.web.server import new_loop

LAZY_MODULES: Final = (
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "uvicorn.lifespan.off",
)
SWITCH_INTERVAL_S: Final = 0.0005
"""How long a journal thread may keep the event loop waiting for the interpreter's lock. Every
signature verification gives the lock up; with Python's 5 ms the loop waited 623 microseconds a
record on one core, with this 402."""
GC_THRESHOLDS: Final = (50_000, 20, 100)
"""Requests make no cycles worth hunting for every 700 allocations, which is Python's default."""
EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 5
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logs(settings: LogSettings) -> None:
    """Write JSON lines to standard error.

    Messages and fields are our own words, names of machines and numbers; bodies, texts and names
    of people are never given to the log, so there is nothing to filter out.
    """
    level = _LEVELS[settings.level]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr)


async def run_hub(
    settings: Settings,
    kek: KeyEncryptionKey,
    keeping: Keeping | None = None,
    inspection: Inspection | None = None,
) -> int:
    """Run a hub until SIGTERM or SIGINT; returns the exit code.

    Args:
        settings: Its configuration.
        kek: Key above all keys, see `open_kek`.
        keeping: The process that keeps the record, if it was started already.
        inspection: The same of the process that inspects images.

    Raises:
        ConfigError: An operator's mistake.
        Unavailable: State, signer or an address cannot be reached.
    """
    clocks = Clocks(wall=time.time_ns, monotonic=time.monotonic_ns)
    hub = Hub(settings, clocks=clocks, kek=kek, keeping=keeping, inspection=inspection)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    try:
        await hub.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        waits = [asyncio.ensure_future(told.wait()), asyncio.ensure_future(hub.failed.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    finally:
        await hub.stop()
    return EXIT_FAILED if hub.failed.is_set() else 0


def load_lazy_modules() -> None:
    """Import what libraries import on first use: the hub's user may not read our interpreter."""
    for name in LAZY_MODULES:
        importlib.import_module(name)
    for module in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(ImportError):  # Codecs of other operating systems.
            importlib.import_module(f"encodings.{module.name}")
    load_scripts()
    load_templates()
    rehearse()
    rehearse_metadata()


def give_up_root(who: Separation, *, data: Path) -> None:
    """Become the hub's user for ever; `run` stays root's, but this user may add files to it.

    The sticky bit keeps the hub from replacing the signer's sockets.
    """
    run, salt = data / "run", data / "hub" / SALT_FILE
    if salt.exists():
        os.chown(salt, who.hub_uid, who.hub_gid)
    os.chown(run, 0, who.hub_gid)
    run.chmod(0o1775)
    os.setgroups([])
    os.setresgid(who.hub_gid, who.hub_gid, who.hub_gid)
    os.setresuid(who.hub_uid, who.hub_uid, who.hub_uid)


def start(settings: Settings) -> int:
    """Start the signer if it is ours to start, give up root, and run the hub; returns exit code."""
    signer: SignerProcess | None = None
    keeping: Keeping | None = None
    inspection: Inspection | None = None
    # While this is still root: its source may be a file that the hub's user cannot read.
    data = settings.folder()
    kek = open_kek(settings.sealing, hub_folder=data / "hub")
    if settings.signer.start:
        secret = Path(settings.signer.secret_file) if settings.signer.secret_file else None
        signer = start_signer(
            SignerSettings(
                data=data, secret_file=secret, operator_uids=settings.signer.operator_uids
            )
        )
        if os.geteuid() == 0:
            load_lazy_modules()
            keeping = start_keeping(separation(data))
            inspection = start_inspection(separation(data))
            give_up_root(separation(data), data=data)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(run_hub(settings, kek, keeping, inspection))
    finally:
        if signer is not None:
            signer.stop()


def main(arguments: list[str] | None = None) -> int:
    """Run the hub of a configuration file; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        settings = read_settings(Path(given[0] if given else "hub.toml"))
        configure_logs(settings.log)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        return start(settings)
    except AsepsisError as error:
        sys.stderr.write(f"asepsis hub: {error.code} {error} {error.hint}\n")
        return EXIT_CONFIG


if __name__ == "__main__":
    sys.exit(main())
