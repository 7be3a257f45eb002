"""A revocation list that nobody renewed warns and refuses nobody (REQ-ID-017)."""

import time
from collections.abc import Callable

from hub_ward import SIGNING, Ward

from asepsis.core.trust.authority import sign_crl

BATCH = {"Content-Type": "application/vnd.asepsis.origin-batch"}
WEEK_NS = 7 * 86_400 * 10**9


def test_vitals_flow_with_a_list_that_is_a_week_stale(prepared: Callable[..., Ward]) -> None:
    """Goal: no signer, a list whose next update passed a week ago, and the ward is served."""
    ward = prepared()
    stale = sign_crl((), issuer=ward.hospital.issuer, number=1, now_ns=time.time_ns() - 2 * WEEK_NS)
    (ward.hospital.data / "run" / "hospital.crl").write_bytes(stale)
    hub = ward.start()
    bed = ward.bed(SIGNING)
    for _ in range(3):
        batch, _ = bed.measure(time.time_ns(), time.monotonic_ns())
        assert ward.client(SIGNING).post("/origin", content=batch, headers=BATCH).status_code == 201
    deadline = time.monotonic() + 10
    while "the revocation list is stale" not in hub.log.read_text():
        assert time.monotonic() < deadline, "nobody was warned"
        time.sleep(0.1)
