"""An SDC ventilator of a story: `python -m asepsis.tools.simulator.sdc_process`.

    [--host 127.0.0.1] [--port 0] --ca CA --chain CHAIN --key KEY

It is the reference provider of the library sdc11073 with the MDIB of `sdc_mdib`: 20 metrics and 4
waveforms over mutual TLS. It tells `listening` with its port; its commands are those of
`asepsis.tools.testing.sdc_ventilator`, `stop` among them.

For a story: let `credentials` issue the certificates of the device segment, start this with
`arguments(...)` as every other part, read `port`, and give the gateway `sdc_toml(...)`.
"""

import datetime as dt
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.tools.testing import sdc_mdib
from asepsis.tools.testing.sdc_credentials import Files, SegmentAuthority

HOST: Final = "127.0.0.1"
IDENTITY: Final = "urn:oid:1.3.6.1.4.1.99999.1"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Certificates of the device segment; the hospital's own CA issues none of them.

    Attributes:
        ca: File of the CA.
        device: Of the ventilator.
        gateway: Of the gateway towards devices.
    """

    ca: Path
    device: Files
    gateway: Files


def credentials(folder: Path, *, now: dt.datetime) -> Credentials:
    """Issue the certificates of one ventilator and of the gateway that reads it.

    Args:
        folder: Where the files go.
        now: Begin of their validity.
    """
    authority = SegmentAuthority(folder, now=now)
    device = authority.issue("ventilator", uri=IDENTITY, address=HOST)
    return Credentials(authority.file, device, authority.issue("gateway"))


def arguments(given: Credentials) -> list[str]:
    """Return the arguments of the process."""
    files = {"--ca": given.ca, "--chain": given.device.chain, "--key": given.device.key}
    return [part for key, file in files.items() for part in (key, str(file))]


def sdc_toml(given: Credentials, *, name: str, device: str, port: int) -> str:
    """Return the section of gateway.toml for this ventilator; JSON strings are TOML strings."""
    return f"""\
[[sdc]]
name = {json.dumps(name)}
device = {json.dumps(device)}
address = "{HOST}"
port = {port}
path = "{sdc_mdib.PATH}"
ca_file = {json.dumps(str(given.ca))}
chain_file = {json.dumps(str(given.gateway.chain))}
key_file = {json.dumps(str(given.gateway.key))}
identity = "{IDENTITY}"
local_address = "{HOST}"
"""


def main(given: list[str]) -> int:
    """Run the ventilator until it is told to stop; return the exit code."""
    # The story takes this module for its settings, and needs no SDC library for them.
    from asepsis.tools.testing import sdc_ventilator  # noqa: PLC0415

    return sdc_ventilator.main(given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
