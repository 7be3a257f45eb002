"""Images into the hub by STOW-RS over mutual TLS, beside Orthanc on plain HTTP in the same run.

The same client, the same objects (0.5 MB), four connections of twenty instances a request. Then one
object of 2 GB: the hub's memory is watched while it passes through.
"""

import argparse
import http.client
import json
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil

from _report import report

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests" / part) for part in ("system/imaging", "system/hub", "")]

from imaging_ward import IMAGER, MODALITY, make_imaging_ward  # noqa: E402 - found by the path above
from objects import TYPE, large, made, multipart  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

from asepsis.core.trust import tls  # noqa: E402

PIXELS = bytes(range(256)) * 2048
CONNECTIONS = 4
PER_REQUEST = 20
TARGET_MB_S = 125.0
MIB = 1 << 20
Connect = Callable[[], http.client.HTTPConnection]


def objects(count: int) -> list[bytes]:
    """Return different objects of half a megabyte."""
    first = made(Rows=512, Columns=512, pixels=PIXELS, instance="1.2.826.0.1." + "1" * 40)
    old = b"1.2.826.0.1." + b"1" * 40
    found: list[bytes] = []
    for _ in range(count):
        fresh = b"1.2.826.0.1.%d" % random.randrange(10**39, 10**40)
        found.append(first.replace(old, fresh))
    return found


def rate(connect: Connect, path: str, bodies: list[bytes]) -> float:
    """Send bodies over several connections; return instances a second."""
    waiting = list(bodies)
    headers = {"Content-Type": TYPE, "Asepsis-Device": MODALITY}

    def work() -> None:
        connection = connect()
        while waiting:
            connection.request("POST", path, body=waiting.pop(), headers=headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(bodies) * PER_REQUEST / (time.monotonic() - began)


def start_orthanc(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start Orthanc with DICOMweb, plain on loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": False,
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        ["Orthanc", str(folder / "orthanc.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/dicom-web/studies")
            break
        except httpx.TransportError:
            time.sleep(0.1)
    return process, port


def bodies(requests: int) -> list[bytes]:
    """Return store requests."""
    # Without an empty line before the first delimiter, which Orthanc does not take.
    return [multipart(objects(PER_REQUEST))[2:] for _ in range(requests)]


def long_object(connect: Connect, pid: int, gigabytes: int) -> tuple[float, float]:
    """Send one long object; return megabytes a second and the growth of the hub in MB."""
    process = psutil.Process(pid)
    before = most = process.memory_info().rss

    def pieces() -> Iterator[bytes]:
        nonlocal most
        for piece in large(gigabytes << 30, instance=generate_uid()):
            most = max(most, process.memory_info().rss)
            yield piece

    connection = connect()
    headers = {"Content-Type": TYPE, "Asepsis-Device": MODALITY}
    began = time.monotonic()
    connection.request("POST", "/dicom-web/studies", body=pieces(), headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    seconds = time.monotonic() - began
    return (gigabytes << 30) / 1e6 / seconds, (max(most, process.memory_info().rss) - before) / MIB


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20, help="store requests a round")
    parser.add_argument("--gigabytes", type=int, default=2, help="the long object; 0 for none")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    ward = make_imaging_ward(folder / "ward")
    hub = ward.start()
    port = hub.ready["listeners"]["clinical"]["port"]
    context: ssl.SSLContext = tls.client_context(
        root_der=ward.hospital.root_der, identity=ward.machines[IMAGER].files
    )

    def ours() -> http.client.HTTPConnection:
        return http.client.HTTPSConnection("localhost", port, context=context, timeout=120)

    (folder / "orthanc").mkdir()
    peer, peer_port = start_orthanc(folder / "orthanc")

    def theirs() -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", peer_port, timeout=120)

    rate(ours, "/dicom-web/studies", bodies(2))
    hub_rate = rate(ours, "/dicom-web/studies", bodies(given.requests))
    peer_rate = rate(theirs, "/dicom-web/studies", bodies(given.requests))
    peer.terminate()
    print(f"hub, mutual TLS: {hub_rate:.0f} instances/s; Orthanc, plain: {peer_rate:.0f}")
    if given.gigabytes:
        speed, growth = long_object(ours, hub.process.pid, given.gigabytes)
        print(f"one object of {given.gigabytes} GiB: {speed:.0f} MB/s, hub grew by {growth:.0f} MB")
    ward.close()
    shutil.rmtree(folder, ignore_errors=True)
    report(
        name="stow",
        value=hub_rate,
        unit="instances/s",
        peer="Orthanc STOW-RS, plain",
        peer_value=peer_rate,
        target=peer_rate,
    )


if __name__ == "__main__":
    main()
