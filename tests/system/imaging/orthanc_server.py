"""Orthanc with its DICOMweb plugin, plain on loopback, refusing what a test marks."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

REFUSED = "REFUSED-HERE"
"""Patient ID of instances that this Orthanc does not take."""
_FILTER = f"""
function ReceivedInstanceFilter(dicom, origin, info)
   return dicom.PatientID ~= '{REFUSED}'
end
"""


class Orthanc:
    """One server; it comes and goes."""

    def __init__(self, **more: Any) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.folder.chmod(0o755)
        self.port, self.dicom_port = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "filter.lua").write_text(_FILTER)
        settings = {
            "StorageDirectory": str(self.folder),
            "IndexDirectory": str(self.folder),
            "HttpPort": self.port,
            "DicomServerEnabled": True,
            "DicomPort": self.dicom_port,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "LuaScripts": [str(self.folder / "filter.lua")],
            "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
        }
        (self.folder / "orthanc.json").write_text(json.dumps(settings | more))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["Orthanc", str(self.folder / "orthanc.json")],
                stdout=log,
                stderr=log,
                env={**os.environ, "TCP_NODELAY": "1"},
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if httpx.get(self.url + "/dicom-web/studies").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        """End it for good; asked politely it takes seconds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def held(self) -> set[str]:
        """Return the SOP Instance UIDs that it holds."""
        found: Sequence[Any] = httpx.get(self.url + "/instances?expand").json()
        return {each["MainDicomTags"]["SOPInstanceUID"] for each in found}

    def file(self, instance: str) -> bytes:
        """Return one instance as it was stored."""
        (found,) = httpx.post(self.url + "/tools/lookup", content=instance).json()
        return httpx.get(f"{self.url}/instances/{found['ID']}/file").content


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
