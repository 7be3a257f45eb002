"""One token bucket per peer. Pure but for its own state; the clock comes in with every call."""

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Bucket:
    """How fast a peer is read.

    Attributes:
        per_s: Messages a second for long.
        burst: Messages at once after a pause.
    """

    per_s: float
    burst: int
    _tokens: float = field(default=-1.0)
    _at_s: float = 0.0

    def wait_s(self, now_s: float) -> float:
        """Take one message if there is room; return 0, or the seconds after which to ask again.

        Args:
            now_s: Monotonic seconds.
        """
        if self._tokens < 0:
            self._tokens = float(self.burst)
        else:
            self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.per_s
