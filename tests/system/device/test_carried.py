"""A hub that carries: an operator's signed request reaches vitals, and nothing else does."""

import base64
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from asepsis.cli.device_asking import ask
from asepsis.cli.devices import people
from asepsis.core.errors import InputError, SafetyRefusal
from asepsis.core.trust import libcrypto
from asepsis.core.wire import gate_request
from asepsis.core.wire.gate_request import LimitRequest, device_tag
from asepsis.edge.device import models
from asepsis.edge.device.operator_key import public_pem
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.uplink.folder import IdentityFolder

WAIT_S = 60.0
DEVICE = "urn:dev:mac:020000fffe00ca11"
HEART = models.HEART_RATE.handle
PATH = f"/api/devices/{quote(DEVICE, safe='')}/requests"
pytestmark = pytest.mark.slow
Events = list[tuple[str, str, dict[str, Any]]]


class Bed:
    """A device that takes requests, run by a thread, and who asks at the hub."""

    def __init__(self, folder: IdentityFolder, key: libcrypto.PrivateKey) -> None:
        (folder.path / "operator-key.pem").write_bytes(public_pem(key.spki_der))
        self.key, self.events = key, Events()
        self._stop = threading.Event()
        setting = Setting(seed=11, requests=True)
        self._supervisor = Supervisor(
            folder, holding=detect().holding, setting=setting, tell=self._tell
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _tell(self, who: str, what: str, details: Any) -> None:
        self.events.append((who, what, dict(details)))

    def _run(self) -> None:
        while not self._stop.is_set():
            self._supervisor.step()

    def outcomes(self) -> list[dict[str, Any]]:
        return [d for who, what, d in self.events if (who, what) == ("vitals", "request")]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._supervisor.close()


def frame(challenge: str, *, device: str = DEVICE, high: float = 130) -> bytes:
    return gate_request.encode(
        LimitRequest(
            handle=HEART,
            low=50,
            high=high,
            device=device_tag(device),
            challenge=bytes.fromhex(challenge),
            request_id=os.urandom(8),
        )
    )


def until(holds: Callable[[], Any]) -> Any:
    until_s = time.monotonic() + WAIT_S
    while not (found := holds()):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    return found


def test_only_what_the_operator_signed_now_changes_a_limit(
    wide_hub: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Goal: signed is accepted after its challenge; unsigned, foreign and repeated are refused."""
    key, stranger = libcrypto.generate_key(), libcrypto.generate_key()
    for name, one in (("operator", key), ("stranger", stranger)):
        libcrypto.write_key(one, tmp_path / name)
    bed = Bed(wide_hub.enrolled(DEVICE), key)
    common = {"numeric": HEART, "low": 50.0, "data": wide_hub.made.data, "json": True}
    try:
        with closing(people(wide_hub.made.data)) as person:
            first = until(lambda: newer(person, ""))
            ask(DEVICE, **common, high=130.0, operator_key=tmp_path / "operator")
            assert json.loads(capsys.readouterr().out)["verdict"] == "accepted"
            challenge = until(lambda: newer(person, first))
            with pytest.raises(SafetyRefusal, match="signature"):
                ask(DEVICE, **common, high=140.0, operator_key=tmp_path / "stranger")
            ask(DEVICE, **common, high=1.0, operator_key=tmp_path / "operator", dry_run=True)
            plain = frame(challenge)
            for wrong in (
                plain,  # Nobody signed it.
                b"ARQ1",
                frame(challenge, device="urn:dev:mac:0200000000000001") + bytes(64),
                frame("00" * 16) + bytes(64),
            ):
                with pytest.raises(InputError):
                    post(person, wrong)
            again(person, key)
        verdicts = [(d["verdict"], d["asker"]) for d in bed.outcomes()]
        assert verdicts[:3] == [(v, "network") for v in ("accepted", "refused", "accepted")]
        assert "accepted" not in {verdict for verdict, _ in verdicts[3:]}
    finally:
        bed.close()


def newer(person: Any, challenge: str) -> str:
    """Return the challenge that the hub knows, once it is another one."""
    found = str(person.get(PATH)["challenge"])
    return "" if found == challenge else found


def again(person: Any, key: libcrypto.PrivateKey) -> None:
    """Bring one signed request twice, and answer a used challenge anew: never a second change."""
    challenge = until(lambda: newer(person, ""))
    plain = frame(challenge, high=135)
    signed = plain + key.sign(plain)
    number = post(person, signed)["id"]
    assert outcome(person, number)["verdict"] == "accepted"
    with pytest.raises(InputError, match=r"already|no challenge"):
        post(person, signed)
    other = frame(challenge, high=136)
    try:
        number = post(person, other + key.sign(other))["id"]
    except InputError:
        return  # The hub knows the next challenge already.
    assert outcome(person, number)["verdict"] == "refused"


def outcome(person: Any, number: str) -> dict[str, Any]:
    """Return what the device said became of a request."""

    def look() -> Any:
        return next((one for one in person.get(PATH)["outcomes"] if one["id"] == number), None)

    return until(look)


def post(person: Any, content: bytes) -> Any:
    return person.post(PATH, {"frame": base64.b64encode(content).decode()})
