"""A gateway and its disk are destroyed under load: what was acknowledged from the hub is there."""

import shutil
import threading
from collections.abc import Callable

from gateway_ward import Sender, Ward, oru, peer_text


def load(ward: Ward, acknowledged: list[bytes], first: int) -> threading.Thread:
    """Send until the gateway is gone; keep what was acknowledged positively."""

    def send() -> None:
        with Sender(ward.port(), source=f"127.0.0.{first}") as sender:
            for number in range(first * 100_000, (first + 1) * 100_000):
                message = oru(number)
                try:
                    if sender.send(message) != "CA":
                        return
                except OSError:
                    return
                acknowledged.append(message)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_nothing_is_lost_that_the_hub_acknowledged(prepared: Callable[..., Ward]) -> None:
    """Goal: with `ack = "hub"` the gateway's disk holds nothing that its senders rely on."""
    ward = prepared(
        peers="".join(peer_text(f"m{n}", [f"127.0.0.{n}"]) for n in (2, 3, 4)),
        head="[spool]\nlinger_s = 0.0\n",
    )
    ward.start_hub()
    ward.start_gateway()
    with Sender(ward.port(), source="127.0.0.2") as sender:
        assert sender.send(oru(1)) == "CA"
    acknowledged: list[bytes] = []
    threads = [load(ward, acknowledged, n) for n in (2, 3, 4)]
    threads[0].join(1.5)
    ward.kill_gateway()
    shutil.rmtree(ward.data)
    for thread in threads:
        thread.join(20)
    assert len(acknowledged) > 50
    assert ward.findings()["at-risk"] == 0
    lost = set(acknowledged) - set(ward.journalled())
    assert lost == set()


def test_what_rests_on_one_disk_is_marked(prepared: Callable[..., Ward]) -> None:
    ward = prepared(peers=peer_text("monitor", ["127.0.0.1"], more='ack = "spool"'))
    ward.start_gateway()
    with Sender(ward.port()) as sender:
        assert sender.send(oru(1)) == "CA"
    assert ward.findings()["at-risk"] == 1
    assert ward.stop_gateway() == 0
