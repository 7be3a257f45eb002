"""What people should know about a sender: counted always, logged at most once a minute each.

Findings name peers and numbers; never a byte of a message.
"""

import json
import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final

EVERY_NS: Final = 60 * 10**9
"""The same finding about the same peer is logged at most so often."""
KEYS_MAX: Final = 65_536
_log: Final = logging.getLogger("asepsis.edge.gateway")


class Finding(StrEnum):
    """What can be found; `docs/reference/gateway.md` says what each means and asks for."""

    CLEARTEXT = "cleartext"
    UNKNOWN_SENDER = "unknown-sender"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    FRAMING = "framing"
    OVERSIZED = "oversized"
    SLOW = "slow"
    IDLE = "idle"
    RATE = "rate"
    MALFORMED = "malformed"
    REFUSED = "refused"
    REFUSED_BY_HUB = "refused-by-hub"
    IDENTITY_REFUSED = "identity-refused"
    ID_REUSED = "id-reused"
    DUPLICATE = "duplicate"
    DOUBTFUL_TIME = "doubtful-time"
    WITHHELD = "withheld"
    SPOOL = "spool"
    HUB_AWAY = "hub-away"
    HUB_BACK = "hub-back"
    DEVICE_LINKED = "device-linked"
    DEVICE_LOST = "device-lost"
    LINE_ENDED = "line-ended"
    NO_TIME = "no-time"
    FAMILY_ENDED = "family-ended"
    BROKEN = "broken"
    AT_RISK = "at-risk"
    EVIDENCE = "evidence-differs"
    PAIR = "pair"
    PARTNER_AWAY = "partner-away"
    ADDRESS = "address"
    AUDIT_LOG = "audit-log"


class Findings:
    """Counts findings and logs them as JSON lines.

    Args:
        monotonic: Monotonic clock, nanoseconds.
    """

    def __init__(self, monotonic: Callable[[], int]) -> None:
        self._monotonic = monotonic
        self._last: dict[tuple[StrEnum, str], tuple[int, int]] = {}
        self.counts: dict[tuple[StrEnum, str], int] = {}

    def note(self, finding: StrEnum, peer: str = "", **details: object) -> None:
        """Count a finding and log it unless the same one was logged within a minute.

        Args:
            finding: What was found.
            peer: Name of the peer, or the address of somebody who is none.
            details: Numbers and our own words; no content of messages.
        """
        key = (finding, peer)
        if key not in self.counts and len(self.counts) >= KEYS_MAX:
            key = (finding, "")  # Addresses can be many; the kind is still counted.
        count = self.counts[key] = self.counts.get(key, 0) + 1
        now_ns = self._monotonic()
        last_ns, told = self._last.get(key, (-EVERY_NS, 0))
        if now_ns - last_ns >= EVERY_NS:
            self._last[key] = (now_ns, count)
            line = {"finding": finding.value, "peer": peer, "times": count - told, **details}
            _log.warning(json.dumps(line))
