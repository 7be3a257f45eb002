"""Waiting times between attempts: exponential, capped, with full jitter. Pure.

Source: M. Brooker, "Exponential Backoff and Jitter" (2015): full jitter spreads the reconnects of
a ward after an outage evenly, where fixed steps would bring them back in waves.
"""

import random
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Counts failures in a row and says how long to wait.

    Attributes:
        first_s: Upper bound of the first wait, seconds.
        cap_s: Upper bound of every wait, seconds.
        probe_s: Upper bound of a wait after nobody took the connection, seconds. Looking again
            costs one packet, and the hub must be found within a second of its return; a hub that
            takes connections and then fails is spared by `failed`.
        rng: Source of the jitter.
        failures: Failures since the last success.
    """

    rng: random.Random
    first_s: float = 0.25
    cap_s: float = 10.0
    probe_s: float = 0.4
    failures: int = 0

    def failed(self, *, retry_after_s: float = 0.0) -> float:
        """Count a failure and return the seconds to wait, at least what the hub asked for."""
        bound_s = min(self.cap_s, self.first_s * 2 ** min(self.failures, 30))
        self.failures += 1
        return min(max(self.rng.uniform(0, bound_s), retry_after_s), self.cap_s)

    def unreached(self) -> float:
        """Return the seconds to wait after nobody took the connection; no failure of the hub."""
        bound_s = min(self.probe_s, self.cap_s)
        return self.rng.uniform(bound_s / 2, bound_s)

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0
