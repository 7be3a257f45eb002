"""What the story hands to the processes it starts: one JSON file each, mode 0600."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from asepsis.core.errors import AsepsisError
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital
from asepsis.tools.simulator.telling import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything an actor needs.

    Attributes:
        name: Its identity.
        token: One-time token; used at the first start only.
        host: Address of the hub.
        clinical_port: Port of the clinical listener.
        enrolment_port: Port of the enrolment listener.
        folder: Its own folder.
        ledger: Ledger file to append to.
        passphrase_file: Passphrase that seals its spool.
        kind: What it enrols as: `device`, `gateway` or `consumer`.
        profile: What a device measures: `monitor`, `ventilator` or `pump`.
        seed: Seed of the simulated patient.
        drop: Records that a subscriber leaves out of its ledger on purpose, to prove that the
            comparison notices.
        others: Producers that keep no ledger, which a subscriber leaves out of its own.
    """

    name: str
    token: str
    host: str
    clinical_port: int
    enrolment_port: int
    folder: str
    ledger: str
    passphrase_file: str
    kind: str = "device"
    profile: str = "monitor"
    seed: int = 0
    drop: int = 0
    others: tuple[str, ...] = ()

    @property
    def hospital(self) -> Hospital:
        """Addresses of the hub."""
        return Hospital(
            Endpoint(self.host, self.clinical_port), Endpoint(self.host, self.enrolment_port)
        )

    def save(self, path: Path) -> None:
        """Write the order for the process that will read it."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an order."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def carry_out(work: Callable[[Order], bool], *, description: str) -> int:
    """Read the order that the command line names, and work on it.

    Args:
        work: Says whether everything was done.
        description: For `--help`.

    Returns:
        The exit code: 1 if it could not go on, which the story is told, or was not done.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("order", type=Path, help="JSON file written by the story")
    try:
        done = work(Order.load(parser.parse_args().order))
    except AsepsisError as error:
        say("failed", code=error.code, text=str(error))
        return 1
    return 0 if done else 1
