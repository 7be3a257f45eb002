"""The agent's machine: what it does in which order, and a power cut at every operation of it."""

import contextlib
import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, FramingError, SafetyRefusal
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.update import Outcome, WaitsFor
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.update.floors import FLOORS, Floors
from asepsis.edge.device.update.memory import (
    ASIDE,
    NAME,
    Debt,
    Held,
    Memory,
    MemoryStore,
    decode,
    encode,
)
from asepsis.edge.device.update.moment import Window
from asepsis.edge.sandbox.supervision_state import SHIPPED, StateStore
from asepsis.tools.testing.faulty_disk import FaultyDisk, PowerCut
from asepsis.tools.testing.updating_device import ONLY_IDLE, Bedside, Device, target

S = ClinicalState
RELEASE = target()
WHOLE = ["offered", "downloaded", "staged", "installing", "booted", "self-tested", "verified"]


def disk(**faults: int) -> FaultyDisk:
    return FaultyDisk({FLOORS: b"{}"}, **faults)  # type: ignore[arg-type]


def ready(**settings: object) -> Device:
    return Device(disk=disk(), offered=[RELEASE], **settings)  # type: ignore[arg-type]


def test_from_offered_to_verified() -> None:
    device = ready().run()
    assert device.outcomes == WHOLE
    assert device.served == [SHIPPED, "1.2"]
    [test] = device.told[-1].tests
    assert (test.name, test.measured, test.low, test.high, test.unit) == (
        "heart-rate", 60, 59, 61, "/min",
    )  # fmt: skip
    assert Floors(device.disk).of("network") == RELEASE.floor
    assert device.run().outcomes == WHOLE


def test_where_it_must_be_accepted_verified_is_not_the_end() -> None:
    assert ready(acceptance=True).run().outcomes == [*WHOLE, "awaiting-acceptance"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"measured": 58.9}, "self-test failed: heart-rate"),
        ({"measured": float("nan")}, "self-test failed: heart-rate"),
        ({"falls": frozenset({"1.2"})}, "rolled back: ended"),
    ],
    ids=["out of tolerance", "not measured", "falls"],
)
def test_what_does_not_pass_is_undone_once_and_not_tried_again(
    settings: dict[str, object], why: str
) -> None:
    device = ready(**settings).run(30)
    assert device.outcomes[-1] == "rolled-back"
    assert device.told[-1].reason == why
    assert device.served == [SHIPPED, "1.2", SHIPPED]
    assert Floors(device.disk).of("network") == 0
    device.offered = []
    device.run(2).offered = [RELEASE]
    device.measured, device.falls = 60.0, frozenset()
    assert device.run(20).outcomes[-1] == "verified"


@pytest.mark.parametrize("declared", [True, False])
def test_an_undeclared_change_of_the_fingerprint_undoes_it(*, declared: bool) -> None:
    """Goal: other alarm limits after the update than before are no success."""
    bedside = Bedside()

    def spoil() -> None:
        bedside.limits = "c" * 64

    changes = frozenset({"alarm-limits"}) if declared else frozenset[str]()
    device = ready(bedside=bedside, on_installed=spoil, changes=changes).run()
    assert device.outcomes[-1] == ("verified" if declared else "rolled-back")
    assert declared or device.told[-1].reason == "changed: alarm-limits"


def test_a_patient_attached_between_safe_and_install_stops_it() -> None:
    """Goal: judged safe, made ready, and at the last moment it is not safe any more."""
    bedside = Bedside()

    def attach() -> None:
        bedside.state, bedside.attached = S.IN_USE, True

    device = ready(bedside=bedside, states=ONLY_IDLE, on_permit=attach).run()
    assert device.served == [SHIPPED]
    assert device.told[-1].outcome is Outcome.WAITING
    assert device.told[-1].waits_for is WaitsFor.PATIENT
    bedside.state, bedside.attached, device.on_permit = S.IDLE, False, lambda: None
    assert device.run(15).outcomes[-1] == "verified"


def test_a_window_that_closes_before_the_permit_stops_it_and_one_that_closes_later_does_not() -> (
    None
):
    bedside = Bedside()
    begin_s = bedside.wall_s or 0
    window = Window(begin_s, begin_s + 90 + 18)

    def wait() -> None:
        bedside.wall_s = window.closes_s - 89

    device = ready(bedside=bedside, windows_here=(window,), on_permit=wait).run()
    assert device.told[-1].waits_for is WaitsFor.WINDOW
    device = ready(windows_here=(Window(begin_s, begin_s + 90 + 18),)).run()
    assert device.outcomes[-1] == "verified"


def test_windows_of_the_device_and_of_the_director_must_both_be_open() -> None:
    begin_s = Bedside().wall_s or 0
    here, there = Window(begin_s, begin_s + 1_000), Window(begin_s + 5_000, begin_s + 9_000)
    device = ready(windows_here=(here,), assigned=(there,)).run()
    assert device.told[-1].waits_for is WaitsFor.WINDOW
    device.windows_here = (Window(begin_s, begin_s + 9_000),)
    assert device.run().told[-1].waits_for is WaitsFor.WINDOW
    device.bedside.wall_s = there.opens_s
    assert device.run().outcomes[-1] == "verified"


def test_an_assigned_window_needs_trusted_time() -> None:
    begin_s = Bedside().wall_s or 0
    device = ready(assigned=(Window(begin_s, begin_s + 9_000),), bedside=Bedside(wall_s=None))
    assert device.run().told[-1].waits_for is WaitsFor.TIME


def test_a_pump_with_a_paused_infusion_waits() -> None:
    bedside = Bedside(occupied=frozenset({Occupied.INFUSION_PAUSED}))
    device = ready(bedside=bedside, states=ONLY_IDLE).run()
    assert device.told[-1].waits_for is WaitsFor.CLINICAL_STATE
    bedside.occupied = frozenset()
    assert device.run().outcomes[-1] == "verified"


def test_only_a_person_at_the_device_says_now() -> None:
    device = ready(consent=True).run()
    assert device.told[-1].waits_for is WaitsFor.CONSENT
    assert device.agent.asks
    device.agent.postpone()
    assert not device.agent.asks
    with pytest.raises(SafetyRefusal):
        device.agent.confirm()
    device.now_s += 10**6
    assert device.run().version == SHIPPED
    device.agent.confirm()
    assert device.run().outcomes[-1] == "verified"


def test_postponed_too_often_it_still_waits() -> None:
    device = ready(consent=True).run()
    for _ in range(4):
        device.agent.postpone()
        device.now_s += 10_000
        device.run(2)
    with pytest.raises(SafetyRefusal, match="too often"):
        device.agent.postpone()
    assert device.run(30).version == SHIPPED


def test_ready_reserve_is_touched_only_out_of_service_and_remembers_who_took_it() -> None:
    device = ready(reserve=True).run()
    assert device.told[-1].waits_for is WaitsFor.OUT_OF_SERVICE
    device.agent.out_of_service("S. Weber")
    again = Device(disk=device.disk, offered=[RELEASE], reserve=True)
    assert again.agent.memory.out_of_service == "S. Weber"
    assert again.run().outcomes[-1] == "verified"


def test_what_the_director_takes_back_is_not_installed() -> None:
    device = ready(bedside=Bedside(alarms=1)).run()
    device.offered = None
    assert device.run().outcomes[-1] == "waiting"
    device.offered = []
    assert device.run().outcomes[-1] == "withdrawn"
    device.bedside.alarms = 0
    assert device.run().served == [SHIPPED]


def test_what_may_have_been_taken_back_waits_for_an_answer() -> None:
    device = ready(bedside=Bedside(alarms=1)).run()
    device.bedside.alarms, device.offered = 0, None
    assert device.run().told[-1].waits_for is WaitsFor.CONNECTIVITY


def test_a_version_without_passed_self_tests_is_never_kept() -> None:
    """Goal: the supervisor's own trial is not enough; and what is not the agent's is let be."""
    device = ready()
    while device.outcomes[-1:] != ["booted"]:
        device.run(1)
    with pytest.raises(AsepsisError):
        device.agent.keeps("network", "1.2")
    with pytest.raises(AsepsisError):
        device.agent.begins("network", "1.2")
    device.agent.keeps("network", "7")
    device.agent.begins("timekeeper", "7")
    assert device.confirmed("network") == SHIPPED


def test_reboot_debt_stays_visible_until_the_next_start() -> None:
    first = Device(disk=disk(), offered=[target(reboot="device")]).run()
    owed = Debt(component="network", version="1.2", boot="boot-1")
    assert first.agent.memory.debts == (owed,)
    assert Device(disk=first.disk, boot="boot-1").agent.memory.debts == (owed,)
    assert Device(disk=first.disk, boot="boot-2").agent.memory.debts == ()


def test_a_device_that_falls_back_after_success_says_so() -> None:
    device = ready().run()
    spoilt = FaultyDisk({name: device.disk.read(name, 65_536) or b"" for name in (NAME, FLOORS)})
    again = Device(disk=spoilt, offered=[RELEASE])
    assert again.outcomes == ["verified", "rolled-back"]
    assert again.run().version == SHIPPED


def operations() -> int:
    found = disk()
    Device(disk=found, offered=[RELEASE]).run()
    return found.operations


def after(found: FaultyDisk) -> Device:
    """Start the device anew on what the power left, and let it go on."""
    device = Device(disk=found, offered=[RELEASE], boot="boot-2")
    confirmed = StateStore(found).load().version("network")
    assert device.version == confirmed, "it starts with what was confirmed"
    return device


@pytest.mark.parametrize("measured", [60.0, 0.0], ids=["good", "bad"])
def test_a_power_cut_at_every_operation_leaves_the_old_or_a_verified_release(
    measured: float,
) -> None:
    """Goal: never neither; nothing unverified starts; the floor never runs ahead; it ends well."""
    states = 0
    for cut in range(1, operations() + 1):
        broken = disk(cut_at=cut)
        with contextlib.suppress(PowerCut):
            Device(disk=broken, offered=[RELEASE], measured=measured).run(14)
        for found in broken.after_cut():
            states += 1
            device = after(found)
            memory = device.agent.memory
            tested = memory.held is not None and memory.held.tests
            assert device.version == SHIPPED or (measured == 60.0 and tested)
            assert Floors(found).of("network") == 0 or device.version == "1.2"
            device.measured = measured
            device.run(16)
            assert device.outcomes[-1] in {"verified", "rolled-back"}
            verified = device.outcomes[-1] == "verified"
            assert (device.version == "1.2") is verified
            assert measured == 60.0 or not verified
            assert (Floors(found).of("network") == 2) is verified
    assert states > operations()


def test_a_disk_that_forgets_flushes_is_found_out() -> None:
    """Goal: the test above can fail."""
    broken = FaultyDisk({FLOORS: b"{}"}, forget_flushes=True)
    Device(disk=broken, offered=[RELEASE])
    MemoryStore(broken).save(Memory())
    lost = 0
    for found in broken.after_cut():
        try:
            lost += MemoryStore(found).load() == Memory()
        except FramingError:
            lost += 1
    assert lost


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_at_any_operation_does_no_harm(error: int) -> None:
    """Goal: full disk at every write: old or verified, and it goes on once there is room."""
    for failing in range(3, operations() + 1):
        broken = FaultyDisk({FLOORS: b"{}"}, fail_at=failing, error=error)
        try:
            device = Device(disk=broken, offered=[RELEASE])
        except AsepsisError:
            continue  # What cannot be read at the start installs nothing.
        device.run(30)
        assert device.outcomes[-1] in {"verified", "rolled-back"}, failing
        assert (device.version == "1.2") is (device.outcomes[-1] == "verified")


def test_a_damaged_memory_installs_nothing() -> None:
    with pytest.raises(FramingError):
        Device(disk=FaultyDisk({NAME: b"{}\nx\n", ASIDE: b""}), offered=[RELEASE])


memories = st.builds(
    Memory,
    number=st.integers(0, 2**40),
    held=st.none()
    | st.builds(
        Held,
        target=st.just(RELEASE),
        outcome=st.sampled_from(Outcome),
        waits_for=st.none() | st.sampled_from(WaitsFor),
        reason=st.text(max_size=20),
        before=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
    ),
    ended=st.dictionaries(st.text(max_size=9), st.sampled_from(Outcome), max_size=3),
    debts=st.lists(
        st.builds(Debt, component=st.text(), version=st.text(), boot=st.text()), max_size=3
    ).map(tuple),
    out_of_service=st.text(max_size=9),
)


@given(memories)
def test_the_memory_is_read_as_it_was_written(memory: Memory) -> None:
    assert decode(encode(memory)) == memory


@given(st.data())
def test_other_bytes_are_no_memory(data: st.DataObject) -> None:
    whole = encode(replace(Memory(), held=Held(target=RELEASE)))
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes((whole[at] ^ data.draw(st.integers(1, 255)),)) + whole[at + 1 :]
    for spoilt in (changed, whole[:at], whole + b"x", data.draw(st.binary(max_size=99))):
        with pytest.raises(FramingError):
            decode(spoilt)
