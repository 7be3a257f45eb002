"""What the story hands to the processes it starts: one JSON file each, mode 0600."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital


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
