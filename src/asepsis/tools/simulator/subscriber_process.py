"""A subscriber as a process: pulls the lanes it is registered for, commits, and keeps a ledger.

`python -m asepsis.tools.simulator.subscriber_process ORDER`; stops when standard input ends.
"""

import base64
import json
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Final

from asepsis.core.errors import TransientError
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.trust import tls
from asepsis.core.wire import message_record
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.simulator import ledger
from asepsis.tools.simulator.joining import join
from asepsis.tools.simulator.orders import Order, carry_out
from asepsis.tools.simulator.telling import say

LANES: Final = (Lane.ALERT, Lane.VITALS, Lane.WAVEFORM, Lane.LATE, Lane.MESSAGE)
RECORDS: Final = 200
WAIT_S: Final = 1
TIMEOUT_S: Final = 10.0
LAST_ATTEMPTS: Final = 10
HUB_PRODUCER: Final = "hub:"


class Subscriber:
    """Pulls every lane in a thread of its own.

    Args:
        order: What to be and where to go.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = IdentityFolder(Path(order.folder))
        self._ledger = ledger.LedgerWriter(Path(order.ledger))
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._to_drop = order.drop
        self._complete = True
        self._kept: dict[Lane, int] = dict.fromkeys(LANES, 0)

    def run(self) -> bool:
        """Enrol, then pull until standard input ends and every lane is empty.

        Returns:
            Whether every lane was pulled to its end.
        """
        join(self._folder, self._order, rng=Random(self._order.seed))  # noqa: S311 - jitter
        say("enrolled")
        threads = [threading.Thread(target=self._follow, args=(lane,)) for lane in LANES]
        for thread in threads:
            thread.start()
        for _ in sys.stdin:
            pass
        self._stopping.set()
        for thread in threads:
            thread.join()
        self._ledger.close()
        return self._complete

    def _follow(self, lane: Lane) -> None:
        _, hospital, root_der = self._folder.load()
        context = tls.client_context(root_der=root_der, identity=self._folder.identity)
        hub = HubConnection(hospital.clinical, context, now_ns=time.time_ns, timeout_s=TIMEOUT_S)
        backoff = Backoff(rng=Random(self._order.seed), cap_s=1.0)  # noqa: S311 - jitter
        while True:
            try:
                found = self._pull(hub, lane)
                backoff.succeeded()
            except TransientError:
                hub.close()
                if self._stopping.is_set() and backoff.failures > LAST_ATTEMPTS:
                    say("failed", text=f"the hub is away; lane {lane} may hold more")
                    self._complete = False
                    return
                time.sleep(backoff.failed())
                continue
            if self._stopping.is_set() and not found:
                hub.close()
                return

    def _pull(self, hub: HubConnection, lane: Lane) -> int:
        path = f"/consumers/{self._order.name}"
        answer = hub.request("GET", f"{path}/batch?lane={lane}&max={RECORDS}&wait_s={WAIT_S}")
        records = json.loads(answer.body)["records"]
        if not records:
            return 0
        for record in records:
            # A commit whose answer was lost brings records again; their position tells.
            fresh = record["position"] > self._kept[lane]
            if fresh and not self._leaves_out(record["producer"]):
                self._got(record)
        # Kept first, committed second: a crash between the two repeats records, never loses one.
        self._kept[lane] = max(self._kept[lane], records[-1]["position"])
        body = json.dumps({"lane": lane, "position": records[-1]["position"]}).encode()
        hub.request(
            "POST", f"{path}/commit", body=body, headers={"Content-Type": "application/json"}
        )
        return len(records)

    def _leaves_out(self, producer: str) -> bool:
        return producer.startswith(HUB_PRODUCER) or producer in self._order.others

    def _got(self, record: dict[str, str | int]) -> None:
        with self._lock:
            for key in _keys(record):
                if self._to_drop:
                    self._to_drop -= 1
                else:
                    self._ledger.write(ledger.GOT, key)


def _keys(record: dict[str, str | int]) -> list[ledger.Key]:
    """Return what a record is called in the ledgers; a group of messages has many names."""
    body = base64.b64decode(str(record["body"]))
    if record["account"] == Account.MESSAGE:
        entries = message_record.decode(str(record["kind"]), body)
        return [ledger.message_key(entry.body) for entry in entries]
    return [
        ledger.key_of(
            str(record["account"]),
            str(record["producer"]),
            int(record["epoch"]),
            int(record["sequence"]),
            body,
        )
    ]


def main() -> int:
    """Run one subscriber; 1 if it could not go on."""
    return carry_out(
        lambda order: Subscriber(order).run(), description="A subscriber that keeps a ledger."
    )


if __name__ == "__main__":
    sys.exit(main())
