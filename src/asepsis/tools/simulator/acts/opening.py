"""The ward comes to life: who holds the keys, which layers hold, who enrols, what is live."""

import time
from typing import Final
from urllib.parse import quote

from asepsis.core.errors import AsepsisError
from asepsis.core.model.patient import Place
from asepsis.edge.sandbox.layers import detect
from asepsis.tools.simulator import cast, visitor
from asepsis.tools.simulator.acts.associating import associate
from asepsis.tools.simulator.stage import Stage

LIVE_S: Final = 60.0
WHOLE_SECOND_S: Final = 1.5


def play(stage: Stage) -> None:
    """Tell what holds here, admit the patients and wait until every device is live.

    Raises:
        AsepsisError: The ward did not come to life.
    """
    began_s = time.monotonic()
    stage.open_hub()
    stage.tell("The hub runs", stage.made.separation.describe())
    _open_console(stage)
    _tell_layers(stage)
    stage.open_ward()
    stage.tell(
        "Devices enrol",
        f"{len(stage.new)} devices and a gateway made their keys themselves and have "
        "certificates for 90 days",
    )
    _furnish(stage)
    stage.view.until(
        lambda: all(stage.view.live(name) for name in stage.watched),
        "every device live",
        timeout_s=LIVE_S,
    )
    stage.summary.live_s = round(time.monotonic() - began_s, 1)
    stage.tell(
        "The ward is live",
        f"every device is seen {stage.summary.live_s:.0f} s after the start",
    )
    _admit(stage)


def _open_console(stage: Stage) -> None:
    password = visitor.create_account(stage.people)
    stage.guest = stage.visitor(password)
    host, port = stage.made.host, stage.ports.people
    stage.tell(
        "The console is open",
        f"{stage.console} - sign in as {visitor.NAME!r} with the password {password!r}, which is "
        "good for this demonstration only. No browser knows this throw-away hospital: it warns, "
        "and shows a certificate with the SHA-256 "
        f"{visitor.fingerprint(host, port, root_der=stage.root_der())}",
    )


def _tell_layers(stage: Stage) -> None:
    found = detect()
    summary = stage.summary
    summary.layers = [one.layer.value for one in found.findings if one.holds]
    summary.layers_absent = [one.layer.value for one in found.findings if not one.holds]
    stage.tell(
        "Layers that hold on this machine",
        f"{', '.join(summary.layers)}: whoever breaks into the network side of a device can "
        "neither disturb nor imitate the side that measures",
    )
    for one in found.findings:
        if not one.holds:
            stage.tell(f"Absent: {one.layer.value}", one.meaning)


def _furnish(stage: Stage) -> None:
    """Say where the devices stand, and let those that are fixed at a bed follow ADT."""
    for player in stage.setting.players:
        stage.people.put(
            f"/api/devices/{quote(player.name, safe='')}/place",
            {"place": _document(player.place), "fixed": player.fixed},
        )
    rule = f"/api/wards/{cast.WARD}/rule"
    stage.people.put(rule, {"follow_adt": True, "confirm": cast.WARD})


def _admit(stage: Stage) -> None:
    """Admit the patients; devices that measure already become theirs, as the ward's rule says."""
    # ADT tells whole seconds. A device that was free in that second may have been put on somebody
    # else since, so the rule would rightly leave it to a person.
    time.sleep(WHOLE_SECOND_S)
    for person in cast.PATIENTS:
        stage.admissions.admit(person)
    fixed = {player.name: player.bed for player in stage.setting.players if player.fixed}
    lying = {person.bed: person.number for person in cast.PATIENTS}
    wanted = {name: lying[bed] for name, bed in fixed.items() if bed in lying}
    began_s = time.monotonic()
    try:
        asked = associate(stage, wanted)
    except AsepsisError as error:
        stage.fail("admission", error)
        return
    stage.summary.associated_s = round(time.monotonic() - began_s, 1)
    loose = [player.key for player in stage.setting.players if not player.fixed]
    stage.tell(
        "Patients are admitted",
        f"{len(cast.PATIENTS)} ADT^A01 messages came through the gateway; the ward's rule binds "
        f"what is fixed at a bed{f', a person {asked} of them' if asked else ''}; "
        f"{' and '.join(loose)} can be carried about: a person confirms whose they are, at the "
        "console under Associations",
    )


def _document(place: Place) -> dict[str, str]:
    return {"point_of_care": place.point_of_care, "room": place.room, "bed": place.bed}
