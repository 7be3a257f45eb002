"""The hospital's old PACS in a story: a real Orthanc, where one is installed.

It speaks DIMSE in clear text, as such archives do, and is asked over its own REST interface what it
holds.
"""

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final, cast

import httpx

from asepsis.core.errors import Unavailable

PROGRAM: Final = "Orthanc"
AE_TITLE: Final = "ORTHANC"
START_S: Final = 30.0
STOP_S: Final = 10.0
TICK_S: Final = 0.1


def installed() -> bool:
    """Tell whether this machine has an Orthanc."""
    return shutil.which(PROGRAM) is not None


class Archive:
    """A running Orthanc with nothing in it.

    Args:
        folder: Empty folder for everything that it keeps.

    Attributes:
        port: Its DICOM port, on loopback.

    Raises:
        Unavailable: It does not start.

    Resource handling: owns the process; `close` ends it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.port, http = _free_port(), _free_port()
        (folder / "orthanc.json").write_text(
            json.dumps(
                {
                    "Name": "Old PACS of the story",
                    "StorageDirectory": str(folder),
                    "IndexDirectory": str(folder),
                    "HttpPort": http,
                    "DicomPort": self.port,
                    "DicomAet": AE_TITLE,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "Plugins": [],
                }
            ),
            "utf-8",
        )
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{http}", trust_env=False)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the archive of the story
                [cast("str", shutil.which(PROGRAM)), str(folder / "orthanc.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait()
        except Unavailable:
            self.close()
            raise

    def instances(self) -> list[bytes]:
        """Return every instance that it holds, as a DICOM file.

        Raises:
            Unavailable: It does not answer.
        """
        found = cast("list[str]", self._get("/instances").json())
        return [self._get(f"/instances/{name}/file").content for name in found]

    def close(self) -> None:
        """End it."""
        self._http.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _get(self, path: str) -> Any:
        try:
            return self._http.get(path).raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable("the old PACS does not answer") from error

    def _wait(self) -> None:
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                self._get("/instances")
            except Unavailable:
                if time.monotonic() > deadline_s or self._process.poll() is not None:
                    raise
                time.sleep(TICK_S)
            else:
                return


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
