"""What the hub holds, for whom, and how long: crash, full disk, retention, budgets."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest
from hub_ward import Ward
from imaging_ward import IMAGER, IMAGES, MODALITY, READER, make_imaging_ward
from objects import TYPE, failed, large, made, multipart, store, stored
from pydicom.uid import generate_uid

from asepsis.cli.devices import people

WEB = "/dicom-web"


def held(ward: Ward) -> set[str]:
    """Return the SOP Instance UIDs that a search finds."""
    found = ward.client(READER).get(f"{WEB}/instances?limit=1000").json()
    return {each["00080018"]["Value"][0] for each in found}


def objects_of(ward: Ward) -> int:
    """Return how many sealed files there are."""
    return sum(1 for each in (ward.hospital.data / "hub/images/objects").glob("*/*"))


def test_what_was_acknowledged_survives_a_kill(prepared: Callable[..., Ward]) -> None:
    """Goal: the hub dies in the middle of requests; every acknowledged image is there after."""
    ward = prepared()
    hub = ward.start()
    acknowledged: set[str] = set()

    def send() -> None:
        client = ward.client(IMAGER)
        try:
            while True:
                acknowledged.update(stored(store(client, *(made() for _ in range(3)))))
        except httpx.HTTPError:
            return

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while len(acknowledged) < 30 and time.monotonic() < deadline:
        time.sleep(0.05)
    hub.process.kill()
    for thread in threads:
        thread.join(20)
    hub.process.wait()
    ward.start()
    assert len(acknowledged) >= 30
    assert acknowledged <= held(ward)
    assert not list((ward.hospital.data / "hub/images/incoming").iterdir())
    told = told_of(ward)
    assert acknowledged <= told


def told_of(ward: Ward) -> set[str]:
    """Return the SOP Instance UIDs that the journal's lane tells of, read offline."""
    ward.hub.stop()  # pyright: ignore[reportOptionalMemberAccess]
    code = (
        "import sys, json, time\n"
        "from pathlib import Path\n"
        "from asepsis.core.model.lanes import Lane\n"
        "from asepsis.hub.opening import open_journal, open_kek\n"
        "from asepsis.hub.settings import read_settings\n"
        "s = read_settings(Path(sys.argv[1]))\n"
        "k = open_kek(s.sealing, hub_folder=s.folder() / 'hub')\n"
        "j = open_journal(s, k, clock=time.time_ns)\n"
        "r = j.read(Lane.IMAGE_INDEX, after=0, records_max=10000)\n"
        "print(json.dumps([json.loads(x.append.body)['instance'] for x in r]))\n"
        "j.close()\n"
    )
    command = [sys.executable, "-c", code, str(ward.hospital.toml)]
    return set(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def test_a_full_disk_refuses_and_loses_nothing(prepared: Callable[..., Ward]) -> None:
    """Goal: at the reserve the hub asks senders to come again; what is held stays."""
    ward = prepared()
    ward.start()
    first = made()
    assert store(ward.client(IMAGER), first).status_code == 200
    before = held(ward)
    ward.hub.stop()  # pyright: ignore[reportOptionalMemberAccess]
    free = os.statvfs(ward.hospital.data)
    reserve = free.f_bavail * free.f_frsize + (1 << 40)
    text = ward.hospital.toml.read_text()
    ward.hospital.toml.write_text(text.replace("reserve_bytes = 0", f"reserve_bytes = {reserve}"))
    ward.start()
    answer = store(ward.client(IMAGER), made())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert held(ward) == before


def test_the_budget_ends_in_503_within_a_request(prepared: Callable[..., Ward]) -> None:
    ward = prepared(more=IMAGES.replace("[images]", "[images]\nbytes_max = 1048576"))
    ward.start()
    client = ward.client(IMAGER)
    big = made_big()
    answers = [store(client, big), *(store(client, made_big()) for _ in range(4))]
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 503
    again = store(client, big)
    assert again.status_code == 503


def made_big(instance: str | None = None) -> bytes:
    """Return an image of half a megabyte."""
    return made(instance=instance, Rows=512, Columns=512, pixels=bytes(512 * 512 * 2))


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Return a running hub that would purge at once whatever it may."""
    at_once = "[images]\nkeep_s = 0\nkeep_full_s = 0\npurge_every_s = 0.1"
    ward = make_imaging_ward(
        tmp_path_factory.mktemp("keeping"), more=IMAGES.replace("[images]", at_once)
    )
    ward.start()
    yield ward
    ward.close()


@pytest.mark.alone
@pytest.mark.slow
def test_a_long_object_is_never_held_in_memory(keeping: Ward) -> None:
    """Goal: 300 MB in one object, and the hub grows by less than 60 MB."""
    client = keeping.client(IMAGER)
    assert store(client, made()).status_code == 200
    process = psutil.Process(keeping.hub.process.pid)  # pyright: ignore[reportOptionalMemberAccess]
    before = process.memory_info().rss
    uid = generate_uid()
    most = [before]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            most.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    headers = {"content-type": TYPE, "asepsis-device": MODALITY}
    answer = client.post(
        f"{WEB}/studies", content=large(300 << 20, instance=uid), headers=headers, timeout=100
    )
    assert answer.status_code == 200, answer.text
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    length = 0
    with keeping.client(READER).stream("GET", httpx.URL(url).path) as got:
        for chunk in got.iter_bytes():
            length += len(chunk)
    ended.set()
    watcher.join()
    assert length > 300 << 20
    assert max(most) - before < 60 << 20


def test_a_connection_that_ends_midway_leaves_nothing(keeping: Ward) -> None:
    whole, half = generate_uid(), generate_uid()
    body = multipart([made(instance=whole), made_big(half)])[:-200_000]
    with pytest.raises(httpx.HTTPError):
        keeping.client(IMAGER).post(
            f"{WEB}/studies",
            content=_cut(io.BytesIO(body)),
            headers={"content-type": TYPE, "asepsis-device": MODALITY},
        )
    incoming = keeping.hospital.data / "hub/images/incoming"
    deadline = time.monotonic() + 10
    while (list(incoming.iterdir()) or whole not in held(keeping)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(incoming.iterdir())
    assert whole in held(keeping)
    assert half not in held(keeping)


def _cut(body: io.BytesIO) -> Iterator[bytes]:
    while data := body.read(65_536):
        yield data
    raise httpx.WriteError("the sender's cable was pulled")


def test_nothing_goes_before_an_archive_has_it(keeping: Ward) -> None:
    """REQ-IMG-006: without an archive nothing is purged, however old it is."""
    uids = {generate_uid(), generate_uid()}
    assert store(keeping.client(IMAGER), *(made(instance=uid) for uid in uids)).status_code == 200
    time.sleep(0.5)
    assert uids <= held(keeping)
    assert objects_of(keeping) >= 2


def test_programs_in_a_preamble_are_set_apart(keeping: Ward) -> None:
    """REQ-IMG-007."""
    elf = b"\x7fELF" + made()[4:]
    script = b"#!/bin/sh\n" + made()[10:]
    tiff = b"II*\x00" + made()[4:]
    answer = store(keeping.client(IMAGER), elf, script, b"MZ" + made()[2:], tiff)
    assert answer.status_code == 202
    assert set(failed(answer).values()) == {0xC000}
    assert len(stored(answer)) == 1
    client = people(keeping.hospital.data)
    apart = client.get("/api/quarantined-images")["objects"]
    assert [one["reason"] for one in apart] == ["preamble-program"] * 3
    assert {one["device"] for one in apart} == {MODALITY}
    client.close()
