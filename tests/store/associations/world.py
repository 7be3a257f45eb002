"""A ward as it really was, and the messages that tell of it: late, twice, in any order, or wrong.

The *truth* is which patient was at which device when. The hub never sees it: it gets ADT messages,
signed clinical states, and people who look at a bed and confirm what they see. Afterwards, and at
moments in between, every value that arrived is charted by the hub's history and held against the
truth. Times are whole seconds.

What the ward does is what wards do: patients come, move, swap, leave; clerks admit, transfer and
discharge by mistake and take it back; pumps go along with somebody else and nobody tells; monitors
are cleaned, switched off, cut off from the network. What it does not do: put a patient into a bed
that a clerk holds for another by mistake, before that mistake was taken back.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from asepsis.core.model.association import Association
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.patient import PatientId, Place

SECOND_NS = 1_000_000_000
VALUE_EVERY_S = 20
BEDS = 4
PATIENTS = 7
PUMPS = 3


class HubFace(Protocol):
    """What the world can do to a hub, and ask it."""

    def at(self, now_s: int) -> None: ...
    def adt(self, body: "Told") -> None: ...
    def sighted(self, device: str, epoch: int, state: ClinicalState, at_s: int) -> None: ...
    def switched_on(self, device: str, epoch: int, at_s: int, last_s: int) -> None: ...
    def out_of_sight(self, device: str, at_s: int) -> None: ...
    def seen_whole(self, device: str) -> None: ...
    def place(self, device: str, place: Place | None, *, fixed: bool) -> None: ...
    def now(self, device: str) -> Association | None: ...
    def proposals(self, device: str) -> list[Association]: ...
    def confirm(self, association: str) -> None: ...
    def reject(self, association: str) -> None: ...
    def end(self, association: str) -> None: ...
    def associate(self, device: str, patient: PatientId) -> None: ...
    def history(self, device: str) -> list[Association]: ...
    def restart(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Told:
    """One ADT message: trigger, (patient, place) pairs, entered, happened, merged or robbed."""

    trigger: str
    who: tuple[tuple[PatientId, Place | None], ...]
    entered_s: int
    happened_s: int | None
    merged: PatientId | None = None


@dataclass(slots=True)
class Device:
    """A device as it really is."""

    name: str
    bed: Place | None
    fixed: bool
    speaks: bool
    patient: PatientId | None = None
    epoch: int = 1
    cut_until: int = 0
    held_back: list[tuple[int, Callable[[], None]]] = field(
        default_factory=list[tuple[int, Callable[[], None]]]
    )
    jumped: bool = False
    seen_s: int = 0
    attached: list[tuple[int, PatientId | None]] = field(
        default_factory=list[tuple[int, PatientId | None]]
    )
    values: list[tuple[int, PatientId]] = field(default_factory=list[tuple[int, PatientId]])


@dataclass(slots=True)
class Tally:
    """What came of the values of some histories."""

    right: int = 0
    unassigned: int = 0
    wrong: int = 0
    wrong_for_now: int = 0

    def add(self, other: "Tally") -> None:
        """Add the counts of another history."""
        self.right += other.right
        self.unassigned += other.unassigned
        self.wrong += other.wrong
        self.wrong_for_now += other.wrong_for_now


class World:
    """One seeded history, played against a hub."""

    def __init__(self, hub: HubFace, seed: int, *, ward: str, start_s: int) -> None:
        self.hub = hub
        self.rng = random.Random(seed)
        self.now = start_s
        self.ward = ward
        self.tally = Tally()
        self.findings: list[str] = []
        self.beds = [Place(ward, "1", str(n)) for n in range(BEDS)]
        self.patients = [PatientId(f"{seed}-{n}", "MRN") for n in range(PATIENTS)]
        self.where: dict[PatientId, Place] = {}
        self.blocked: dict[Place, int] = {}
        self.entered: dict[PatientId, int] = {}
        self.called: dict[PatientId, PatientId] = {}  # Whose number ADT uses for somebody.
        self.person: dict[PatientId, PatientId] = {}  # Whom a number that was given later is of.
        self.misbooked: set[PatientId] = set()
        self.queue: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        base = seed * 64
        self.devices = [
            Device(f"urn:dev:mac:{base + n:016x}", bed, fixed=True, speaks=n % 2 == 0)
            for n, bed in enumerate(self.beds)
        ] + [
            Device(f"urn:dev:mac:{base + 32 + n:016x}", self.beds[n], fixed=False, speaks=True)
            for n in range(PUMPS)
        ]
        hub.at(self.now)
        for device in self.devices:
            hub.place(device.name, device.bed, fixed=device.fixed)
            if device.speaks:
                self.state(device, ClinicalState.IDLE)

    # Who is called what.

    def name(self, patient: PatientId) -> PatientId:
        """Return the identifier that ADT uses for a person now."""
        return self.called.get(patient, patient)

    def whose(self, name: PatientId) -> PatientId:
        """Return the person whose identifier this really is."""
        return self.person.get(name, name)

    def fresh_name(self, patient: PatientId) -> PatientId:
        """Give a person an identifier that nobody has."""
        name = PatientId(f"{patient.value}-{len(self.person)}", "MRN")
        self.person[name] = patient
        self.called[patient] = name
        return name

    # Time and messages.

    def later(self, after_s: int, what: Callable[[], None]) -> None:
        """Have something happen."""
        self._number += 1
        self.queue.append((self.now + max(after_s, 0), self._number, what))
        self.queue.sort(key=lambda one: one[:2])

    def pass_s(self, seconds: int) -> None:
        """Let time pass: what is due happens, and devices measure."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1
            self.hub.at(self.now)
            while self.queue and self.queue[0][0] <= self.now:
                self.queue.pop(0)[2]()
            if self.now % VALUE_EVERY_S == 0:
                for device in self.devices:
                    if device.patient is not None:
                        self._measure(device)

    def tell(self, trigger: str, *who: tuple[PatientId, Place | None], happened_s: int) -> int:
        """Send an ADT message, as unreliably as they come; return when it surely has arrived."""
        who = tuple((self.name(one), place) for one, place in who)
        with_time = self.rng.random() < 0.8
        entered = self.now if not with_time else self.now + self.rng.randrange(40)
        # Nobody is transferred before they were admitted: entries about one patient are in order.
        entered = max(entered, *(self.entered.get(one, 0) + 1 for one, _ in who))
        self.entered |= {one: entered for one, _ in who}
        happened = happened_s if with_time or entered != self.now else None
        told = Told(trigger, who, entered, happened)
        delay = entered - self.now + self.rng.choice((0, 1, 2, 5, 30, 200, 900))
        self.later(delay, lambda: self.hub.adt(told))
        if self.rng.random() < 0.2:
            delay += self.rng.randrange(1_200)
            self.later(delay, lambda: self.hub.adt(told))
        return self.now + delay

    def cancel(self, trigger: str, who: PatientId, place: Place | None, *, of_s: int) -> int:
        """Take something back: EVN-2 says when, EVN-6 what."""
        who = self.name(who)
        entered = max(self.now, self.entered.get(who, 0) + 1)
        self.entered[who] = entered
        told = Told(trigger, ((who, place),), entered, of_s if self.rng.random() < 0.7 else None)
        delay = entered - self.now + self.rng.choice((0, 1, 5, 60, 600))
        self.later(delay, lambda: self.hub.adt(told))
        return self.now + delay

    def rename(
        self,
        trigger: str,
        patient: PatientId,
        place: Place | None,
        *,
        old: PatientId,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Say that a person, or their visit, had a wrong identifier; `then` when it is known."""
        name = self.name(patient)
        entered = max(self.now, *(self.entered.get(one, 0) + 1 for one in (name, old)))
        self.entered |= {name: entered, old: entered}
        told = Told(trigger, ((name, place),), entered, None, old)

        def arrive() -> None:
            self.hub.adt(told)
            then()

        delay = entered - self.now + self.rng.choice((0, 1, 5, 60, 600))
        self.later(delay, arrive)
        if self.rng.random() < 0.3:
            self.later(delay + self.rng.randrange(1_200), lambda: self.hub.adt(told))

    # Devices.

    def state(self, device: Device, state: ClinicalState) -> None:
        """Let a device sign a state."""
        if not device.speaks:
            return
        at, epoch = self.now, device.epoch
        self._send(device, lambda: self.hub.sighted(device.name, epoch, state, at))

    def attach(self, device: Device, patient: PatientId | None) -> None:
        """Put a patient on a device, or take them off."""
        device.patient = patient
        device.attached.append((self.now, patient))
        self.state(device, ClinicalState.IDLE if patient is None else ClinicalState.IN_USE)

    def cut(self, device: Device, seconds: int) -> None:
        """Cut a device's link: what it signs waits; afterwards the present comes first."""
        if not device.speaks or device.cut_until > self.now:
            return
        device.cut_until = self.now + seconds
        self.later(seconds, lambda: self._back(device))

    def power_cycle(self, device: Device) -> None:
        """Switch a device off and on, its patient with it or not."""
        if not device.speaks or device.cut_until > self.now:
            return
        last = device.seen_s or self.now
        device.epoch += 1
        at, epoch, patient = self.now, device.epoch, device.patient
        state = ClinicalState.IDLE if patient is None else ClinicalState.IN_USE
        self.hub.switched_on(device.name, epoch, at, last)
        self.hub.sighted(device.name, epoch, state, at)

    def _measure(self, device: Device) -> None:
        assert device.patient is not None
        value = self.now, device.patient
        self._send(device, lambda: device.values.append(value))

    def _send(self, device: Device, arrive: Callable[[], None]) -> None:
        if device.cut_until > self.now or (device.held_back and not device.jumped):
            device.held_back.append((self.now, arrive))
            return
        device.seen_s = self.now
        arrive()

    def _back(self, device: Device) -> None:
        if device.cut_until > self.now:
            return
        # The first live batch after the gap: its state, then the hub finds that some are missing.
        device.jumped = bool(device.held_back)
        if not device.held_back:
            return
        state = ClinicalState.IDLE if device.patient is None else ClinicalState.IN_USE
        self.hub.sighted(device.name, device.epoch, state, self.now)
        self.hub.out_of_sight(device.name, self.now)
        device.seen_s = self.now
        self.later(self.rng.choice((2, 30, 300)), lambda: self._drain(device))

    def _drain(self, device: Device) -> None:
        if device.cut_until > self.now:
            # Cut again before the backlog went: both are missing now.
            self.later(device.cut_until - self.now + 2, lambda: self._drain(device))
            return
        waiting, device.held_back, device.jumped = device.held_back, [], False
        for _, arrive in waiting:
            arrive()
        self.hub.seen_whole(device.name)

    # Reading.

    def read(self, *, last: bool) -> None:
        """Chart every value that has arrived, and hold it against the truth."""
        for device in self.devices:
            held = self.hub.history(device.name)
            for one, other in pairwise(held):
                assert one.end_ns is not None, "two patients on one device"
                assert one.end_ns <= other.start_ns, "two patients on one device"
            for at_s, patient in device.values:
                charted = [a for a in held if a.covers(at_s * SECOND_NS)]
                self._judge(device, (at_s, patient), charted, last=last)

    def _judge(
        self,
        device: Device,
        value: tuple[int, PatientId],
        charted: list[Association],
        *,
        last: bool,
    ) -> None:
        at_s, truth = value
        if charted and self.whose(charted[0].patient) != truth:
            if last or (device.speaks and truth not in self.misbooked):
                self.tally.wrong += 1
                self.findings.append(
                    f"{device.name} at {at_s}, read at {self.now}: {charted[0]} instead of {truth}"
                )
            else:
                # Until ADT tells: this device says nothing, or ADT said that it is somebody else.
                self.tally.wrong_for_now += 1
        elif last and charted:
            self.tally.right += 1
        elif last:
            self.tally.unassigned += 1
