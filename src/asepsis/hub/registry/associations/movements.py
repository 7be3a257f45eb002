"""ADT events applied to a scene. Pure; each event may come late, twice or in any order.

Two clocks stand in every event: when it was *entered* (EVN-2) and when it *happened* (EVN-6). Of
two entries about one patient the later one is the newer word; what it says holds from when it
happened. An entry that is older than the newest word opens nothing and confirms nothing. Ends are
different: an entry that takes a patient away from a bed always cuts what it contradicts, however
late it comes, because a gap is harmless and a wrong chart is not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from asepsis.core.mapping.adt import AdtEvent, AdtPatient
from asepsis.core.mapping.sender_time import TimeSpan
from asepsis.core.model.association import Basis
from asepsis.core.model.patient import PatientId, Place
from asepsis.hub.registry.associations import merges
from asepsis.hub.registry.associations.rules import (
    COARSE_NS_MAX,
    EFFECTS,
    FUTURE_NS_MAX,
    LEAVING,
    PROMPT_NS_MAX,
    Effect,
    Reason,
)
from asepsis.hub.registry.associations.scene import KnownPatient, Scene, Stay
from asepsis.hub.registry.associations.settle import settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One patient's part of an ADT event, with its times judged.

    Attributes:
        effect: What it does here.
        patient: The chosen identifier.
        place: Where the patient is by this event; None if it does not say.
        merged: Identifiers that became this one, or that a visit was taken from.
        entered_ns: When it was entered; orders entries about one patient.
        begins_ns: First moment after everything that its time can mean: from here it may hold.
        event_ns: First moment that its time can mean.
        leaves_ns: From here the patient is no longer where they were.
        target_ns: For a cancellation, `event_ns` of what is cancelled; None if it does not say.
        certain: Whether it is fresh, and its order and time beyond doubt; if not it only proposes.
        leaving: Why associations end if it takes the patient away.
    """

    effect: Effect
    patient: PatientId
    place: Place | None
    merged: tuple[PatientId, ...]
    entered_ns: int
    begins_ns: int
    event_ns: int
    leaves_ns: int
    target_ns: int | None
    certain: bool
    leaving: Reason


CANCELS: Final = frozenset({Effect.CANCEL_ARRIVE, Effect.CANCEL_MOVE, Effect.CANCEL_LEAVE})


def movement(
    event: AdtEvent, one: AdtPatient, patient: PatientId, *, arrived_ns: int
) -> Movement | None:
    """Judge one patient's part of an event; None if its trigger is not handled.

    Args:
        event: The message.
        one: The patient.
        patient: The identifier to go by.
        arrived_ns: When the hub or its gateway got the message.
    """
    effect = EFFECTS.get(event.trigger)
    if effect is None:
        return None
    cancels = effect in CANCELS
    happened = event.recorded if cancels else event.occurred or event.recorded
    entered = event.recorded or event.occurred
    if happened is None or entered is None or happened.latest_ns > arrived_ns + FUTURE_NS_MAX:
        happened, certain = None, False
    else:
        prompt = arrived_ns - entered.latest_ns <= PROMPT_NS_MAX
        certain = prompt and not happened.ambiguous and not entered.ambiguous
    return Movement(
        effect=effect,
        patient=patient,
        place=one.place,
        merged=tuple(old for old in one.merged if old not in one.ids),
        entered_ns=_entered_ns(entered, arrived_ns),
        begins_ns=happened.latest_ns + 1 if happened else arrived_ns,
        event_ns=happened.earliest_ns if happened else arrived_ns,
        leaves_ns=_leaves_ns(happened, arrived_ns),
        target_ns=event.occurred.earliest_ns if cancels and event.occurred else None,
        certain=certain,
        leaving=LEAVING.get(event.trigger, Reason.DISCHARGE),
    )


def apply(scene: Scene, moves: Sequence[Movement]) -> None:
    """Apply the movements of one event: all leave before anybody arrives, as in a swap."""
    touched: dict[Place, None] = {}
    moves = [_rooted(scene, move) for move in moves]
    for move in moves:
        for patient in (move.patient, *move.merged):
            for stay in scene.stays_of(patient):
                touched[stay.place] = None
        _DEPART[move.effect](scene, move)
    for move in moves:
        for stay in _ARRIVE[move.effect](scene, move):
            touched[stay.place] = None
        _note_entry(scene, move)
    for place in touched:
        settle(scene, place)


def learn(scene: Scene, patient: PatientId, one: AdtPatient) -> None:
    """Remember who a patient is; an event without a name takes none away."""
    known = scene.patients.get(patient) or KnownPatient(id=patient)
    scene.patients[patient] = replace(
        known, name=one.name or known.name, birth_date=one.birth_date or known.birth_date
    )


def _rooted(scene: Scene, move: Movement) -> Movement:
    """Go by the identifier that goes on; news about one that is used no more only proposes.

    It may have been under way since before the merge; or somebody else has got the number.
    """
    root = scene.root(move.patient)
    return move if root == move.patient else replace(move, patient=root, certain=False)


def _merge(scene: Scene, move: Movement) -> None:
    for old in move.merged:
        merges.merge(scene, old, move.patient)


def _move_visit(scene: Scene, move: Movement) -> None:
    for old in move.merged:
        if not scene.same(old, move.patient):
            merges.move_visit(
                scene, old, place=move.place, at_ns=move.leaves_ns, entered_ns=move.entered_ns
            )


def _entered_ns(entered: TimeSpan | None, arrived_ns: int) -> int:
    # A clock that runs ahead must not make every later entry look old.
    return min(entered.earliest_ns, arrived_ns) if entered else arrived_ns


def _leaves_ns(happened: TimeSpan | None, arrived_ns: int) -> int:
    if happened is None or happened.latest_ns - happened.earliest_ns > COARSE_NS_MAX:
        return arrived_ns
    return min(happened.earliest_ns, arrived_ns)


def _entries_ns(scene: Scene, patient: PatientId) -> int:
    """Return the newest entry about a patient under every identifier, 0 for none."""
    entries = (k.recorded_ns for p, k in scene.patients.items() if scene.same(p, patient))
    return max(entries, default=0)


def _newest(scene: Scene, move: Movement) -> bool:
    return move.entered_ns >= _entries_ns(scene, move.patient)


def _note_entry(scene: Scene, move: Movement) -> None:
    known = scene.patients.get(move.patient) or KnownPatient(id=move.patient)
    if move.effect not in (Effect.UPDATE, Effect.MERGE):
        known = replace(known, recorded_ns=max(known.recorded_ns, move.entered_ns))
    scene.patients[move.patient] = known


def _nothing(_scene: Scene, _move: Movement) -> Sequence[Stay]:
    return ()


def _leave_others(scene: Scene, move: Movement) -> None:
    """Whoever is in a new bed is no longer in another."""
    _leave(scene, move, keep=move.place, reason=Reason.TRANSFER)


def _leave_all(scene: Scene, move: Movement) -> None:
    _leave(scene, move, keep=None, reason=move.leaving)


def _leave(scene: Scene, move: Movement, *, keep: Place | None, reason: Reason) -> None:
    """End stays and associations of a patient that hold when the patient goes."""
    newest, at_ns = _newest(scene, move), move.leaves_ns
    for stay in scene.stays_of(move.patient):
        if stay.place == keep:
            continue
        if stay.contains(at_ns) or (newest and stay.open):
            # Of one that began after it, the newest word leaves nothing.
            scene.stays[stay.id] = replace(stay, end_ns=max(at_ns, stay.event_ns))
    for one in scene.held(patient=move.patient):
        if one.place is not None and one.place == keep:
            continue
        ends = one.covers(at_ns) or (newest and one.end_ns is None)
        if ends and one.basis is not Basis.LATE:
            scene.end(one, at_ns, reason)
    if newest:
        scene.reject([p for p in scene.waiting_for(move.patient) if p.place != keep], reason)


def _cancel_arrival(scene: Scene, move: Movement) -> None:
    """The patient never came: what followed from it never was."""
    target = _cancelled(scene, move)
    if target is None:
        if _newest(scene, move):
            _leave(scene, move, keep=None, reason=Reason.CANCELLED)
        return
    _void(scene, target, move)


def _cancel_move(scene: Scene, move: Movement) -> None:
    """The patient never left: the new place never was, and they are back in the old one."""
    target = _cancelled(scene, move)
    if target is not None and target.place != move.place:
        _void(scene, target, move)
    if _newest(scene, move):
        _leave(scene, move, keep=move.place, reason=Reason.CANCELLED)


def _cancelled(scene: Scene, move: Movement) -> Stay | None:
    """Find the stay that a cancellation takes back: by its time, else the one that goes on."""
    stays = scene.stays_of(move.patient)
    if move.target_ns is not None:
        named = [stay for stay in stays if stay.event_ns == move.target_ns]
        if len(named) == 1:
            return named[0]
    if not _newest(scene, move):
        return None
    going_on = [stay for stay in stays if stay.open]
    wanted = (
        going_on
        if move.effect is Effect.CANCEL_MOVE or move.place is None
        else [stay for stay in going_on if stay.place == move.place]
    )
    return wanted[-1] if len(wanted) == 1 else None


def _void(scene: Scene, target: Stay, move: Movement) -> None:
    scene.stays[target.id] = replace(target, cancelled=True, end_ns=target.event_ns)
    for one in scene.held(patient=move.patient):
        if one.place != target.place or one.start_ns < target.start_ns:
            continue
        if one.basis is Basis.WARD_RULE:
            scene.end(one, one.start_ns, Reason.CANCELLED)  # From its start: it never held.
        elif one.basis is not Basis.LATE:
            scene.end(one, move.leaves_ns, Reason.CANCELLED)


def _arrive(scene: Scene, move: Movement) -> Sequence[Stay]:
    """Open the new stay; an older word only leaves its trace, closed by what came after it."""
    if move.place is None:
        return ()
    stays = scene.stays_of(move.patient)
    if any(s.place == move.place and s.event_ns == move.event_ns for s in stays):
        return ()  # Said before.
    if _was_cancelled(scene, move):
        return ()
    entries_ns = _entries_ns(scene, move.patient)
    later = [s.event_ns for s in stays if s.event_ns > move.event_ns]
    stale = move.entered_ns < entries_ns
    contradicts = move.entered_ns == entries_ns and bool(stays) and entries_ns > 0
    end_ns = None
    if stale:
        end_ns = max(move.event_ns, min(later, default=entries_ns))
    else:
        _close_same_place(scene, move)
    stay = Stay(
        id=scene.fresh_id(),
        patient=move.patient,
        place=move.place,
        event_ns=move.event_ns,
        start_ns=move.begins_ns,
        end_ns=end_ns,
        certain=move.certain and not contradicts and not later,
        cancelled=False,
    )
    scene.stays[stay.id] = stay
    return (stay,)


def _close_same_place(scene: Scene, move: Movement) -> None:
    """Split a stay where the patient is said to be in the same bed again.

    A discharge between the two that comes later still ends the first.
    """
    for stay in scene.stays_of(move.patient):
        if stay.open and stay.place == move.place:
            scene.stays[stay.id] = replace(stay, end_ns=max(move.event_ns, stay.event_ns))


def _was_cancelled(scene: Scene, move: Movement) -> bool:
    return any(
        s.cancelled and s.place == move.place and s.event_ns == move.event_ns
        for s in scene.stays.values()
        if scene.same(s.patient, move.patient)
    )


def _arrive_to_ask(scene: Scene, move: Movement) -> Sequence[Stay]:
    """Whose visit it is now is proposed, and a person at the bed decides."""
    return _arrive_if_newest(scene, replace(move, certain=False))


def _arrive_if_newest(scene: Scene, move: Movement) -> Sequence[Stay]:
    return _arrive(scene, move) if _newest(scene, move) else ()


_DEPART: Final[Mapping[Effect, Callable[[Scene, Movement], object]]] = {
    Effect.ARRIVE: _leave_others,
    Effect.LEAVE: _leave_all,
    Effect.CANCEL_ARRIVE: _cancel_arrival,
    Effect.CANCEL_MOVE: _cancel_move,
    Effect.CANCEL_LEAVE: _leave_others,
    Effect.UPDATE: _nothing,
    Effect.MERGE: _merge,
    Effect.MOVE_VISIT: _move_visit,
}
_ARRIVE: Final[Mapping[Effect, Callable[[Scene, Movement], Sequence[Stay]]]] = {
    Effect.ARRIVE: _arrive,
    Effect.LEAVE: _nothing,
    Effect.CANCEL_ARRIVE: _nothing,
    Effect.CANCEL_MOVE: _arrive_if_newest,
    Effect.CANCEL_LEAVE: _arrive_if_newest,
    Effect.UPDATE: _nothing,
    Effect.MERGE: _nothing,
    Effect.MOVE_VISIT: _arrive_to_ask,
}
