"""Documents that the hub sends to update clients. Pure; links are absolute, as clients need them.

Source: Eclipse hawkBit, Direct Device Integration API version 1; docs/reference/ddi.md.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from asepsis.hub.fleet.ddi.model import Action, File, Module, Target
from asepsis.hub.fleet.ddi.records_actions import Status
from asepsis.hub.fleet.ddi.rules import (
    Offer,
    Pace,
    marker,
    offer,
    shown_words,
    sleep_s,
    sleep_text,
    tells_of_itself,
)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target's links lead.

    Attributes:
        base: Scheme and authority as the client wrote them.
        tenant: First segment of the path, as the client wrote it.
        name: The target.
    """

    base: str
    tenant: str
    name: str

    def to(self, path: str) -> str:
        """Return an absolute link below the target."""
        tenant, name = quote(self.tenant, safe=""), quote(self.name, safe="")
        return f"{self.base}/{tenant}/controller/v1/{name}{path}"


def poll(place: Place, target: Target, action: Action | None, pace: Pace, now_ns: int) -> Document:
    """Return the answer to a poll."""
    links: Document = {}
    shown = offer(action, target.profile, now_ns)
    if action is not None and shown is not Offer.NOTHING:
        path = f"/{shown.value}/{action.id}"
        if shown is not Offer.CANCEL:
            path += f"?c={marker(action, target.profile, now_ns)}"
        links[shown.value] = {"href": place.to(path)}
    if target.installed:
        links["installedBase"] = {"href": place.to(f"/installedBase/{target.installed}")}
    if target.wanted or (shown is Offer.NOTHING and tells_of_itself(target)):
        links["configData"] = {"href": place.to("/configData")}
    pause = sleep_text(sleep_s(pace, target.name, action, now_ns))
    return {"config": {"polling": {"sleep": pause}}, "_links": links}


def deployment(
    place: Place,
    target: Target,
    action: Action,
    modules: Sequence[Module],
    *,
    key: str,
    now_ns: int,
    history: Sequence[Status] = (),
) -> Document:
    """Return what a deployment is made of.

    Args:
        place: Where links lead.
        target: Whose.
        action: Which.
        modules: Its modules.
        key: `deployment`, or `confirmation` while somebody has to confirm it.
        now_ns: Wall time.
        history: Reports so far, if the client asked for them.
    """
    words = shown_words(action, target.profile, now_ns)
    inner: Document = {"download": words.download, "update": words.update}
    if words.window:
        inner["maintenanceWindow"] = words.window
    inner["chunks"] = [
        {
            "part": module.part,
            "version": module.version,
            "name": module.name,
            "artifacts": files(place, module),
        }
        for module in modules
    ]
    document: Document = {"id": str(action.id), key: inner}
    if history:
        lines = [line for status in history for line in _lines(status)]
        document["actionHistory"] = {"status": action.stage.name, "messages": lines}
    return document


def _lines(status: Status) -> tuple[str, ...]:
    said = status.feedback
    return said.details or (f"{said.execution.value}, {said.finished.value}",)


def files(place: Place, module: Module) -> list[Document]:
    """Return the files of a module."""
    return [_file(place, module, file) for file in module.files]


def _file(place: Place, module: Module, file: File) -> Document:
    href = place.to(f"/softwaremodules/{module.id}/artifacts/{quote(file.filename, safe='')}")
    return {
        "filename": file.filename,
        "hashes": {"sha1": file.sha1, "md5": file.md5, "sha256": file.sha256},
        "size": file.size,
        "_links": {"download": {"href": href}, "md5sum": {"href": href + ".MD5SUM"}},
    }


def cancellation(action: Action) -> Document:
    """Return which action is to be stopped."""
    return {"id": str(action.id), "cancelAction": {"stopId": str(action.id)}}


def confirmation_state(place: Place, target: Target, action: Action | None) -> Document:
    """Return who confirms, and what waits for it."""
    confirmer = target.auto_confirm
    state: Document = {"active": confirmer is not None}
    if confirmer is not None:
        state |= asdict(confirmer)
    word = "deactivateAutoConfirm" if confirmer else "activateAutoConfirm"
    links: Document = {word: {"href": place.to(f"/confirmationBase/{word}")}}
    if action is not None and offer(action, target.profile, 0) is Offer.CONFIRM:
        path = f"/confirmationBase/{action.id}?c={marker(action, target.profile, 0)}"
        links["confirmationBase"] = {"href": place.to(path)}
    return {"autoConfirm": state, "_links": links}
