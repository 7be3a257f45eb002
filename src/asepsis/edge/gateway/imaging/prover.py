"""Asks the process that judges proofs of users; the parser's side.

One packet carries one identity, one comes back; the parser never sees a key.
"""

import asyncio
import socket
from typing import Final

import msgspec

from asepsis.core.errors import NotAuthenticated, Unavailable
from asepsis.edge.gateway.imaging.association import ProvenUser
from asepsis.edge.gateway.imaging.pdu_values import UserIdentity

PROOF_S: Final = 5.0
"""Longest wait for a judgement, seconds."""
PACKET_BYTES_MAX: Final = 196_608
"""An identity of twice 64 KiB in base64, and its head."""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A proof to judge.

    Attributes:
        number: Repeated in the judgement.
        kind: An `IdentityKind`.
        primary: As in `UserIdentity`.
        secondary: As in `UserIdentity`.
    """

    number: int
    kind: int
    primary: bytes
    secondary: bytes


class Judgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a proof.

    Attributes:
        number: Of the question.
        user: Who it is; empty if the proof does not hold.
        roles: What they may do.
        answer: Server response for the peer.
        reason: Why not.
    """

    number: int
    user: str = ""
    roles: tuple[str, ...] = ()
    answer: bytes = b""
    reason: str = ""


_JUDGEMENT: Final = msgspec.json.Decoder(Judgement)


class RemoteProver:
    """A `Prover` in another process; for one event loop.

    Args:
        judge: Conversation with it; None where no peer is asked for a user.
        lost: Told once when it is gone.
    """

    def __init__(self, judge: socket.socket | None, *, lost: asyncio.Event) -> None:
        self._judge = judge
        self._lost = lost
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[Judgement]] = {}

    def listen(self) -> None:
        """Begin to hear the other process."""
        if self._judge is not None:
            self._judge.setblocking(False)
            asyncio.get_running_loop().add_reader(self._judge.fileno(), self._hear)

    async def prove(self, identity: UserIdentity) -> ProvenUser:
        """Return the user of a proof.

        Raises:
            NotAuthenticated: The proof does not hold.
            Unavailable: Nobody can tell now.
        """
        if self._judge is None:
            raise Unavailable("nobody judges users here")
        self._numbers += 1
        number = self._numbers
        future: asyncio.Future[Judgement] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        question = Question(number, identity.kind, identity.primary, identity.secondary)
        try:
            self._judge.send(msgspec.json.encode(question))
            async with asyncio.timeout(PROOF_S):
                found = await future
        except OSError as error:  # Also TimeoutError, and a full buffer.
            raise Unavailable("nobody judges users now") from error
        finally:
            self._waiting.pop(number, None)
        if not found.user:
            raise NotAuthenticated(found.reason)
        return ProvenUser(found.user, frozenset(found.roles), found.answer)

    def _hear(self) -> None:
        if self._judge is None:
            return
        try:
            data = self._judge.recv(PACKET_BYTES_MAX)
            found = _JUDGEMENT.decode(data)
        except BlockingIOError:
            return
        except (OSError, msgspec.DecodeError):
            asyncio.get_running_loop().remove_reader(self._judge.fileno())
            self._lost.set()
            return
        waiting = self._waiting.get(found.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(found)
