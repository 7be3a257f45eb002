"""From the spool to the hub: in order per sender, several senders at once, again after failures.

Only the oldest `WINDOW` messages are on their way, and of each sender one. So order per sender
holds whatever fails, and the hub never sees more holes in the numbering than it tolerates.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from asepsis.core.errors import AsepsisError, InputError, TrustError
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.hublink import HubLink, LinkState
from asepsis.edge.gateway.spool import MessageSpool, Parcel

WINDOW: Final = 48
"""Unanswered messages from the oldest on; the hub's journal tolerates 64 holes per account."""
QUEUE_RECORDS_MAX: Final = 1_024
QUEUE_BYTES_MAX: Final = 16 << 20
"""What waits in memory; beyond it the spool is read again."""
BEHIND: Final = 512
"""With so many waiting, senders are not kept waiting for the hub."""
TICK_S: Final = 0.05
PAGE_RETRY_S: Final = 1.0


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
        self._links: Sequence[HubLink] = ()
        self._idle: list[HubLink] = []
        self._queue: deque[Parcel] = deque()
        self._queue_bytes = 0
        self._window: dict[int, Parcel] = {}
        self._lines: dict[str, deque[Parcel]] = {}
        self._busy: set[str] = set()
        self._ready: deque[str] = deque()
        self._queued = 0  # Position up to which the queue has been filled.
        self._offered = 0  # Position up to which the spool is known to reach.
        self._left = 0  # Position of the last message that entered the window.
        self._paging = False
        self._reachable = False
        self._refused = False

    @property
    def current(self) -> bool:
        """Whether the hub answers and little waits: a sender may wait for the hub."""
        return self._reachable and self._offered == self._queued and len(self._queue) < BEHIND

    @property
    def delivered(self) -> int:
        """Position up to which the hub has everything."""
        return next(iter(self._window)) - 1 if self._window else self._left

    @property
    def waiting(self) -> int:
        """About how many messages are not yet at the hub."""
        return self._offered - self.delivered

    async def start(self, links: Sequence[HubLink]) -> None:
        """Begin where the hub is durably known to be; call before the listeners open."""
        self._links = links
        self._queued = self._left = await self._spool.waiting_after()
        self._offered = self._queued

    def resume_from(self, end: int) -> None:
        """Take note that the spool reaches to `end` from an earlier start."""
        self._offered = max(self._offered, end)
        self._fill()

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

    def offer(self, parcel: Parcel) -> None:
        """Take a message that has just become durable; in the order of the spool."""
        current = self._queued == self._offered
        self._offered = parcel.position
        room = len(self._queue) < QUEUE_RECORDS_MAX and self._queue_bytes < QUEUE_BYTES_MAX
        if current and room:
            self._push(parcel)
        elif parcel.told is not None:
            # It comes back from the spool without its sender, who must not wait for it.
            told, parcel.told = parcel.told, None
            told(None)
        self._fill()

    def idle(self, link: HubLink) -> None:
        """A link has connected, or has its answer."""
        if link not in self._idle:
            self._idle.append(link)
        if not self._refused:
            self._set_reachable()
        self._dispatch()

    def failed(self, error: AsepsisError) -> None:
        """A link could not connect."""
        if isinstance(error, TrustError):
            self._findings.note(Finding.IDENTITY_REFUSED, code=error.code)
        if all(link.state is LinkState.DOWN for link in self._links):
            self._set_away(error)

    def answered(self, link: HubLink, parcel: Parcel, error: AsepsisError | None) -> None:
        """An answer came for a message, or the connection ended before."""
        peer = parcel.peer
        self._busy.discard(peer)
        if error is None:
            self._refused = False
            self._set_reachable()
            self._done(parcel, None)
        elif isinstance(error, InputError):
            self._keep_refused(parcel, error)
        else:
            if link in self._idle:
                self._idle.remove(link)
            self._refused = isinstance(error, TrustError)
            self.failed(error)
        if self._lines.get(peer) and peer not in self._busy and peer not in self._ready:
            self._ready.append(peer)
        self._dispatch()

    def _done(self, parcel: Parcel, error: InputError | None) -> None:
        line = self._lines[parcel.peer]
        line.popleft()
        if not line:
            del self._lines[parcel.peer]
        del self._window[parcel.position]
        if parcel.told is not None:
            parcel.told(error)
        self._fill()

    def _keep_refused(self, parcel: Parcel, error: InputError) -> None:
        self._findings.note(Finding.REFUSED_BY_HUB, parcel.peer, code=error.code)
        self._busy.add(parcel.peer)  # Nothing of this sender goes on before it is kept.

        def kept(result: object) -> None:
            self._busy.discard(parcel.peer)
            if isinstance(result, AsepsisError):
                # No space for it: it stays in the spool and is tried again with its sender.
                self._loop.call_later(1.0, self._retry, parcel.peer)
                return
            self._done(parcel, error)
            self._retry(parcel.peer)

        self._spool.keep_refused(parcel, kept)

    def _retry(self, peer: str) -> None:
        if self._lines.get(peer) and peer not in self._busy and peer not in self._ready:
            self._ready.append(peer)
        self._dispatch()

    def _push(self, parcel: Parcel) -> None:
        self._queue.append(parcel)
        self._queue_bytes += len(parcel.body)
        self._queued = parcel.position

    def _fill(self) -> None:
        """Move what fits into the window and send it."""
        queue, window = self._queue, self._window
        while queue and len(window) < WINDOW and self._same_epoch(queue[0]):
            parcel = queue.popleft()
            self._queue_bytes -= len(parcel.body)
            window[parcel.position] = parcel
            self._left = parcel.position
            line = self._lines.get(parcel.peer)
            if line is None:
                line = self._lines[parcel.peer] = deque()
            line.append(parcel)
            if parcel.peer not in self._busy and len(line) == 1:
                self._ready.append(parcel.peer)
        if not queue and self._queued < self._offered and not self._paging:
            self._paging = True
            self._pager = self._loop.create_task(self._page())
        self._dispatch()

    def _same_epoch(self, parcel: Parcel) -> bool:
        """Let a new boot's numbers begin only when the old ones are through: epochs only grow."""
        return not self._window or next(iter(self._window.values())).epoch == parcel.epoch

    async def _page(self) -> None:
        """Read what waits from the spool."""
        end = self._offered
        try:
            found = await self._spool.page(self._queued)
        except AsepsisError as error:
            self._findings.note(Finding.SPOOL, code=error.code)
            await asyncio.sleep(PAGE_RETRY_S)
            found = None
        self._paging = False
        for parcel in found or ():
            self._push(parcel)
        if found is not None and not found:
            self._queued = max(self._queued, end)  # Nothing is left up to there.
        self._fill()

    def _dispatch(self) -> None:
        deadline_s = self._loop.time() + self._answer_s
        while self._ready and self._idle:
            link = self._idle.pop()
            if link.state is not LinkState.IDLE:
                continue
            peer = self._ready.popleft()
            line = self._lines.get(peer)
            if not line or peer in self._busy:
                self._idle.append(link)
                continue
            self._busy.add(peer)
            link.post(line[0], deadline_s=deadline_s)

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
        for parcels in (self._window.values(), self._queue):
            for parcel in parcels:
                if parcel.told is not None:
                    told, parcel.told = parcel.told, None
                    told(None)
