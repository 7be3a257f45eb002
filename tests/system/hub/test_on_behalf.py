"""A gateway brings bundles, alarm documents and waveforms for devices that cannot (REQ-OBS-016)."""

import time
from collections.abc import Iterable
from itertools import count

import httpx
import pytest
from hub_ward import GATEWAY, NATIVE, OTHER, UNSIGNED, Ward, make_ward
from watching import watching

from asepsis.core.model.alarm import AlarmKind, AlarmPriority
from asepsis.core.model.identity import DeviceId
from asepsis.edge.gateway.drivers.reporting import Counter, Made, Reporter
from asepsis.edge.gateway.drivers.sdk import Condition, Conditions, Samples, Value, Values

SECOND = 1_000_000_000
EPOCH = 1_800_000_000
NUMBERS = Counter()
LOW = Condition(
    key="a", code=196_672, kind=AlarmKind.PHYSIOLOGICAL, priority=AlarmPriority.HIGH, text="LOW"
)
TRACE = Samples(
    handle=9, code=131_330, unit=266_418, period_ns=4_000_000, scale=1, offset=0, samples=(1, 2)
)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Ward]:
    made = make_ward(tmp_path_factory.mktemp("ward"))
    made.start()
    yield made
    made.close()


def told(device: str, what: object, *, at_ns: int, numbers: Counter = NUMBERS) -> list[Made]:
    ids = count(time.monotonic_ns())
    reporter = Reporter(DeviceId(device), EPOCH, numbers, lambda: next(ids).to_bytes(16, "big"))
    return list(reporter.take(what, at_ns=at_ns, now_ns=10 * SECOND))


def post(client: httpx.Client, made: Made, *, path: str = "") -> int:
    headers = {
        "Content-Type": made.media_type,
        "Asepsis-Epoch": str(EPOCH),
        "Asepsis-Sequence": str(made.sequence),
    }
    return client.post(path or f"/{made.lane}", content=made.body, headers=headers).status_code


def values(number: int) -> Values:
    return Values((Value(handle=1, code=147_842, unit=264_864, value=number),))


def test_what_a_declared_device_says_now_is_live_and_what_it_said_is_late_data(
    ward: Ward,
) -> None:
    gateway = ward.client(GATEWAY)
    with watching(ward, UNSIGNED) as view:
        for made in told(UNSIGNED, values(63), at_ns=time.time_ns() - 60 * SECOND):
            assert post(gateway, made) == 409
            assert post(gateway, made, path="/late") == 201
        for what in (values(61), TRACE, Conditions((LOW,))):
            for made in told(UNSIGNED, what, at_ns=time.time_ns()):
                assert post(gateway, made) == 201
        view.wait(lambda alarm: alarm["phase"] == "onset" and alarm["text"] == "LOW")
        view.until(lambda: any(name == "numerics" for _, name, _ in view.seen))
    live = [data for _, name, data in view.seen if name == "numerics"]
    assert {told["assurance"] for told in live} <= {"gateway-observed", "source-claimed"}
    assert [numeric["value"] for told in live for numeric in told["numerics"]] == ["61"]


@pytest.mark.parametrize("device", [NATIVE, OTHER, "urn:dev:mac:00000000000000ff"])
@pytest.mark.parametrize("what", [values(62), TRACE, Conditions((LOW,))], ids=["v", "w", "a"])
def test_nobody_speaks_for_a_device_with_its_own_certificate_or_undeclared(
    ward: Ward, device: str, what: object
) -> None:
    gateway = ward.client(GATEWAY)
    for made in told(device, what, at_ns=time.time_ns(), numbers=Counter()):
        assert post(gateway, made) == 403
        assert post(gateway, made, path="/late") == 403
