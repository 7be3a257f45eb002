"""A success means durable: hub away or refusing, kill -9 of each process, full spool, full disk."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest
from dicom_ward import CLEAR, DicomWard, data_set, instance, peer_text, send

from asepsis.core.errors import AsepsisError

SPOOL = CLEAR + 'ack = "spool"\n'


def arrived(ward: DicomWard) -> list[bytes]:
    assert ward.server is not None
    return [data_set(file) for file in ward.server.stored]


def wait_for(condition: Callable[[], object], *, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


def restart_server(ward: DicomWard) -> None:
    """Start the server anew; it remembers what it had."""
    assert ward.server is not None
    stored = ward.server.stored
    ward.start_server().stored = stored


def test_the_hub_refuses_one_of_twenty(prepared: Callable[..., DicomWard]) -> None:
    """Goal: the modality gets 19 successes and 1 failure, and nothing stays here."""
    ward = prepared()
    ward.start_server().refuse = {7}
    ward.start_gateway()
    instances = [instance(number) for number in range(20)]
    statuses = send(ward, instances)
    assert statuses == [0] * 6 + [0xA900] + [0] * 13
    assert arrived(ward) == [data for at, (_, data) in enumerate(instances) if at != 6]
    assert ward.spooled() == 0
    assert ward.findings()["refused-by-hub"] == 1


def test_hub_away_and_back(prepared: Callable[..., DicomWard]) -> None:
    """Goal: without a hub the spool answers, sealed; with it everything arrives, and goes."""
    ward = prepared(head="wait_s = 0.3")
    ward.start_gateway()
    instances = [instance(number, 600_000) for number in range(4)]
    assert send(ward, instances) == [0] * 4
    assert ward.spooled() == 4
    assert all(b"DOE^JANE" not in path.read_bytes() for path in ward.images.iterdir()
               if path.is_file())  # fmt: skip
    ward.start_server()
    wait_for(lambda: ward.spooled() == 0)
    assert sorted(arrived(ward)) == sorted(data for _, data in instances)
    found = ward.findings()
    assert found["spooled"] >= 1
    assert found["hub-back"] == 1
    assert send(ward, [instance(9)]) == [0]
    wait_for(lambda: ward.spooled() == 0)  # A hub that takes longer than 0.3 s gets it later.


def test_a_hub_that_is_slow_or_busy(prepared: Callable[..., DicomWard]) -> None:
    ward = prepared(head="wait_s = 0.3")
    server = ward.start_server()
    ward.start_gateway()
    server.delay_s = 1.0
    assert send(ward, [instance(1)]) == [0]
    assert ward.findings()["spooled"] >= 1
    server.delay_s, server.status = 0.0, 503
    assert send(ward, [instance(2)]) == [0]
    server.status = 200
    wait_for(lambda: ward.spooled() == 0)
    assert {len(server.stored)} <= {2, 3}  # The slow one may come twice; the hub knows it again.


def test_what_was_acknowledged_here_and_refused_there_is_kept(
    prepared: Callable[..., DicomWard],
) -> None:
    ward = prepared(peers=peer_text(more=SPOOL))
    ward.start_server().refuse = {1}
    ward.start_gateway()
    assert send(ward, [instance(1), instance(2)]) == [0, 0]
    wait_for(lambda: ward.spooled() == 0)
    assert len(list(ward.images.glob("refused/*.record"))) == 1
    assert len(list(ward.images.glob("refused/*.image"))) == 1


def test_a_group_that_is_refused_as_a_whole_is_sent_one_by_one(
    prepared: Callable[..., DicomWard],
) -> None:
    """Goal: an answer that names nobody refuses nobody: one bad instance costs no other."""
    ward = prepared(peers=peer_text(more=SPOOL), head="connections = 1")
    ward.start_gateway()
    instances = [instance(number) for number in range(3)]
    assert send(ward, instances) == [0] * 3
    server = ward.start_server()
    server.refuse = {1}
    wait_for(lambda: ward.spooled() == 0)
    assert sorted(arrived(ward)) == sorted(data for _, data in instances)
    assert server.requests == 1 + len(instances)
    assert list(ward.images.glob("refused/*.record")) == []


def test_a_full_spool_is_out_of_resources(prepared: Callable[..., DicomWard]) -> None:
    ward = prepared(peers=peer_text(more=SPOOL), head="spool_bytes_max = 1048576")
    ward.start_gateway()
    statuses = send(ward, [instance(number, 300_000) for number in range(6)])
    assert statuses == [0, 0, 0, 0xA700, 0xA700, 0xA700]
    assert ward.spooled() == 3
    ward.start_server()
    wait_for(lambda: ward.spooled() == 0)
    assert send(ward, [instance(9, 300_000)]) == [0]


@pytest.mark.root
def test_a_full_disk_is_out_of_resources(prepared: Callable[..., DicomWard]) -> None:
    ward = prepared(peers=peer_text(more=SPOOL))
    ward.images.mkdir(mode=0o700, parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(ward.images)], check=True)
    try:
        ward.start_gateway()
        instances = [instance(number, 700_000) for number in range(6)]
        statuses = send(ward, instances)
        kept = statuses.count(0)
        assert 2 <= kept <= 4
        assert set(statuses[kept:]) == {0xA700}
        ward.start_server()
        wait_for(lambda: ward.spooled() == 0)
        # In which of two connections one comes first is nobody's promise.
        assert sorted(arrived(ward)) == sorted(data for _, data in instances[:kept])
    finally:
        ward.kill_gateway()
        wait_for(lambda: not subprocess.run(["umount", str(ward.images)], check=False).returncode)


class Modality(threading.Thread):
    """Stores instances until it is told to stop, and remembers which were a success."""

    def __init__(self, ward: DicomWard, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._ward = ward
        self._told = stop
        self.acknowledged: list[bytes] = []

    def run(self) -> None:
        number = 0
        while not self._told.is_set():
            batch = [instance(number + at, 20_000) for at in range(5)]
            number += 5
            results: list[int] = []
            try:
                send(self._ward, batch, results=results)
            except (AsepsisError, TimeoutError):
                time.sleep(0.05)
            for status, (_, data) in zip(results, batch, strict=False):
                assert status == 0
                self.acknowledged.append(data)


@pytest.mark.slow
@pytest.mark.parametrize("ack", ["hub", "spool"])
def test_kill_of_parser_keeper_and_hub(prepared: Callable[..., DicomWard], ack: str) -> None:
    """Goal: whatever dies whenever: what was a success arrives."""
    ward = prepared(peers=peer_text(more=CLEAR + f'ack = "{ack}"\n'), head="wait_s = 0.5")
    ward.start_server()
    ward.start_gateway()
    stop = threading.Event()
    modality = Modality(ward, stop)
    modality.start()
    for round_number in range(3):
        time.sleep(0.5)
        assert ward.gateway is not None
        if round_number == 1:
            os.kill(ward.keeper(), signal.SIGKILL)
            assert ward.gateway.wait(20) != 0
        else:
            ward.kill_gateway()
        assert ward.server is not None
        ward.server.close()
        ward.start_gateway()
        time.sleep(0.3)
        restart_server(ward)
    time.sleep(0.5)
    stop.set()
    modality.join(30)
    wait_for(lambda: ward.spooled() == 0)
    assert modality.acknowledged
    assert set(modality.acknowledged) - set(arrived(ward)) == set()


def test_sigterm_ends_all_processes_and_keeps_the_spool(
    prepared: Callable[..., DicomWard],
) -> None:
    ward = prepared(peers=peer_text(more=SPOOL))
    ward.start_gateway()
    assert send(ward, [instance(1)]) == [0]
    assert ward.gateway is not None
    keeper = ward.keeper()
    ward.gateway.terminate()
    assert ward.gateway.wait(20) == 0
    wait_for(lambda: not os.path.exists(f"/proc/{keeper}"))  # noqa: PTH110 - a process
    assert ward.spooled() == 1
