"""Drafts of campaigns and of interface profiles from a plan: what is known, and what is open. Pure.

A draft is no decision: a campaign needs a release that both parties approved and a change of the
board, a profile needs the ranges of the device's manual. What is not known is not made up: it
stands in the file as words in angle brackets, which no reader takes.

Source: docs/reference/campaigns.md; docs/reference/profiles.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.analysis.threats.model import Flow, Model

RELEASE_OPEN: Final = "<SHA-256 of the artefact>"
CHANGE_OPEN: Final = "<reference of the change board>"
MODELS_OPEN: Final = "<model as people listed it>"
INTERFACES: Final[Mapping[str, str]] = {"hl7": "hl7v2", "dicom": "dicom", "adp": "adp"}
"""Protocol of a flow -> interface of a profile."""
TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "values": ("ORU^R01",),
    "alarms": ("ORU^R40",),
    "demographics": ("ADT^*",),
    "orders": ("OMG^O19", "ORM^O01"),
}
"""What a flow carries -> types of HL7 v2 messages."""
_CRITICAL: Final = ("pump", "monitor")
"""Kinds that stand at patients: people return them to service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A file to go on with.

    Attributes:
        name: Of the file.
        content: TOML.
        open: What somebody has to fill in, in words; empty if it can be used as it is.
    """

    name: str
    content: str
    open: tuple[str, ...]


def campaign(
    model: Model, measure: str, devices: Sequence[str], *, release: str = "", change: str = ""
) -> Draft:
    """Return the draft of a campaign that brings a measure to devices.

    A canary of each model in each ward comes first, then ward by ward, and one device of a class in
    a ward at a time. Devices at patients go back into service by a person.

    Args:
        model: With the devices' names of models.
        measure: Countermeasure of the plan.
        devices: Ids of the model.
        release: SHA-256 of the artefact; empty if it is not there yet.
        change: Reference of the change board; empty if there is none yet.
    """
    models = sorted({word for name in devices for word in model.devices[name].models})
    nameless = [name for name in devices if not model.devices[name].models]
    open_ = [] if release else ["release: the vendor's, assessed, and approved by both parties"]
    open_ += [] if change else ["change: the reference of the change board"]
    open_ += [f"select.models: the models of {name}" for name in nameless]
    control = model.countermeasures[measure]
    at_patients = any(model.devices[name].kind in _CRITICAL for name in devices)
    chosen = models + ([MODELS_OPEN] if nameless else [])
    lines = [
        f"# {one_line(control.text or measure)}",
        f"# From the threat model {one_line(model.name)}. A draft: nothing happens before it is",
        "# approved, created and started (docs/howto/run-a-campaign.md).",
        f"name = {_text(measure.replace('_', '-')[:60])}",
        f"release = {_text(release or RELEASE_OPEN)}",
        f"change = {_text(change or CHANGE_OPEN)}",
        'calendars = ["nights"]',
        f"acceptance = {'true' if at_patients else 'false'}",
        "",
        "[select]",
        f"models = {_texts(chosen)}",
        "",
        "[[waves]]",
        'kind = "canary"',
        "each = 1",
        "gate = { observe_h = 24 }",
        "",
        "[[waves]]",
        'kind = "ward"',
        "gate = { verified_percent = 100, observe_h = 24 }",
        "",
        "[[waves]]",
        'kind = "site"',
        "gate = { verified_percent = 95, failed_max = 0 }",
        "",
        "[[budgets]]",
        "at_once_max = 1",
    ]
    return Draft(
        name=f"campaign-{measure}.toml", content="\n".join(lines) + "\n", open=tuple(open_)
    )


def profile(model: Model, name: str) -> Draft | None:
    """Return the draft of a profile for what a flow's source sends; None for another protocol.

    Args:
        model: With the source's names of models.
        name: Of the flow.
    """
    flow = model.flows[name]
    interface = INTERFACES.get(flow.protocol)
    if interface is None:
        return None
    models = model.devices[flow.source].models
    open_ = [] if models else [f"models: the model of {flow.source}"]
    open_.append("metrics, ranges and the clock, from the device's manual")
    source = one_line(model.devices[flow.source].text or flow.source)
    lines = [
        f"# What {source} may send: {one_line(flow.text or name)}.",
        "# From the threat model; complete it (docs/howto/enforce-a-profile.md).",
        "format = 1",
        f"name = {_text(name.replace('_', '-'))}",
        "version = 1",
        f"interface = {_text(interface)}",
        f"models = {_texts(models or (MODELS_OPEN,))}",
        f"source = {_text(f'threat model, flow {name}'[:120])}",
    ]
    if interface == "hl7v2":
        lines.append(f"types = {_texts(_types(flow))}")
    return Draft(name=f"profile-{name}.toml", content="\n".join(lines) + "\n", open=tuple(open_))


def _types(flow: Flow) -> list[str]:
    """Return the message types; none, which takes every type, where one of them is not known."""
    carries = set(flow.carries)
    if "values" in carries:
        carries.discard("demographics")  # Names of patients come with the values.
    if not carries <= TYPES.keys():
        return []
    return sorted({word for carried in carries for word in TYPES[carried]})


def _texts(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, words))}]"


def _text(word: str) -> str:
    """Return a basic string of TOML."""
    return json.dumps(one_line(word), ensure_ascii=False)


def one_line(text: str) -> str:
    """Return a text in one line, for comments and strings."""
    return "".join(c if c.isprintable() else " " for c in text)
