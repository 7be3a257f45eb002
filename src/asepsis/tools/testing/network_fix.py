"""A hot fix of a device's network compartment, as a vendor would release it."""

import io
import tarfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from asepsis.core.model.release import Installing, SelfTest
from asepsis.core.trust.metadata.fields import Release
from asepsis.edge.sandbox import bubblewrap
from asepsis.tools.release import editing
from asepsis.tools.testing.releases import MODEL, Vendor, document_for

TESTS: Final = (
    SelfTest(name="numeric-error", low=0, high=0.5, unit="1"),
    SelfTest(name="samples-lost", low=0, high=0, unit="1"),
    SelfTest(name="alarm-delay", low=0, high=1, unit="s"),
    SelfTest(name="ticks-skipped", low=0, high=0, unit="1"),
)
ANYWHERE: Final = Installing(states=("in-use", "standby", "idle"), run_s=120, rollback_s=30)
_PROGRAM: Final = "asepsis/edge/device/network.py"
_CHANGE: Final = """
_shipped = Network._facts
Network._facts = lambda self: {**_shipped(self), "version": "%s"}
"""
_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})


def network_fix(counter: int, *, more: Mapping[str, bytes] = _NOTHING) -> bytes:
    """Return the shipped code whose network compartment tells its version `1.<counter>`.

    Args:
        counter: Of the release.
        more: Further files by their path in the archive; one that is shipped is replaced.
    """
    shipped = bubblewrap.code().package
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:", format=tarfile.USTAR_FORMAT) as tar:
        for path in (shipped / "__init__.py", shipped / "core", shipped / "edge"):
            tar.add(path, f"asepsis/{path.name}", filter=_wanted)
        text = (shipped / "edge" / "device" / "network.py").read_text("utf-8")
        end = _CHANGE % f"1.{counter}" + "\n\ndef main("
        _add(tar, _PROGRAM, text.replace("\ndef main(", end).encode())
        for name, content in more.items():
            _add(tar, name, content)
    return written.getvalue()


def release_network_fix(
    vendor: Vendor,
    counter: int,
    *,
    tests: tuple[SelfTest, ...] = TESTS,
    installing: Installing = ANYWHERE,
    more: Mapping[str, bytes] = _NOTHING,
) -> str:
    """Add the fix to a vendor's repository, sign and publish it; returns its path.

    Args:
        vendor: Whose device it is.
        counter: Of the release; its floor is one less.
        tests: What has to pass on the device.
        installing: When it may be installed.
        more: As of `network_fix`.
    """
    file = vendor.folder / f"network-{counter}.tar"
    file.write_bytes(network_fix(counter, more=more))
    release = Release(
        model=MODEL,
        component="network",
        version=f"1.{counter}",
        counter=counter,
        floor=counter - 1,
    )
    document = document_for(
        release,
        file.read_bytes(),
        vendor=vendor.repository.settings.name,
        self_tests=tests,
        installing=installing,
    )
    path, _ = editing.add(
        vendor.repository,
        file,
        release=release,
        name=file.name,
        now=vendor.now,
        document=document,
    )
    vendor.sign(vendor.model)
    vendor.publish()
    return path


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    unwanted = ("__pycache__", "/gateway", "edge/device/network.py")
    return None if any(part in member.name for part in unwanted) else member


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
