"""What a gateway takes up again at its start: the key of its spool, and what is in it."""

import os
from pathlib import Path

from asepsis.core.errors import ConfigError, InputError
from asepsis.core.journal.ports import Journal
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.sealing import KeyEncryptionKey, kek_from_credential, kek_from_passphrase
from asepsis.core.wire.hl7 import Header
from asepsis.core.wire.message_record import decode_group
from asepsis.edge.gateway import rules, spool
from asepsis.edge.gateway.memory import Known, Memory
from asepsis.edge.gateway.settings import Sealing


def recall(journal: Journal, memory: Memory) -> None:
    """Remember what is in the spool: it was taken, whatever the file had time to say."""
    after = 0
    while records := journal.read(Lane.MESSAGE, after=after, records_max=spool.PAGE):
        after = records[-1].position
        for record in records:
            at_s = record.append.received_at_ns // 10**9
            for entry in decode_group(record.append.body):
                peer = entry.findings.peer.name if entry.findings else ""
                mark = memory.mark(peer, _identity(entry.body), entry.body)
                if memory.known(mark, now_s=at_s) is not Known.DUPLICATE:
                    memory.add(mark, now_s=at_s)


def _identity(body: bytes) -> bytes:
    """Return what a stored message is called; b"" for a header too long to be read alone."""
    try:
        return rules.identity_of(Header.salvage(body))
    except InputError:
        return b""


def open_kek(sealing: Sealing, *, folder: Path) -> KeyEncryptionKey:
    """Return the key that seals the spool.

    Raises:
        ConfigError: The credential or passphrase file is absent or unfit.
    """
    if sealing.source == "passphrase":
        if not sealing.passphrase_file:
            raise ConfigError("sealing.passphrase_file is empty")
        return kek_from_passphrase(Path(sealing.passphrase_file), salt_file=folder / "kek.salt")
    found = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not found:
        raise ConfigError(
            "no systemd credentials",
            hint="LoadCredentialEncrypted=asepsis-kek in the unit, or sealing.source",
        )
    return kek_from_credential(Path(found))
