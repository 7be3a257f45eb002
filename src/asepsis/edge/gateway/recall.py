"""What the HL7 family takes up again at its start: what is in its spool."""

from asepsis.core.errors import InputError
from asepsis.core.journal.ports import Journal
from asepsis.core.model.lanes import Lane
from asepsis.core.wire.hl7 import Header
from asepsis.core.wire.message_record import decode_group
from asepsis.edge.gateway import rules, spool
from asepsis.edge.gateway.memory import Known, Memory


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
