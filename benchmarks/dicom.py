"""dicom: modality -> gateway -> mutual TLS -> hub -> gateway -> storescp, 0.5 MB an instance.

DCMTK's storescu sends the same files to both sides, over the same number of associations: first to
Orthanc in clear text, which stores and answers, then into the chain. An instance counts for us when
storescp at the far end has it as a file; at the end every data set is compared with what was sent.
What each process used of the processors for one instance is printed before the figure.

With `--big-mib` one multi-frame object of that size goes from a modality to the hub, and the
largest memory of each process of the gateway and of the hub is printed.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from _processors import Processors
from _report import report

TESTS = Path(__file__).parents[1] / "tests" / "system" / "imaging_gateway"
sys.path.insert(0, str(TESTS))

from dicom_ward import (  # noqa: E402
    CT,
    ENVIRONMENT,
    EXPLICIT,
    data_set,
    free_port,
    instance,
    make_ward,
    opened,
)
from test_through import HUB, ROUTES, Chain, Pacs  # noqa: E402

from asepsis.edge.gateway.imaging import part10  # noqa: E402

INSTANCE_BYTES = 500_000
MEMORY_MIB_MAX = 300
MIB = 1 << 20


def make_files(folder: Path, count: int) -> None:
    """Write instances as a modality would hold them."""
    folder.mkdir(parents=True)
    for number in range(count):
        uid, data = instance(number, INSTANCE_BYTES)
        head = part10.encode_head(
            part10.Meta(sop_class=CT, sop_instance=uid, transfer_syntax=EXPLICIT)
        )
        (folder / f"{number:05}.dcm").write_bytes(head + data)


def send_all(folders: list[Path], port: int, *, called: str) -> None:
    """Send every folder over an association of its own, at once; fail if one is not a success."""
    senders = [
        subprocess.Popen(
            ["storescu", "-nh", "-v", "+sd", "-aet", "CT1", "-aec", called, "127.0.0.1",
             str(port), str(folder)],
            env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )
        for folder in folders
    ]  # fmt: skip
    for sender, folder in zip(senders, folders, strict=True):
        said, _ = sender.communicate(timeout=300)
        good = said.count("Received Store Response (Success)")
        assert good == len(list(folder.iterdir())), said[-2_000:]


@contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, int]]:
    """Run Orthanc in clear text; gives its DICOM port and its pid."""
    folder.mkdir()
    port, http = free_port(), free_port()
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomPort": port,
        "HttpPort": http,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        ["Orthanc", str(folder / "orthanc.json")], env=ENVIRONMENT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while subprocess.run(
            ["echoscu", "127.0.0.1", str(port)], env=ENVIRONMENT, check=False, capture_output=True
        ).returncode:
            assert time.monotonic() < deadline, "Orthanc does not answer"
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(20)


def make_chain(folder: Path) -> Chain:
    """Start everything between modality and archive."""
    port = free_port()
    ward = make_ward(
        folder / "ward",
        hub=HUB,
        registered=True,
        more=f'[[archives]]\ndestination = "pacs"\nhost = "127.0.0.1"\nport = {port}\n'
        'called = "PACS"\ncleartext = true\n',
    )
    (ward.hospital.data / "routes.toml").write_text(ROUTES)
    chain = Chain(ward, Pacs(folder / "pacs", port))
    ward.hub = ward.hospital.start_hub()
    ward.start_gateway()
    chain.add_destination()
    chain.pacs.start()
    chain.start_archives()
    return chain


def pids(chain: Chain) -> dict[str, int]:
    """Return the first process of each program of the chain."""
    assert chain.ward.gateway is not None
    assert chain.ward.hub is not None
    assert chain.archives is not None
    assert chain.pacs.process is not None
    return {
        "gateway": chain.ward.gateway.pid,
        "hub": chain.ward.hub.process.pid,
        "archives": chain.archives.pid,
        "storescp": chain.pacs.process.pid,
    }


def through(chain: Chain, folders: list[Path]) -> tuple[float, float]:
    """Send everything; return the seconds to the last success and to the last file."""
    count = sum(len(list(folder.iterdir())) for folder in folders)
    begin = time.perf_counter()
    send_all(folders, chain.ward.port(), called="GATE")
    answered_s = time.perf_counter() - begin
    while len(list(chain.pacs.folder.iterdir())) < count:
        assert time.perf_counter() - begin < 300, chain.log
        time.sleep(0.01)
    arrived_s = time.perf_counter() - begin
    time.sleep(0.5)
    sent = {data_set(path.read_bytes()) for folder in folders for path in folder.iterdir()}
    assert {data_set(file) for file in chain.pacs.files()} == sent, "changed on the way"
    return answered_s, arrived_s


class Memory(threading.Thread):
    """Watches the resident memory of process families until it is told to stop."""

    def __init__(self, families: dict[str, int]) -> None:
        super().__init__(daemon=True)
        self._families = families
        self._told = threading.Event()
        self.most_mib: dict[str, int] = {}

    def run(self) -> None:
        """Look ten times a second."""
        while not self._told.wait(0.1):
            for name, pid in self._families.items():
                processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
                for number, process in enumerate(processes):
                    key = f"{name}-{number}"
                    try:
                        found = process.memory_info().rss // MIB
                    except psutil.NoSuchProcess:
                        continue
                    self.most_mib[key] = max(found, self.most_mib.get(key, 0))

    def stop(self) -> dict[str, int]:
        """Return the most of each process, MiB."""
        self._told.set()
        self.join()
        return self.most_mib


def big(chain: Chain, mib: int) -> tuple[float, dict[str, int]]:
    """Store one object; return MB/s and the memory of each process."""
    _, start = instance(999_999, 0)
    pixels = bytes(MIB)

    async def pieces() -> AsyncIterator[bytes]:
        yield start[:-4] + (mib * MIB).to_bytes(4, "little")
        for _ in range(mib):
            yield pixels

    async def store() -> tuple[int, str]:
        user = await opened(chain.ward, (CT, EXPLICIT))
        try:
            return await user.store((CT, EXPLICIT), "1.2.826.0.1.3680043.9.9999.1.999999", pieces())
        finally:
            await user.release()

    assert chain.ward.gateway is not None
    assert chain.ward.hub is not None
    watch = Memory({"gateway": chain.ward.gateway.pid, "hub": chain.ward.hub.process.pid})
    watch.start()
    begin = time.perf_counter()
    assert asyncio.run(store())[0] == 0
    wait_for(lambda: not list(chain.ward.images.glob("*.image")))
    return mib * MIB / (time.perf_counter() - begin) / 1e6, watch.stop()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=120, help="of each association")
    parser.add_argument("--associations", type=int, default=3)
    parser.add_argument("--big-mib", type=int, default=0, help="also one object of so many MiB")
    given = parser.parse_args()
    count = given.instances * given.associations
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = [folder / "files" / str(number) for number in range(given.associations)]
        for number, one in enumerate(folders):
            make_files(one, given.instances)
            for path in one.iterdir():  # A UID of its own for each.
                path.write_bytes(path.read_bytes().replace(b"9999.1.", b"9999.%d." % (4 + number)))
        with orthanc(folder / "orthanc") as (port, pid):
            processors = Processors({"orthanc": pid})
            begin = time.perf_counter()
            send_all(folders, port, called="ORTHANC")
            peer = count / (time.perf_counter() - begin)
            print("ms of processor an instance:", processors.used_ms(each=count))
        with closing(make_chain(folder)) as chain:
            processors = Processors(pids(chain))
            answered_s, arrived_s = through(chain, folders)
            print("ms of processor an instance:", processors.used_ms(each=count))
            memory: dict[str, int] = {}
            if given.big_mib:
                chain.kill_archives()
                speed, memory = big(chain, given.big_mib)
                print(f"{given.big_mib} MiB object: {speed:.0f} MB/s, memory MiB {memory}")
        met = report(
            "dicom",
            count / arrived_s,
            "instances/s",
            peer="Orthanc, C-STORE in clear text",
            peer_value=peer,
            target=peer,
            answered_per_s=round(count / answered_s, 1),
            mb_per_s=round(count * INSTANCE_BYTES / arrived_s / 1e6, 1),
            memory_mib_max=max(memory.values(), default=None),
        )
    return 0 if met and max(memory.values(), default=0) < MEMORY_MIB_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
