"""From the spool to the hub: everything in its order, many groups at once, again after failures.

One batch is on its way at a time. What arrives meanwhile becomes the next one, so batches grow with
the load, and whatever fails is sent again before anything newer: the order of the spool is the
order at the hub, and its journal never sees a hole in the numbering.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from asepsis.core.errors import AsepsisError, InputError, TrustError, Unavailable
from asepsis.core.wire.message_record import GROUPS_MAX
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.hub_answers import Verdict
from asepsis.edge.gateway.hublink import LinkState
from asepsis.edge.gateway.remotelink import RemoteLink
from asepsis.edge.gateway.spool import MessageSpool, Parcel

BATCH_MESSAGES: Final = 256
BATCH_BYTES: Final = 768 * 1_024
"""A batch ends here; one larger group goes alone."""
QUEUE_RECORDS_MAX: Final = 1_024
QUEUE_BYTES_MAX: Final = 16 << 20
"""What waits in memory; beyond it the spool is read again."""
BEHIND: Final = 512
"""With so many messages waiting, senders are not kept waiting for the hub."""
TICK_S: Final = 0.05
RETRY_S: Final = 1.0
LIFE_S: Final = 0.8
"""The standard lets a gateway be silent for a second (REQ-ALM-020)."""


class Forwarder:
    """Sends what the spool holds.

    Args:
        spool: The spool.
        answer_s: Longest wait for one answer.
        findings: Told of the hub's absence and refusals.

    Resource handling: `run` keeps the links; cancel it to end them.
    """

    def __init__(self, spool: MessageSpool, *, answer_s: float, findings: Findings) -> None:
        self._spool = spool
        self._answer_s = answer_s
        self._findings = findings
        self._loop = asyncio.get_running_loop()
        self._links: Sequence[RemoteLink] = ()
        self._idle: list[RemoteLink] = []
        self._queue: deque[Parcel] = deque()
        self._queue_bytes = 0
        self._queue_messages = 0
        self._flight: list[Parcel] = []
        self._alone = 0  # So many groups go one by one: the hub refused a batch of them.
        self._queued = 0  # Position up to which the queue has been filled.
        self._offered = 0  # Position up to which the spool is known to reach.
        self._left = 0  # Position up to which the hub has everything.
        self._said_s = 0.0  # Event loop time of the last request.
        self._paging = False
        self._reachable = False
        self._refused = False
        spool.on_group = self.offer

    @property
    def current(self) -> bool:
        """Whether the hub answers and little waits: a sender may wait for the hub."""
        behind = self._queue_messages >= BEHIND
        return self._reachable and self._offered == self._queued and not behind

    @property
    def delivered(self) -> int:
        """Position up to which the hub has everything."""
        return self._left

    @property
    def waiting(self) -> int:
        """About how many groups are not yet at the hub."""
        return self._offered - self._left

    async def start(self, links: Sequence[RemoteLink]) -> None:
        """Begin where the hub is durably known to be; call before the listeners open."""
        self._links = links
        self._queued = self._left = await self._spool.waiting_after()
        self._offered = self._queued

    def resume_from(self, end: int) -> None:
        """Take note that the spool reaches to `end` from an earlier start."""
        self._offered = max(self._offered, end)
        self._send()

    async def run(self) -> None:
        """Keep the links and their deadlines until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for link in self._links:
                tasks.create_task(link.run())
            while True:
                await asyncio.sleep(TICK_S)
                now_s = self._loop.time()
                for link in self._links:
                    if link.deadline_s <= now_s:
                        link.abort()
                self._show_life(now_s)

    def _show_life(self, now_s: float) -> None:
        """Ask the hub something if nothing was said for a while: silence would be an alarm."""
        if now_s - self._said_s >= LIFE_S and self._idle:
            link = self._idle.pop(0)
            if link.state is LinkState.IDLE:
                self._said_s = now_s
                link.ask(deadline_s=now_s + self._answer_s)

    def offer(self, parcel: Parcel) -> None:
        """Take a group that has just become durable; in the order of the spool."""
        current = self._queued == self._offered
        self._offered = parcel.position
        room = len(self._queue) < QUEUE_RECORDS_MAX and self._queue_bytes < QUEUE_BYTES_MAX
        if current and room:
            self._push(parcel)
        else:
            # It comes back from the spool without its senders, who must not wait for it.
            parcel.tell_all(None)
        self._send()

    def idle(self, link: RemoteLink) -> None:
        """A link has connected, or has its answer."""
        if link not in self._idle:
            self._idle.append(link)
        if not self._refused:
            self._set_reachable()
        self._send()

    def failed(self, error: AsepsisError) -> None:
        """A link could not connect."""
        if isinstance(error, TrustError):
            self._findings.note(Finding.IDENTITY_REFUSED, code=error.code)
        if all(link.state is LinkState.DOWN for link in self._links):
            self._set_away(error)

    def answered(self, link: RemoteLink, verdict: Verdict) -> None:
        """An answer came for the batch, or the connection ended before."""
        if isinstance(verdict, dict) and not self._holds(verdict):
            verdict = Unavailable("the hub refuses messages that it was not sent")
        if isinstance(verdict, dict):
            self._refused = False
            self._set_reachable()
            self._settle(verdict)
        elif isinstance(verdict, InputError) and len(self._flight) > 1:
            # Nothing says which of them it was.
            self._alone = len(self._flight)
            self._give_back()
        elif isinstance(verdict, InputError):
            (parcel,) = self._flight
            self._settle({(parcel.sequence, index): verdict for index in range(parcel.count)})
        else:
            if link in self._idle:
                self._idle.remove(link)
            self._give_back()
            self._refused = isinstance(verdict, TrustError)
            self.failed(verdict)
        self._send()

    def _holds(self, refused: dict[tuple[int, int], InputError]) -> bool:
        counts = {parcel.sequence: parcel.count for parcel in self._flight}
        return all(0 <= index < counts.get(sequence, 0) for sequence, index in refused)

    def _settle(self, refused: dict[tuple[int, int], InputError]) -> None:
        """Tell the senders; first keep what was refused, for nothing newer goes before that."""
        for parcel in self._flight:
            for entry in parcel.entries() if refused else ():
                error = refused.pop((parcel.sequence, entry.index), None)
                if error is not None:
                    self._keep_refused(parcel, entry.index, error, refused)
                    return
        for parcel in self._flight:
            parcel.tell_all(None)
        self._alone = max(0, self._alone - len(self._flight))
        self._left = self._flight[-1].position
        self._flight = []

    def _keep_refused(
        self,
        parcel: Parcel,
        index: int,
        error: InputError,
        others: dict[tuple[int, int], InputError],
    ) -> None:
        entry = parcel.entries()[index]
        peer = entry.findings.peer.name if entry.findings else ""
        self._findings.note(Finding.REFUSED_BY_HUB, peer, code=error.code)

        def kept(result: object) -> None:
            if isinstance(result, AsepsisError):
                # No space for it: it stays in the spool and is tried again.
                others[parcel.sequence, index] = error
                self._loop.call_later(RETRY_S, self._keep_again, others)
                return
            parcel.tell(index, error)
            self._keep_again(others)

        self._spool.keep_refused(entry, kept)

    def _keep_again(self, refused: dict[tuple[int, int], InputError]) -> None:
        self._settle(refused)
        self._send()

    def _give_back(self) -> None:
        """Put what was on its way back to the head of the queue."""
        for parcel in reversed(self._flight):
            self._queue.appendleft(parcel)
            self._queue_bytes += len(parcel.body)
            self._queue_messages += parcel.count
        self._flight = []

    def _push(self, parcel: Parcel) -> None:
        self._queue.append(parcel)
        self._queue_bytes += len(parcel.body)
        self._queue_messages += parcel.count
        self._queued = parcel.position

    def _send(self) -> None:
        """Send the next batch if nothing is on its way; read on where the queue is empty."""
        if not self._queue and self._queued < self._offered and not self._paging:
            self._paging = True
            self._pager = self._loop.create_task(self._page())
        while self._queue and self._idle and not self._flight:
            link = self._idle.pop()
            if link.state is LinkState.IDLE:
                self._flight = self._next_batch()
                now_s = self._said_s = self._loop.time()
                link.post(self._flight, now_s=now_s, deadline_s=now_s + self._answer_s)

    def _next_batch(self) -> list[Parcel]:
        batch: list[Parcel] = []
        messages = size = 0
        queue, groups_max = self._queue, 1 if self._alone else GROUPS_MAX
        while queue and len(batch) < groups_max:
            parcel = queue[0]
            messages, size = messages + parcel.count, size + len(parcel.body)
            # A new boot's numbers begin only when the old ones are through: epochs only grow.
            other = batch and parcel.epoch != batch[0].epoch
            if batch and (other or messages > BATCH_MESSAGES or size > BATCH_BYTES):
                break
            batch.append(queue.popleft())
            self._queue_bytes -= len(parcel.body)
            self._queue_messages -= parcel.count
        return batch

    async def _page(self) -> None:
        """Read what waits from the spool."""
        end = self._offered
        try:
            found = await self._spool.page(self._queued)
        except AsepsisError as error:
            self._findings.note(Finding.SPOOL, code=error.code)
            await asyncio.sleep(RETRY_S)
            found = None
        self._paging = False
        for parcel in found or ():
            self._push(parcel)
        if found is not None and not found:
            self._queued = max(self._queued, end)  # Nothing is left up to there.
        self._send()

    def _set_reachable(self) -> None:
        if self._reachable:
            return
        self._reachable = True
        self._findings.note(Finding.HUB_BACK, waiting=self.waiting)

    def _set_away(self, error: AsepsisError) -> None:
        if not self._reachable:
            return
        self._reachable = False
        self._findings.note(Finding.HUB_AWAY, code=error.code)
        self.release_waiting()

    def release_waiting(self) -> None:
        """Tell every sender that waits for the hub that its message is durable here."""
        for parcels in (self._flight, self._queue):
            for parcel in parcels:
                parcel.tell_all(None)
