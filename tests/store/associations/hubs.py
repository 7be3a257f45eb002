"""Two hubs for the world: the rules on a scene in memory, and the service on a database."""

import itertools
from typing import Any

from asepsis.core.mapping.adt import AdtEvent, AdtPatient
from asepsis.core.mapping.sender_time import TimeSpan
from asepsis.core.model.association import Association, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.patient import PatientId, Place
from asepsis.hub.registry.associations import acts, movements, sightings
from asepsis.hub.registry.associations.records import Touched
from asepsis.hub.registry.associations.scene import Scene

from .conftest import Ward
from .world import SECOND_NS, Told

NURSE = "person:nurse"


def _span(seconds: int | None) -> TimeSpan | None:
    if seconds is None:
        return None
    return TimeSpan(seconds * SECOND_NS, seconds * SECOND_NS + SECOND_NS - 1)


def event_of(told: Told) -> AdtEvent:
    """Return what a message says, as the reader of ADT would."""
    return AdtEvent(
        trigger=told.trigger,
        control_id="1",
        recorded=_span(told.entered_s),
        occurred=_span(told.happened_s),
        patients=tuple(
            AdtPatient(ids=(who,), place=place, merged=(told.merged,) if told.merged else ())
            for who, place in told.who
        ),
    )


class SceneHub:
    """Everything in one scene: quick, and the rules alone."""

    def __init__(self, ward: str) -> None:
        numbers = itertools.count()
        self.scene = Scene(now_ns=0, fresh_id=lambda: f"{next(numbers)}")
        self.scene.rules[ward] = 0

    def at(self, now_s: int) -> None:
        self.scene.now_ns = now_s * SECOND_NS

    def adt(self, body: Told) -> None:
        event = event_of(body)
        moves: list[movements.Movement] = []
        for one in event.patients:
            movements.learn(self.scene, one.ids[0], one)
            move = movements.movement(event, one, one.ids[0], arrived_ns=self.scene.now_ns)
            assert move is not None
            moves.append(move)
        movements.apply(self.scene, moves)

    def sighted(self, device: str, epoch: int, state: ClinicalState, at_s: int) -> None:
        sightings.sighted(self.scene, device, epoch=epoch, state=state, at_ns=at_s * SECOND_NS)

    def switched_on(self, device: str, epoch: int, at_s: int, last_s: int) -> None:
        sightings.switched_on(
            self.scene, device, epoch=epoch, at_ns=at_s * SECOND_NS, last_ns=last_s * SECOND_NS
        )

    def out_of_sight(self, device: str, at_s: int) -> None:
        sightings.out_of_sight(self.scene, device, at_ns=at_s * SECOND_NS)

    def seen_whole(self, device: str) -> None:
        sightings.seen_whole(self.scene, device)

    def place(self, device: str, place: Place | None, *, fixed: bool) -> None:
        acts.place_device(self.scene, device, place, fixed=fixed)

    def now(self, device: str) -> Association | None:
        return self.scene.confirmed(device)

    def proposals(self, device: str) -> list[Association]:
        return self.scene.proposals(device)

    def confirm(self, association: str) -> None:
        acts.confirm(self.scene, association, actor=NURSE, basis=Basis.PERSON)

    def reject(self, association: str) -> None:
        acts.reject(self.scene, association, reason="not this patient")

    def end(self, association: str) -> None:
        acts.end(self.scene, association, reason="another patient is on it")

    def associate(self, device: str, patient: PatientId) -> None:
        made = acts.propose(self.scene, device, patient, actor=NURSE, basis=Basis.PERSON)
        acts.confirm(self.scene, made.id, actor=NURSE, basis=Basis.PERSON)

    def history(self, device: str) -> list[Association]:
        return self.scene.held(device=device)

    def restart(self) -> None:
        """Nothing is kept but the scene."""


class StoreHub:
    """The service on a database; a restart forgets what is not in it."""

    def __init__(self, ward: Ward, name: str) -> None:
        self.ward = ward
        self._run(self.service.set_ward_rule(name, follow_adt=True, actor=NURSE))

    @property
    def service(self) -> Any:
        return self.ward.service

    def _run(self, work: Any) -> Any:
        return self.ward.run(work)

    def at(self, now_s: int) -> None:
        self.ward.clock.now_ns = now_s * SECOND_NS

    def adt(self, body: Told) -> None:
        event, hub = event_of(body), self.ward

        def decide(scene: Scene) -> None:
            moves: list[movements.Movement] = []
            for one in event.patients:
                movements.learn(scene, one.ids[0], one)
                move = movements.movement(event, one, one.ids[0], arrived_ns=hub.clock())
                assert move is not None
                moves.append(move)
            movements.apply(scene, moves)

        touched = Touched(
            patients=[*(who for who, _ in body.who), *([body.merged] if body.merged else [])],
            places=[place for _, place in body.who if place is not None],
        )
        self._run(self.service.change(touched, decide, actor="adt:test"))

    def sighted(self, device: str, epoch: int, state: ClinicalState, at_s: int) -> None:
        self._run(self.service.sighted(device, epoch=epoch, state=state, at_ns=at_s * SECOND_NS))

    def switched_on(self, device: str, epoch: int, at_s: int, last_s: int) -> None:
        self._run(
            self.service.switched_on(
                device, epoch=epoch, at_ns=at_s * SECOND_NS, last_ns=last_s * SECOND_NS
            )
        )

    def out_of_sight(self, device: str, at_s: int) -> None:
        self._run(self.service.out_of_sight(device, at_ns=at_s * SECOND_NS))

    def seen_whole(self, device: str) -> None:
        self._run(self.service.seen_whole(device))

    def place(self, device: str, place: Place | None, *, fixed: bool) -> None:
        self.ward.place(device, place, fixed=fixed)

    def now(self, device: str) -> Association | None:
        return self.ward.book.now(device)

    def proposals(self, device: str) -> list[Association]:
        return [one for one in self.ward.book.proposals() if one.device == device]

    def confirm(self, association: str) -> None:
        self._run(self.service.confirm(association, actor=NURSE))

    def reject(self, association: str) -> None:
        self._run(self.service.reject(association, actor=NURSE, reason="not this patient"))

    def end(self, association: str) -> None:
        self._run(self.service.end(association, actor=NURSE, reason="another patient is on it"))

    def associate(self, device: str, patient: PatientId) -> None:
        self._run(self.service.associate(device, patient, actor=NURSE))

    def history(self, device: str) -> list[Association]:
        return self.ward.held(device)

    def restart(self) -> None:
        self.ward.restart()
