"""Makes the record of a stopped hub anew: what `asepsis hub --rebuild-records` does."""

import os
import time
from pathlib import Path

from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.hub.app.records_readers import make_readers
from asepsis.hub.opening import open_journal, open_kek
from asepsis.hub.records.keeper import Keeper
from asepsis.hub.records.kinds import Retention
from asepsis.hub.records.partitions import Partitions
from asepsis.hub.records.process import FOLDER, KEYS
from asepsis.hub.records.rebuild import Outcome, rebuild
from asepsis.hub.settings import Settings


def retention_of(settings: Settings) -> Retention:
    """Return how long the record is kept."""
    kept = settings.records
    return Retention(
        numerics_s=kept.numerics_s, alarms_s=kept.alarms_s, waveforms_s=kept.waveforms_s
    )


def rebuild_records(settings: Settings) -> Outcome:
    """Make the record anew from the journal, as the hub's user.

    Raises:
        ConfigError: A hub runs here, or the data belong to another key.
        TransientError: The disk failed or is full: the old record stays as it was.
    """
    folder = settings.folder() / "hub"
    kek = open_kek(settings.sealing, hub_folder=folder)  # While this may still be root.
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
        os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)

    def keys(path: Path) -> DayKeys:
        return DayKeys(path / KEYS, kek=kek, aead=CryptographyAead())

    def open_keeper(path: Path) -> Keeper:
        return Keeper(
            path,
            cipher=keys(path),
            readers=make_readers(),
            retention=retention_of(settings),
            clock=time.time_ns,
        )

    journal = open_journal(settings, kek, clock=time.time_ns)
    try:
        return rebuild(
            folder / FOLDER,
            journal,
            open_keeper=open_keeper,
            open_old=lambda path: Partitions(path, keys(path)),
        )
    finally:
        journal.close()
