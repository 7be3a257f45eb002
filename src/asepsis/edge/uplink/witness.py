"""A witness beside the uplink: asks for the log's newest head, judges it, keeps it, signs it.

The folder holds `witness.pem`, the witness's own key, and `witness.json`, what it accepted last;
`leaves.bin` where it mirrors the log, and `contradiction.json` once the hub was found out. What was
accepted is durable before it is signed, so no power cut makes a witness sign two logs.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, ChainBroken, TransientError
from asepsis.core.trust import libcrypto, merkle, witness
from asepsis.core.trust.witness import CoSignature, Offered, Seen
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.files import read_state, write_durably

KEY_FILE: Final = "witness.pem"
STATE_FILE: Final = "witness.json"
CONTRADICTION_FILE: Final = "contradiction.json"
MIRROR_FILE: Final = "leaves.bin"
LEAVES_AT_ONCE: Final = 8_192
EVERY_S: Final = 900.0
"""Pause between two looks; what was written since can still be rewritten by whoever has the hub."""
_JSON: Final = {"Content-Type": "application/json"}


class Witness:
    """One witness and its folder.

    Args:
        folder: Where key and last head are; made if absent.
        root_der: Pinned root of the hospital.
        now_ns: The witness's own time, nanoseconds since 1970.

    Raises:
        TransientError: The folder cannot be written.
        InputError: The key is damaged.
    """

    def __init__(self, folder: Path, *, root_der: bytes, now_ns: Callable[[], int]) -> None:
        self._folder = folder
        self._root_der = root_der
        self._now_ns = now_ns
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise TransientError(f"cannot make the witness's folder: {error.strerror}") from error
        path = folder / KEY_FILE
        if not path.exists():
            write_durably(path, libcrypto.generate_key().to_pem())
        self._key = libcrypto.read_key(path)

    @property
    def spki_der(self) -> bytes:
        """The witness's public key; readers of evidence get it from here, not from the hub."""
        return self._key.spki_der

    @property
    def seen(self) -> Seen | None:
        """What was accepted last.

        Raises:
            ChainBroken: The state is damaged: this witness cannot say what it signed.
        """
        path = self._folder / STATE_FILE
        if not path.exists():
            return None
        state = read_state(path)
        try:
            size, root = int(state["size"]), bytes.fromhex(state["root"])
        except (KeyError, TypeError, ValueError) as error:
            raise ChainBroken("the state of the witness is damaged", hint=str(path)) from error
        if size < 1 or len(root) != merkle.HASH_BYTES:
            raise ChainBroken("the state of the witness is damaged", hint=str(path))
        return Seen(size, root)

    def look(self, hub: HubConnection) -> CoSignature:
        """Ask for the newest head, judge it, keep it, sign it and bring the signature.

        Raises:
            ChainBroken: The log was rewritten or cut; what shows it is kept in the folder.
            TrustError: The head is not signed, or the hub refuses this witness.
            InputError: Nothing is signed yet.
            TransientError: The hub is away, or the disk is full.
        """
        seen = self.seen
        answer = hub.request("GET", f"/audit/head?seen={seen.size if seen else 0}")
        offered = witness.read_offered(answer.body)
        try:
            found = witness.follow(seen, offered, root_der=self._root_der)
        except ChainBroken:
            if seen is not None:
                self._keep_contradiction(seen, offered)
            raise
        self._keep(found)
        given = witness.cosign(self._key, found, at_ns=self._now_ns())
        body = {
            "key": self.spki_der.hex(),
            "size": given.size,
            "root": given.root.hex(),
            "at_ns": given.at_ns,
            "signature": given.signature.hex(),
        }
        hub.request("POST", "/audit/cosignatures", body=json.dumps(body).encode(), headers=_JSON)
        return given

    def mirror(self, hub: HubConnection) -> int:
        """Fetch the leaf hashes up to what was accepted last; returns how many are kept.

        With them a reader learns which entry was changed, not only that one was. They must lead to
        the accepted root, so nothing is kept that was not accepted.

        Raises:
            ChainBroken: The leaves are not those of the accepted log.
            TrustError: The hub refuses this witness.
            TransientError: The hub is away, or the disk is full.
        """
        seen = self.seen
        path = self._folder / MIRROR_FILE
        kept = bytearray(path.read_bytes() if path.exists() else b"")
        while seen is not None and len(kept) < seen.size * merkle.HASH_BYTES:
            first = len(kept) // merkle.HASH_BYTES
            count = min(LEAVES_AT_ONCE, seen.size - first)
            found = hub.request("GET", f"/audit/leaves?first={first}&count={count}").body
            if len(found) != count * merkle.HASH_BYTES:
                raise ChainBroken("the hub does not show the leaves that it signed")
            kept += found
        if seen is not None:
            check_leaves(bytes(kept), seen)
            write_durably(path, bytes(kept))
        return len(kept) // merkle.HASH_BYTES

    def _keep(self, seen: Seen) -> None:
        state = {"size": seen.size, "root": seen.root.hex()}
        write_durably(self._folder / STATE_FILE, json.dumps(state).encode())

    def _keep_contradiction(self, seen: Seen, offered: Offered) -> None:
        """Keep what the hub's own key signed against itself: people need it as evidence."""
        head = offered.head
        said = {
            "seen": {"size": seen.size, "root": seen.root.hex()},
            "head": {
                "size": head.size,
                "root": head.root.hex(),
                "at_ns": head.at_ns,
                "signature": head.signature.hex(),
            },
            "at_ns": self._now_ns(),
        }
        path = self._folder / CONTRADICTION_FILE
        if not path.exists():  # The first one counts; the hub may show many.
            write_durably(path, json.dumps(said).encode())


def check_leaves(leaves: bytes, seen: Seen) -> None:
    """Check that leaf hashes, 32 bytes each, lead to an accepted root.

    Raises:
        ChainBroken: They do not.
    """
    state = merkle.Frontier()
    for at in range(0, len(leaves), merkle.HASH_BYTES):
        state, _ = state.append(leaves[at : at + merkle.HASH_BYTES])
    if (state.size, state.root()) != (seen.size, seen.root):
        raise ChainBroken("the leaves are not those of the log that was accepted")


class Witnessing(threading.Thread):
    """Background thread of an uplink.

    Args:
        open_witness: Opens the witness; called in the thread.
        connect: Returns a connection to the clinical listener with the certificates of now.
        report: Told why a look failed; a `ChainBroken` is for people.
        every_s: Pause between two looks, seconds.
    """

    def __init__(
        self,
        open_witness: Callable[[], Witness],
        connect: Callable[[], HubConnection],
        *,
        report: Callable[[AsepsisError], object],
        every_s: float = EVERY_S,
    ) -> None:
        super().__init__(name="uplink-witness", daemon=True)
        self._open_witness = open_witness
        self._connect = connect
        self._report = report
        self._every_s = every_s
        self._closing = threading.Event()
        self.last: CoSignature | None = None

    def close(self) -> None:
        """End the thread."""
        self._closing.set()

    def run(self) -> None:
        """Look until closed."""
        # Not at once: a start has more urgent things to send, and all devices start after a
        # power failure together.
        wait_s = min(60.0, self._every_s)
        while not self._closing.wait(wait_s):
            try:
                self.look_once()
            except AsepsisError as error:
                self._report(error)
            wait_s = self._every_s

    def look_once(self) -> None:
        """Look once.

        Raises:
            AsepsisError: As `Witness.look`.
        """
        hub = self._connect()
        try:
            self.last = self._open_witness().look(hub)
        finally:
            hub.close()
