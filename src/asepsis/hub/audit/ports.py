"""What the audit log needs from outside."""

from typing import Protocol

from asepsis.core.trust.signer_values import TreeHead


class HeadSigner(Protocol):
    """Signs tree heads; `asepsis.hub.keys.SignerClient` is one."""

    async def sign_tree_head(self, head: TreeHead) -> bytes:
        """Return ES256 over the head's statement, raw, 64 bytes."""
        ...
