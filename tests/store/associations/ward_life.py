"""What happens on a ward: the steps of a seeded history."""

from collections.abc import Callable

from asepsis.core.errors import AsepsisError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.patient import PatientId, Place

from .world import Device, Tally, World

STEPS = 24
FOREVER_S = 1 << 40


class WardLife:
    """Plays one history.

    Args:
        world: The ward.
        names: Whether numbers of patients change, too. Then nobody leaves a bed before being put on
            its monitor, so that what is counted comes of the names alone.
        restarts: Whether the hub is restarted in the middle.
    """

    def __init__(self, world: World, *, names: bool = False, restarts: bool = True) -> None:
        self.world = world
        self.rng = world.rng
        self.names = names
        self.restarts = restarts

    def steps(self) -> list[Callable[[], None]]:
        """Return what may happen; what stands there twice happens twice as often."""
        steps = (
            [self.admit] * 6
            + [self.transfer] * 4
            + [self.swap] * 2
            + [self.discharge] * 3
            + [self.mistaken_admission, self.mistaken_transfer, self.mistaken_discharge]
            + [self.use_pump] * 4
            + [self.move_pump] * 3
            + [self.change_electrode, self.clean, self.cut, self.cut, self.switch]
            + [self.admit_unseen, self.admit_unseen]
            + [self.nurse] * 6
        )
        if self.names:
            steps += [self.admit_nameless, self.admit_nameless, self.find_name, self.find_name]
            steps += [self.correct_number, self.admit_as_another] * 2
        return steps

    def play(self) -> Tally:
        """Play the history to its end and read everything once more."""
        steps = self.steps()
        for number in range(STEPS):
            self.rng.choice(steps)()
            self.world.pass_s(self.rng.choice((20, 60, 130, 400)))
            if self.rng.random() < 0.4:
                self.world.read(last=False)
            if self.restarts and number == STEPS // 2:
                self.world.hub.restart()
        self.world.pass_s(2_400)  # Everything that is under way arrives.
        self.world.read(last=True)
        return self.world.tally

    # Patients.

    def admit(self) -> None:
        """Somebody comes to a free bed."""
        patient, bed = self._outside(), self._free()
        if patient is None or bed is None:
            return
        self._tell_arrival("A01", patient, bed)
        self._settle_in(patient, bed)

    def admit_unseen(self) -> None:
        """Somebody comes to a free bed while its monitor is out of sight."""
        bed = self._free()
        for device in self.world.devices:
            if device.fixed and device.bed == bed:
                self.world.cut(device, self.rng.choice((90, 400)))
                self.world.pass_s(self.rng.choice((5, 60)))
        self.admit()

    def transfer(self) -> None:
        """Somebody moves to a free bed, sometimes with a pump."""
        patient, bed = self._inside(), self._free()
        if patient is None or bed is None or not self._may_leave(patient):
            return
        self._take_off(patient)
        self._tell_arrival("A02", patient, bed)
        self._settle_in(patient, bed)

    def swap(self) -> None:
        """Two patients swap their beds, told as one message or as two."""
        inside = [patient for patient in sorted(self.world.where) if self._may_leave(patient)]
        if len(inside) < 2:
            return
        one, other = self.rng.sample(inside, 2)
        beds = self.world.where[one], self.world.where[other]
        if any(bed in self.world.blocked for bed in beds):
            return
        for patient in (one, other):
            self._take_off(patient)
        happened = self.world.now
        self.world.where |= {one: beds[1], other: beds[0]}
        if self.rng.random() < 0.5:
            self.world.tell("A17", (one, beds[1]), (other, beds[0]), happened_s=happened)
        else:
            self.world.tell("A02", (one, beds[1]), happened_s=happened)
            self.world.tell("A02", (other, beds[0]), happened_s=happened)
        self._settle_in(one, beds[1])
        self._settle_in(other, beds[0])

    def discharge(self) -> None:
        """Somebody goes home."""
        patient = self._inside()
        if patient is None or not self._may_leave(patient):
            return
        self._take_off(patient)
        bed = self.world.where.pop(patient)
        self.world.tell("A03", (patient, bed), happened_s=self.world.now)

    # Names.

    def admit_nameless(self) -> None:
        """Somebody comes whom nobody knows: under a number that is merged away later."""
        patient, bed = self._outside(), self._free()
        if patient is None or bed is None or patient in self.world.called:
            return
        self.world.fresh_name(patient)
        self._tell_arrival("A01", patient, bed)
        self._settle_in(patient, bed)

    def find_name(self) -> None:
        """Somebody is found to be a patient with another number: both become one."""
        for patient, name in sorted(self.world.called.items()):
            if patient not in self.world.misbooked:
                del self.world.called[patient]
                self.world.rename("A40", patient, None, old=name)
                return

    def correct_number(self) -> None:
        """Somebody gets another number."""
        patient = self._inside()
        if patient is None or patient in self.world.called:
            return
        self.world.fresh_name(patient)
        self.world.rename("A47", patient, None, old=patient)

    def admit_as_another(self) -> None:
        """A clerk books somebody's visit on somebody else, who is not there, and moves it."""
        patient, bed = self._outside(), self._free()
        others = [p for p in self.world.patients if p not in self.world.where and p != patient]
        if patient is None or bed is None or not others:
            return
        if {patient, others[0]} & {*self.world.called, *self.world.misbooked}:
            return
        self.world.called[patient] = others[0]
        self.world.misbooked |= {patient, others[0]}
        self._tell_arrival("A01", patient, bed)
        self._settle_in(patient, bed)
        self.world.pass_s(self.rng.choice((30, 300, 700)))
        del self.world.called[patient]
        self.world.rename(
            "A45",
            patient,
            self.world.where.get(patient),
            old=others[0],
            then=lambda: self.world.misbooked.difference_update({patient, others[0]}),
        )

    # Clerks.

    def mistaken_admission(self) -> None:
        """A clerk admits somebody who does not come, and takes it back."""
        patient, bed = self._outside(), self.rng.choice(self.world.beds)
        if patient is None or bed in self.world.blocked or not self._known_there(bed):
            return
        happened = self.world.now
        self.world.blocked[bed] = FOREVER_S
        self.world.tell("A01", (patient, bed), happened_s=happened)
        self._take_back("A11", patient, bed, bed, happened)

    def mistaken_transfer(self) -> None:
        """A clerk moves somebody who stays, and takes it back."""
        patient, bed = self._inside(), self.rng.choice(self.world.beds)
        if patient is None or bed in self.world.blocked or not self._known_there(bed):
            return
        stays_at, happened = self.world.where[patient], self.world.now
        if bed == stays_at:
            return
        self.world.blocked[bed] = FOREVER_S
        self.world.tell("A02", (patient, bed), happened_s=happened)
        self._take_back("A12", patient, stays_at, bed, happened)

    def mistaken_discharge(self) -> None:
        """A clerk discharges somebody who stays, and takes it back."""
        patient = self._inside()
        if patient is None:
            return
        bed, happened = self.world.where[patient], self.world.now
        if bed in self.world.blocked:
            return
        self.world.blocked[bed] = FOREVER_S
        self.world.tell("A03", (patient, bed), happened_s=happened)
        self._take_back("A13", patient, bed, bed, happened)

    def _take_back(
        self, trigger: str, patient: PatientId, place: Place, held: Place, happened: int
    ) -> None:
        """Cancel after a while; until that has arrived, nobody else comes to the held bed."""
        self.world.pass_s(self.rng.choice((30, 90, 300)))
        until = self.world.cancel(trigger, patient, place, of_s=happened)
        self.world.blocked[held] = until
        self.world.later(until - self.world.now, lambda: self._unblock(held))

    def _unblock(self, bed: Place) -> None:
        if self.world.blocked.get(bed, 0) <= self.world.now:
            self.world.blocked.pop(bed, None)

    # Devices.

    def use_pump(self) -> None:
        """A free pump is put to a patient, placed and confirmed there, or not."""
        pump, patient = self._free_pump(), self._inside()
        if pump is None or patient is None:
            return
        bed = self.world.where[patient]
        if self.rng.random() < 0.6:
            pump.bed = bed
            self.world.hub.place(pump.name, bed, fixed=False)
        self.world.attach(pump, patient)
        if self.rng.random() < 0.7:
            self.world.pass_s(5)
            self._look_at(pump)

    def move_pump(self) -> None:
        """A pump goes on to another patient; nobody tells the hub."""
        pumps = [d for d in self.world.devices if not d.fixed and d.patient is not None]
        others = [p for p in sorted(self.world.where) if pumps and p != pumps[0].patient]
        if not pumps or not others:
            return
        self.world.attach(pumps[0], None)
        self.world.pass_s(self.rng.choice((40, 200)))
        patient = self.rng.choice(others)
        if patient in self.world.where:
            self.world.attach(pumps[0], patient)

    def change_electrode(self) -> None:
        """A patient is off the monitor for moments."""
        for device in self.world.devices:
            if device.fixed and device.patient is not None:
                patient = device.patient
                self.world.attach(device, None)
                self.world.pass_s(12)
                self.world.attach(device, patient)
                return

    def clean(self) -> None:
        """A free device is cleaned."""
        free = [d for d in self.world.devices if d.patient is None]
        if free:
            device = self.rng.choice(free)
            self.world.state(device, ClinicalState.CLEANING)
            self.world.pass_s(60)
            self.world.state(device, ClinicalState.IDLE)

    def cut(self) -> None:
        """A device's link is cut, while life goes on."""
        self.world.cut(self.rng.choice(self.world.devices), self.rng.choice((30, 200, 900)))

    def switch(self) -> None:
        """A device is switched off and on."""
        device = self.rng.choice(self.world.devices)
        if not device.held_back:
            self.world.power_cycle(device)

    # People at the bedside.

    def nurse(self) -> None:
        """Look at every device that is on a patient."""
        for device in self.world.devices:
            if device.patient is not None and self.rng.random() < 0.6:
                self._look_at(device)

    def _look_at(self, device: Device) -> None:
        """Confirm what is seen, reject and end what is not."""
        hub, patient = self.world.hub, device.patient
        now = hub.now(device.name)
        if patient is None:
            return
        if now is not None and self.world.whose(now.patient) != patient:
            hub.end(now.id)
            now = None
        if now is not None:
            return
        for proposal in hub.proposals(device.name):
            if self.world.whose(proposal.patient) == patient:
                hub.confirm(proposal.id)
                return
            if self.rng.random() < 0.5:
                hub.reject(proposal.id)
        try:
            hub.associate(device.name, self._said(patient))
        except AsepsisError:
            return  # ADT has not told of the patient yet.

    def _may_leave(self, patient: PatientId) -> bool:
        """Whether a patient is on the monitor of the bed, or may leave without ever having been."""
        bed = self.world.where[patient]
        return not self.names or any(
            one.fixed and one.bed == bed and one.patient == patient for one in self.world.devices
        )

    def _said(self, patient: PatientId) -> PatientId:
        """Return what the wristband says: the person's own number, whatever a clerk booked."""
        name = self.world.name(patient)
        return name if self.world.whose(name) == patient else patient

    # Who is where.

    def _outside(self) -> PatientId | None:
        free = [p for p in self.world.patients if p not in self.world.where]
        return self.rng.choice(free) if free else None

    def _inside(self) -> PatientId | None:
        inside = sorted(self.world.where)
        return self.rng.choice(inside) if inside else None

    def _free(self) -> Place | None:
        taken = {*self.world.where.values(), *self.world.blocked}
        free = [bed for bed in self.world.beds if bed not in taken]
        return self.rng.choice(free) if free else None

    def _free_pump(self) -> Device | None:
        free = [d for d in self.world.devices if not d.fixed and d.patient is None]
        return self.rng.choice(free) if free else None

    def _known_there(self, bed: Place) -> bool:
        """Whether a clerk sees who lies there: the bed is free, or its patient came long ago."""
        monitor = next(d for d in self.world.devices if d.fixed and d.bed == bed)
        if bed not in self.world.where.values():
            return monitor.patient is None
        return monitor.patient is not None and monitor.attached[-1][0] < self.world.now - 600

    def _tell_arrival(self, trigger: str, patient: PatientId, bed: Place) -> None:
        self.world.where[patient] = bed
        self.world.tell(trigger, (patient, bed), happened_s=self.world.now)

    def _settle_in(self, patient: PatientId, bed: Place) -> None:
        """Put a patient on the monitor of the bed, after a while."""
        for device in self.world.devices:
            if device.fixed and device.bed == bed:
                self.world.later(
                    self.rng.randrange(30, 200), lambda d=device: self._put_on(d, patient)
                )

    def _put_on(self, device: Device, patient: PatientId) -> None:
        if self.world.where.get(patient) == device.bed and device.patient is None:
            self.world.attach(device, patient)

    def _take_off(self, patient: PatientId) -> None:
        for device in self.world.devices:
            if device.patient == patient and (device.fixed or self.rng.random() < 0.7):
                self.world.attach(device, None)
