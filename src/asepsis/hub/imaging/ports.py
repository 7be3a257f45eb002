"""What imaging needs from outside; `hub/app/imaging.py` fills it."""

from collections.abc import Mapping
from typing import Protocol

from asepsis.core.journal.ports import AccountState, Append, Receipt
from asepsis.core.model.lanes import Account


class ImageJournal(Protocol):
    """The durable log; `AsyncJournal` is one."""

    async def append(self, record: Append) -> Receipt:
        """Return once the record is durable."""
        ...

    async def account(self, account: Account, producer: str, epoch: int) -> AccountState:
        """Return what was received on an account."""
        ...


class Deliveries(Protocol):
    """What became of an instance on its way to the archives; the hub's delivery fills it."""

    async def accepted(self, instance_key: str) -> bool:
        """Whether every archive that an instance is meant for has accepted it.

        Where commitment is asked of an archive, accepted means committed. False as long as one has
        not, and also if nothing is known: nothing is purged then.

        Args:
            instance_key: SOP Instance UID.
        """
        ...


class Sources(Protocol):
    """What people declared of gateways."""

    def check_images(self, gateway: str, device: str) -> None:
        """Let a gateway bring images of a device, or raise.

        Raises:
            NotPermitted: Its declaration does not name images.
        """
        ...


class ImageAudit(Protocol):
    """The audit log."""

    async def note(
        self, *, actor: str, action: str, subject: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        """Write one entry durably."""
        ...


class Readers(Protocol):
    """Which machines may read images; people go by their roles."""

    def may_read(self, name: str) -> bool:
        """Whether an operator or administrator named this machine as a reader of images."""
        ...
