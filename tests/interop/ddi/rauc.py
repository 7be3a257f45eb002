"""Debian's `rauc` as a device with two slots, fed by a small client of the DDI interface.

Debian 12 has no rauc-hawkbit-updater. The client here says what that one says on the wire (its
attributes first, one report for each step, success as soon as the slot is written); what is
installed, or refused, is the real `rauc`'s doing.
"""

import subprocess
from pathlib import Path

from ddi_ward import Client
from swupdate import Vendor

SLOT_BYTES = 4_194_304
SYSTEM = """[system]
compatible=pump
bootloader=custom
statusfile={folder}/status
mountprefix={folder}/mnt
[keyring]
path={ca}
[handlers]
bootloader-custom-backend={folder}/backend.sh
[slot.rootfs.0]
device={folder}/a.img
type=raw
bootname=A
[slot.rootfs.1]
device={folder}/b.img
type=raw
bootname=B
"""
BACKEND = """#!/bin/sh
case "$1" in
  get-primary) cat {folder}/primary ;;
  set-primary) echo "$2" > {folder}/primary ;;
  get-state) echo good ;;
  set-state) : ;;
  get-current) echo A ;;
esac
"""
INSTALL = """
export DBUS_STARTER_BUS_TYPE=session
rauc -c {folder}/system.conf --override-boot-slot=A service &
service=$!
for try in $(seq 100); do
  rauc -c {folder}/system.conf status >/dev/null 2>&1 && break
  sleep 0.2
done
rauc -c {folder}/system.conf install {bundle}
ended=$?
kill $service
exit $ended
"""


def bundle(vendor: Vendor, folder: Path, payload: bytes, *, compatible: str = "pump") -> bytes:
    """Return a bundle that a vendor signed."""
    content = folder / "content"
    content.mkdir(parents=True)
    (content / "rootfs.img").write_bytes(payload)
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible={compatible}\nversion=2.0\n[image.rootfs]\nfilename=rootfs.img\n"
    )
    made = folder / "update.raucb"
    signer = vendor.folder / "signer.pem"
    done = subprocess.run(
        [
            *("rauc", f"--cert={signer}", f"--key={signer.with_suffix('.key')}"),
            *(f"--keyring={vendor.ca}", "bundle", str(content), str(made)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made.read_bytes()


class Slots:
    """A device with two slots, of which A runs.

    Args:
        folder: Empty folder, its disk.
        trusts: CA of the vendor whom it trusts.
    """

    def __init__(self, folder: Path, *, trusts: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "mnt").mkdir()
        self.folder = folder
        self.said = ""
        for name in ("a.img", "b.img"):
            (folder / name).write_bytes(bytes(SLOT_BYTES))
        (folder / "primary").write_text("A\n")
        (folder / "system.conf").write_text(SYSTEM.format(folder=folder, ca=trusts))
        backend = folder / "backend.sh"
        backend.write_text(BACKEND.format(folder=folder))
        backend.chmod(0o755)

    def install(self, update: Path) -> int:
        """Let `rauc` install a bundle; return its exit code."""
        script = INSTALL.format(folder=self.folder, bundle=update)
        done = subprocess.run(
            ["dbus-run-session", "--", "bash", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.said = done.stdout + done.stderr
        return done.returncode

    def primary(self) -> str:
        """Return which slot starts next."""
        return (self.folder / "primary").read_text().strip()


def update(client: Client, slots: Slots, *, cut_at: int = 0) -> int | None:
    """Do what is offered, as rauc-hawkbit-updater does; return the action, or None for nothing.

    Args:
        client: The device at the hub.
        slots: Its slots.
        cut_at: Break the download after so many bytes, and go on from there.
    """
    links = client.poll()["_links"]
    if "cancelAction" in links:
        number = int(links["cancelAction"]["href"].rpartition("/")[2])
        client.say(number, "closed", "success", "Action cancelled.", to="cancelAction")
        return None
    if "deploymentBase" not in links:
        return None
    document = client.http.get(links["deploymentBase"]["href"]).json()
    number, deployment = int(document["id"]), document["deployment"]
    (artefact,) = deployment["chunks"][0]["artifacts"]
    target = slots.folder / "download.raucb"
    href, size = artefact["_links"]["download"]["href"], artefact["size"]
    with target.open("ab") as out:
        if cut_at:
            with client.http.stream("GET", href) as answer:
                for piece in answer.iter_bytes(65_536):
                    out.write(piece)
                    if out.tell() >= cut_at:
                        break
        if out.tell() < size:
            rest = client.http.get(href, headers={"Range": f"bytes={out.tell()}-"})
            assert rest.status_code == 206
            out.write(rest.content)
    assert client.http.get(href, headers={"Range": f"bytes={size}-"}).status_code == 416
    client.say(number, "downloaded", "none", "Download complete.")
    if deployment["update"] == "skip":
        return number
    client.say(number, "proceeding", "none", "Installing.")
    failed = slots.install(target)
    words = ("failure", "Failed to install") if failed else ("success", "Software bundle installed")
    client.say(number, "closed", *words)
    return number
