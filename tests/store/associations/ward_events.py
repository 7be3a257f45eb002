"""A ward whose ADT uses every event that is handled: the life of `ward_life` in more words."""

from collections import Counter
from collections.abc import Callable

from asepsis.core.model.patient import PatientId, Place

from .hubs import SceneHub
from .ward_life import WardLife
from .world import Told

MORE = 14
"""Steps beside those of `WardLife`."""


class CountingHub(SceneHub):
    """Counts what it is told: triggers, what came again, and what came after newer news."""

    def __init__(self, ward: str) -> None:
        super().__init__(ward)
        self.triggers: Counter[str] = Counter()
        self.repeated = 0
        self.disordered = 0
        self._told: set[Told] = set()
        self._newest: dict[PatientId, int] = {}

    def adt(self, body: Told) -> None:
        self.triggers[body.trigger] += 1
        self.repeated += body in self._told
        self._told.add(body)
        for who, _ in body.who:
            self.disordered += body.entered_s < self._newest.get(who, 0)
            self._newest[who] = max(body.entered_s, self._newest.get(who, 0))
        super().adt(body)


class FullWardLife(WardLife):
    """Plays one history with every event; names change, too."""

    away: list[PatientId]

    def steps(self) -> list[Callable[[], None]]:
        self.away = []
        more = [self.depart, self.come_back, self.change_class, self.update]
        return [*super().steps(), *more * (MORE // len(more))]

    def admit(self) -> None:
        """Somebody comes to a free bed, admitted or only registered."""
        patient, bed = self._outside(), self._free()
        if patient is None or bed is None:
            return
        self._tell_arrival(self.rng.choice(("A01", "A04")), patient, bed)
        self._settle_in(patient, bed)

    def depart(self) -> None:
        """Somebody leaves the bed for a while: for theatre, or on leave."""
        patient = self._inside()
        if patient is None or not self._may_leave(patient):
            return
        self._take_off(patient)
        bed = self.world.where.pop(patient)
        self.away.append(patient)
        trigger = self.rng.choice(("A09", "A21"))
        said: Place | None = bed if trigger == "A21" or self.rng.random() < 0.5 else None
        self.world.tell(trigger, (patient, said), happened_s=self.world.now)

    def come_back(self) -> None:
        """Who was away comes to a free bed, seldom the same."""
        bed = self._free()
        if not self.away or bed is None:
            return
        patient = self.away.pop(0)
        self._tell_arrival(self.rng.choice(("A10", "A22")), patient, bed)
        self._settle_in(patient, bed)

    def change_class(self) -> None:
        """An outpatient becomes an inpatient, or the other way: in the same bed, or in another."""
        patient = self._inside()
        if patient is None or self.world.where[patient] in self.world.blocked:
            return
        trigger = self.rng.choice(("A06", "A07"))
        bed = self._free()
        if bed is None or self.rng.random() < 0.5 or not self._may_leave(patient):
            here = self.world.where[patient]
            self.world.tell(trigger, (patient, here), happened_s=self.world.now)
            return
        self._take_off(patient)
        self._tell_arrival(trigger, patient, bed)
        self._settle_in(patient, bed)

    def update(self) -> None:
        """A clerk corrects an address; what the message says of the bed may be old."""
        patient = self.rng.choice(self.world.patients)
        place = self.rng.choice([None, *self.world.beds])
        trigger = self.rng.choice(("A08", "A28", "A31"))
        self.world.tell(trigger, (patient, place), happened_s=self.world.now)

    def _outside(self) -> PatientId | None:
        free = [p for p in self.world.patients if p not in self.world.where]
        free = [p for p in free if p not in self.away]
        return self.rng.choice(free) if free else None
