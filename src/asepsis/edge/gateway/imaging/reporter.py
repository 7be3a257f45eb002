"""Tells modalities an archive's word about a commitment: the half without key, identity or files.

Always over an association of its own: a modality has most often ended the one that it asked on.

Source: DICOM PS3.4 section J.3.3; PS3.7 section 10.1.1 and D.3.3.4 (role selection).
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from asepsis.core.errors import AsepsisError, FramingError, NotPermitted, Unavailable
from asepsis.core.wire import relay
from asepsis.core.wire.relay import DataSet
from asepsis.edge.gateway.imaging import commitments, datasets, dimse
from asepsis.edge.gateway.imaging.answering import FRAME_BYTES_MAX, HEAD
from asepsis.edge.gateway.imaging.dimse import Status, Tag
from asepsis.edge.gateway.imaging.requestor import Remote, Requestor, associate
from asepsis.edge.gateway.imaging.services import COMMITMENT, SYNTAXES

TELL: Final = 1
TOLD: Final = 2
FAILED: Final = 3
"""Frames: what is to be told, and what became of it."""


class Telling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a modality is to be told.

    Attributes:
        title: Its AE title.
        document: Event information.
        charset: Its character set.
    """

    title: str
    document: DataSet
    charset: str = ""


_TELLING: Final = msgspec.json.Decoder(Telling)


class Reporter:
    """Serves one conversation: one report at a time.

    Args:
        reader: Frames of the other half.
        writer: Where outcomes go.
        modalities: AE title -> how it is reached.

    Resource handling: `run` returns when the other half is gone.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        modalities: Mapping[str, Remote],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._modalities = modalities

    async def run(self) -> None:
        """Tell what comes until nothing comes any more."""
        while True:
            try:
                kind, length = HEAD.unpack(await self._reader.readexactly(HEAD.size))
                if kind != TELL or length > FRAME_BYTES_MAX:
                    return
                body = await self._reader.readexactly(length)
            except (asyncio.IncompleteReadError, OSError):
                return
            outcome, text = await self._outcome(body)
            data = text.encode()[:400]
            self._writer.write(HEAD.pack(outcome, len(data)) + data)
            await self._writer.drain()

    async def _outcome(self, body: bytes) -> tuple[int, str]:
        try:
            await self._tell(_TELLING.decode(body))
        except (AsepsisError, TimeoutError, msgspec.MsgspecError) as error:
            return FAILED, str(error) or type(error).__name__
        return TOLD, ""

    async def _tell(self, telling: Telling) -> None:
        """Tell one modality.

        Raises:
            AsepsisError: It is not declared, cannot be reached, or does not take it.
            TimeoutError: It is too slow.
        """
        remote = self._modalities.get(telling.title)
        if remote is None:
            raise NotPermitted(f"{telling.title} is no declared destination")
        pairs = [(COMMITMENT, syntax) for syntax in SYNTAXES]
        user = await associate(remote, pairs, providing=(COMMITMENT,))
        try:
            status = await _report(user, telling, remote.answer_s)
        except BaseException:
            await user.abort()
            raise
        await user.release()
        if status != Status.SUCCESS:
            raise Unavailable(f"{telling.title} answers {status:04X}")


async def _report(user: Requestor, telling: Telling, answer_s: float) -> int:
    for syntax in SYNTAXES:
        context = user.accepted.get((COMMITMENT, syntax))
        if context is not None:
            break
    else:
        raise NotPermitted(f"{telling.title} takes no word about commitments")
    message = user.next_message()
    data = datasets.encode(telling.document, telling.charset, syntax)
    head = commitments.event_request(message, telling.document)
    await user.stream.send_message(context, head, command=True)
    await user.stream.send_message(context, data, command=False)
    answer = await user.answer(context, within_s=answer_s)
    if answer.number(Tag.FIELD) != dimse.Field.N_EVENT_REPORT_RSP:
        raise FramingError("an answer to something else")
    return answer.number(Tag.STATUS)


def encode(telling: Telling) -> bytes:
    """Return a telling as the other half writes it."""
    return relay.encode(telling)
