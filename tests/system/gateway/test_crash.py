"""kill -9 of gateway and hub under load, a hub that is away, a full spool, a full disk.

Goal: nothing acknowledged is lost, nothing comes twice, and no positive answer is not durable.
"""

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from gateway_ward import Sender, Ward, oru, peer_text

SOURCES = [f"127.0.0.{n}" for n in range(2, 8)]
PEERS = "".join(peer_text(f"bed-{n}", [address]) for n, address in enumerate(SOURCES))


class Bed(threading.Thread):
    """Sends its messages one after the other, each again until it is acknowledged."""

    def __init__(self, ward: Ward, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._ward = ward
        self._number = number
        self._stop_sending = stop
        self.acknowledged: list[bytes] = []
        self.refused: list[str] = []

    def run(self) -> None:
        count = 0
        sender: Sender | None = None
        while not self._stop_sending.is_set():
            count += 1
            message = oru(count % 50, value=self._number, at=b"20261103%06d+0100" % count)
            message += b"NTE|%d||%d\r" % (count, self._number)
            while not self._stop_sending.is_set():
                try:
                    sender = sender or Sender(self._ward.port(), source=SOURCES[self._number])
                    code = sender.send(message)
                except OSError:
                    code = None
                if code == "CA":
                    self.acknowledged.append(message)
                    break
                if code is not None:
                    self.refused.append(code)
                if sender is not None:
                    sender.close()
                sender = None
                time.sleep(0.02)
        if sender is not None:
            sender.close()


def drive(ward: Ward, disturb: Callable[[], None]) -> list[bytes]:
    """Let six beds send while something happens; return what was acknowledged."""
    stop = threading.Event()
    beds = [Bed(ward, n, stop) for n in range(len(SOURCES))]
    for bed in beds:
        bed.start()
    disturb()
    stop.set()
    for bed in beds:
        bed.join(30)
        assert bed.refused == []
        assert bed.acknowledged
    return [message for bed in beds for message in bed.acknowledged]


def judge(ward: Ward, acknowledged: list[bytes]) -> None:
    """Compare the ledger with the hub's journal: nothing lost, nothing twice, order kept."""
    ward.wait_journalled()
    ward.stop_gateway()
    stored = ward.journalled()
    twice = [body for body, times in Counter(stored).items() if times > 1]
    assert twice == []
    assert set(acknowledged) - set(stored) == set()
    for number in range(len(SOURCES)):
        mark = b"||%d\r" % number
        own = [int(body.rsplit(b"NTE|", 1)[1].split(b"|")[0]) for body in stored
               if body.endswith(mark)]  # fmt: skip
        assert own == sorted(own)


@pytest.mark.slow
def test_a_gateway_that_is_killed_again_and_again(prepared: Callable[..., Ward]) -> None:
    ward = prepared(peers=PEERS)
    ward.start_hub()
    ward.start_gateway()

    def disturb() -> None:
        for _ in range(5):
            time.sleep(0.8)
            ward.kill_gateway()
            ward.start_gateway()
        time.sleep(0.5)

    judge(ward, drive(ward, disturb))


@pytest.mark.slow
def test_a_hub_that_is_killed_again_and_again(prepared: Callable[..., Ward]) -> None:
    ward = prepared(peers=PEERS)
    ward.start_hub()
    ward.start_gateway()

    def disturb() -> None:
        for _ in range(3):
            time.sleep(0.8)
            assert ward.hub is not None
            ward.hub.kill()
            ward.start_hub()
        time.sleep(0.5)

    judge(ward, drive(ward, disturb))
    assert ward.findings()["hub-away"] >= 1


@pytest.mark.slow
def test_both_killed_while_the_other_works(prepared: Callable[..., Ward]) -> None:
    ward = prepared(peers=PEERS)
    ward.start_hub()
    ward.start_gateway()

    def disturb() -> None:
        time.sleep(0.8)
        assert ward.hub is not None
        ward.hub.kill()
        time.sleep(0.4)
        ward.kill_gateway()
        ward.start_gateway()  # Without a hub: the spool alone acknowledges.
        time.sleep(0.6)
        ward.start_hub()
        time.sleep(0.5)

    judge(ward, drive(ward, disturb))


@pytest.mark.slow
def test_a_full_spool_withholds_the_acknowledgement(prepared: Callable[..., Ward]) -> None:
    """Goal: hub away and spool full: no answer, closed; when the hub is back everything goes on."""
    ward = prepared(peers=PEERS, head="[spool]\nbytes_max = 65536\n")
    ward.start_hub()
    ward.start_gateway()
    assert ward.hub is not None
    ward.hub.kill()
    acknowledged: list[bytes] = []
    with Sender(ward.port(), source=SOURCES[0]) as sender:
        for number in range(1_000):
            message = oru(number) + b"NTE|%d||0\r" % number
            if (code := sender.send(message)) is None:
                break
            assert code == "CA"
            acknowledged.append(message)
    assert 50 < len(acknowledged) < 300
    with Sender(ward.port(), source=SOURCES[1]) as other:
        assert other.send(oru(1)) is None
    assert ward.findings()["withheld"] >= 1
    ward.start_hub()
    ward.wait_journalled()
    time.sleep(2)
    with Sender(ward.port(), source=SOURCES[0]) as sender:
        assert sender.send(message) == "CA"  # What was withheld is taken now.
    acknowledged.append(message)
    ward.stop_gateway()
    assert ward.journalled() == acknowledged


@pytest.mark.root
@pytest.mark.slow
def test_a_full_disk_withholds_the_acknowledgement(prepared: Callable[..., Ward]) -> None:
    """Goal: the file system of the spool is full: nothing positive is said that is not durable."""
    ward = prepared(peers=PEERS)
    spool = ward.data / "spool"
    spool.mkdir(mode=0o700)
    run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(spool))
    try:
        ward.start_hub()
        ward.start_gateway()
        assert ward.hub is not None
        ward.hub.kill()
        acknowledged: list[bytes] = []
        with Sender(ward.port(), source=SOURCES[0]) as sender:
            for number in range(5_000):
                message = oru(number) + b"NTE|%d||0\r" % number
                if (code := sender.send(message)) is None:
                    break
                assert code == "CA"
                acknowledged.append(message)
        assert 100 < len(acknowledged) < 5_000
        ward.kill_gateway()
        ward.start_hub()
        run("mount", "-o", "remount,size=16m", str(spool))
        ward.start_gateway()
        ward.wait_journalled()
        ward.stop_gateway()
        stored = ward.journalled()
        assert stored[: len(acknowledged)] == acknowledged
        assert len(stored) - len(acknowledged) in {0, 1}  # The one that nobody was told about.
    finally:
        if ward.gateway is not None and ward.gateway.poll() is None:
            ward.gateway.kill()
            ward.gateway.wait()
        run("umount", str(spool))


def run(*command: str) -> None:
    subprocess.run(command, check=True)
