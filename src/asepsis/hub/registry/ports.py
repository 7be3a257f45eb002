"""What the registry needs from outside."""

from collections.abc import Callable
from typing import Protocol

from asepsis.core.trust.answers import Alarm, Issued, SignedTime, Status
from asepsis.core.trust.requests import IssueRequest

OnRevoked = Callable[[str], int]
"""Called on the event loop with a revoked name; ends its streams and returns how many."""
CountConnections = Callable[[str], int]
"""Returns how many connections a name has open now."""


class Signer(Protocol):
    """The key-holding process; `asepsis.hub.keys.SignerClient` is one."""

    async def issue(self, request: IssueRequest) -> Issued:
        """Have a certificate issued; the same request again gets the same certificate."""
        ...

    async def revoke(self, name: str, reason: str) -> tuple[int, ...]:
        """End an identity; again is no error."""
        ...

    async def sign_time(self, nonce: bytes) -> SignedTime:
        """Have the present time signed together with a nonce."""
        ...

    async def ca_chain(self) -> tuple[bytes, ...]:
        """Return the issuing certificate and the root, DER."""
        ...

    async def alarms(self, *, after: int = 0) -> tuple[Alarm, ...]:
        """Return alarms numbered above `after`."""
        ...

    async def status(self) -> Status:
        """Return how the keys are kept and what was done."""
        ...
