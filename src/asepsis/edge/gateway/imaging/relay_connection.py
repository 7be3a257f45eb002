"""The channel to the other gateway as both of them use it: one kept connection to the hub.

Source: docs/reference/imaging-relay.md.
"""

from typing import Final
from urllib.parse import quote

from asepsis.core.errors import FramingError
from asepsis.core.wire import relay
from asepsis.core.wire.relay import Asked, Page
from asepsis.edge.uplink.connection import HubConnection

_NOTHING: Final = 204


class RelayConnection(HubConnection):
    """Asks and answers; arguments, attributes and resources as `HubConnection`."""

    def ask(self, asked: Asked) -> None:
        """Ask; of a durable kind the question is durable on return. Raises as `request`."""
        body, headers = relay.encode(asked), {"Content-Type": relay.JSON}
        self.request("POST", "/relay/questions", body=body, headers=headers)

    def answer(self, question: str, *, after: int, wait_s: int) -> tuple[str, bytes] | None:
        """Return media type and body of the page after a number, or None if there is none yet.

        Raises:
            FramingError: The hub's answer is no page.
            AsepsisError: As `request`; InputError when the question is lost.
        """
        path = f"/relay/questions/{question}/answers?after={after}&wait={wait_s}"
        found = self.request("GET", path)
        if found.status == _NOTHING:
            return None
        if found.content_type not in {relay.JSON, relay.BYTES}:
            raise FramingError("the hub's answer is no page")
        return found.content_type, found.body

    def end(self, question: str) -> None:
        """Say that nobody waits any more. Raises as `request`."""
        self.request("DELETE", f"/relay/questions/{question}")

    def report(self, *, skip: int, wait_s: int) -> tuple[Asked, Page] | None:
        """Return a commitment and its answer that its modality did not hear, or None for none.

        Args:
            skip: Older ones that are left out.
            wait_s: How long the hub may wait for one, seconds.

        Raises:
            InputError: The hub's answer is none.
            AsepsisError: As `request`.
        """
        found = self.request("GET", f"/relay/reports?skip={skip}&wait={wait_s}")
        return None if found.status == _NOTHING else relay.decode_report(found.body)

    def reported(self, question: str) -> None:
        """Say that its modality has heard of a commitment. Raises as `request`."""
        self.request("POST", f"/relay/reports/{question}")

    def take(self, archive: str, *, wait_s: int) -> Asked | None:
        """Return the next question of an archive, or None within the wait.

        Raises:
            InputError: No question.
            AsepsisError: As `request`.
        """
        found = self.request("GET", f"{_archive(archive)}?wait={wait_s}")
        return None if found.status == _NOTHING else relay.decode_asked(found.body)

    def add(self, archive: str, question: str, *, number: int, page: Page | bytes) -> None:
        """Send one page of an answer; the same again is nothing new.

        Raises:
            BackPressure: Who asked does not fetch; send it again.
            InputError: Nobody waits for it any more.
            AsepsisError: As `request`.
        """
        media = relay.BYTES if isinstance(page, bytes) else relay.JSON
        body = page if isinstance(page, bytes) else relay.encode(page)
        path = f"{_archive(archive)}/{question}/answers?number={number}"
        self.request("POST", path, body=body, headers={"Content-Type": media})


def _archive(name: str) -> str:
    return f"/relay/archives/{quote(name, safe='')}"
