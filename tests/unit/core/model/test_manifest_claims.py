"""Each safety claim: what breaks it is told with its id, and nothing that does not is."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from asepsis.core.errors import ConfigError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import (
    Compartment,
    Confirmation,
    Criticality,
    Document,
    Endpoint,
    Line,
    Manifest,
    Request,
    Resources,
    Ring,
    Rung,
    Update,
)
from asepsis.core.model.manifest_claims import (
    CLAIMS,
    breaches,
    reached_from_outside,
    require_claims,
)
from asepsis.core.model.manifest_flows import Carrier, data_flow
from asepsis.core.model.manifest_rights import Right, Verb, difference, rights


def changed(manifest: Manifest, name: str, **values: object) -> Manifest:
    """Return the manifest with another compartment of that name."""
    compartment = replace(manifest.compartments[name], **values)  # type: ignore[arg-type]
    return replace(manifest, compartments={**manifest.compartments, name: compartment})


def limits(manifest: Manifest, name: str, **values: int) -> Manifest:
    resources = replace(manifest.compartments[name].resources, **values)
    return changed(manifest, name, resources=resources)


def broken(manifest: Manifest) -> set[str]:
    return {breach.claim for breach in breaches(manifest)}


def asking(manifest: Manifest, confirmed_by: Confirmation) -> Manifest:
    """Return the manifest with a request of the network to vitals."""
    request = Request(
        name="limit",
        text="A new alarm limit.",
        to="vitals",
        per_minute_max=6,
        confirmed_by=confirmed_by,
    )
    own = manifest.compartments["network"].requests
    asked = changed(manifest, "network", requests=(*own, "limit"))
    return replace(asked, requests={**manifest.requests, "limit": request})


def test_every_claim_holds_in_the_shipped_manifest(shipped: Manifest) -> None:
    assert breaches(shipped) == ()
    require_claims(shipped)


def second_line(manifest: Manifest) -> Manifest:
    lines = {**manifest.lines, "back": Line(name="back", text="x", bytes_max=1)}
    spoken = changed(manifest, "origin", says=("back",), hears=("time", "back"))
    return replace(spoken, lines=lines)


def nobody_critical(manifest: Manifest) -> Manifest:
    return changed(manifest, "vitals", criticality=Criticality.ESSENTIAL)


def two_on_one_port(manifest: Manifest) -> Manifest:
    first = changed(manifest, "network", ports=(8443,), endpoints=(), channels=0)
    return changed(first, "timekeeper", ports=(8443,), endpoints=(), channels=0)


PATIENT = Update(rung=Rung.SWAP, when=(ClinicalState.IN_USE,))
IMAGE = Update(rung=Rung.IMAGE, when=(ClinicalState.STANDBY,))
BREAKS = {
    "a second writer": ("CLAIM-RING-001", lambda m: changed(m, "network", writes=("vitals",))),
    "a reader that writes": ("CLAIM-RING-001", lambda m: changed(m, "origin", reads=("signed",))),
    "no writer": ("CLAIM-RING-001", lambda m: changed(m, "origin", writes=())),
    "an endpoint for vitals": (
        "CLAIM-DIODE-001",
        lambda m: changed(m, "vitals", endpoints=("clinical",), zone="broker"),
    ),
    "the time for vitals": ("CLAIM-DIODE-001", lambda m: changed(m, "vitals", hears=("time",))),
    "over origin": ("CLAIM-DIODE-001", lambda m: changed(m, "vitals", reads=("signed",))),
    "nobody is critical": ("CLAIM-DIODE-001", nobody_critical),
    "vitals waits": ("CLAIM-DIODE-002", lambda m: changed(m, "vitals", reads=("signed",))),
    "a line back to its speaker": ("CLAIM-LINE-001", second_line),
    "a line that nobody hears": ("CLAIM-LINE-001", lambda m: changed(m, "origin", hears=())),
    "a line on demand that two hear": (
        "CLAIM-LINE-001",
        lambda m: changed(m, "origin", hears=("time", "update-asked")),
    ),
    "the key on the network": (
        "CLAIM-KEY-001",
        lambda m: changed(m, "network", handed=("origin-key",)),
    ),
    "the key in a folder": ("CLAIM-KEY-001", lambda m: changed(m, "origin", folder=True)),
    "a key kept twice": (
        "CLAIM-KEY-001",
        lambda m: changed(m, "timekeeper", folder=True, keeps=("tls-key",)),
    ),
    "a document kept elsewhere": (
        "CLAIM-KEY-001",
        lambda m: changed(m, "network", keeps=("origin-key",)),
    ),
    "one user": ("CLAIM-APART-001", lambda m: changed(m, "network", user=62201)),
    "one code": (
        "CLAIM-CODE-001",
        lambda m: changed(m, "network", code="asepsis.edge.device.vitals"),
    ),
    "one port": ("CLAIM-NET-001", two_on_one_port),
    "in and out": ("CLAIM-NET-001", lambda m: changed(m, "network", ports=(8443,))),
    "nothing confirms": ("CLAIM-REQUEST-001", lambda m: asking(m, Confirmation.NOTHING)),
    "as nice": ("CLAIM-FIRST-001", lambda m: limits(m, "network", nice=-5)),
    "as real-time": ("CLAIM-FIRST-001", lambda m: limits(m, "network", realtime=50)),
    "ended first": ("CLAIM-FIRST-001", lambda m: limits(m, "vitals", oom_score=950)),
    "replaced in use": ("CLAIM-UPDATE-001", lambda m: changed(m, "vitals", update=PATIENT)),
    "the image in standby": ("CLAIM-UPDATE-001", lambda m: changed(m, "network", update=IMAGE)),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_change_that_breaks_a_claim_fails_with_its_id(case: str, shipped: Manifest) -> None:
    claim, change = BREAKS[case]
    spoilt = change(shipped)
    assert claim in broken(spoilt)
    with pytest.raises(ConfigError, match=r"CLAIM-[A-Z]+-\d{3}: ") as caught:
        require_claims(spoilt)
    assert caught.value.hint in {found.sentence for found in CLAIMS.values()}


def test_every_claim_is_broken_by_a_case_above() -> None:
    assert {claim for claim, _ in BREAKS.values()} == CLAIMS.keys()


def test_a_confirmed_request_breaks_nothing_and_an_unconfirmed_one_opens_the_way(
    shipped: Manifest,
) -> None:
    for confirmed_by in (Confirmation.BEDSIDE, Confirmation.OPERATOR_SIGNATURE):
        assert broken(asking(shipped, confirmed_by)) == set()
    assert broken(asking(shipped, Confirmation.NOTHING)) == {
        "CLAIM-REQUEST-001",
        "CLAIM-DIODE-001",
    }


def test_what_comes_from_outside_is_followed_through_compartments(shipped: Manifest) -> None:
    assert reached_from_outside(shipped) == {
        "network": "outside",
        "timekeeper": "outside",
        "origin": "timekeeper",
        "attester": "network",
    }
    spoilt = changed(shipped, "vitals", reads=("signed",))
    (first, *_) = [b for b in breaches(spoilt) if b.claim == "CLAIM-DIODE-001"]
    assert "outside -> timekeeper -> origin -> vitals" in first.text


def test_rights_gained_and_lost_are_told(shipped: Manifest) -> None:
    other = changed(shipped, "network", reads=("signed", "vitals"), folder=False, keeps=())
    found = difference(shipped, other)
    assert found.gained == (Right("network", Verb.READS_RING, "vitals"),)
    assert set(found.lost) == {
        Right("network", Verb.KEEPS_FOLDER, "its own folder"),
        Right("network", Verb.KEEPS_KEY, "tls-key"),
        Right("network", Verb.KEEPS_KEY, "spool-key"),
    }
    assert found.properties == ()
    assert str(found.gained[0]) == "network reads ring vitals"


def test_texts_are_no_difference_and_limits_are(shipped: Manifest) -> None:
    assert difference(shipped, replace(shipped, text="Other words.", version=2)) == difference(
        shipped, shipped
    )
    more = difference(shipped, limits(shipped, "network", memory_mib=1_024))
    assert [str(right) for right in more.gained] == ["network may use memory_mib 1024"]
    slower = difference(shipped, limits(shipped, "network", nice=12))
    (text,) = slower.properties
    assert text.startswith("compartment.network.resources.order: nice 10,")
    assert text.endswith("-> nice 12, oom 900, realtime 0")


def test_a_new_request_document_and_line_are_differences(shipped: Manifest) -> None:
    extra = Document(name="drugs", text="Drug library.", path="drugs.json")
    other = replace(
        asking(shipped, Confirmation.BEDSIDE),
        documents={**shipped.documents, "drugs": extra},
        lines={**shipped.lines, "time": Line(name="time", text="x", bytes_max=40)},
    )
    found = difference(shipped, other)
    assert found.gained == (Right("network", Verb.REQUESTS, "limit"),)
    assert {text.partition(":")[0] for text in found.properties} == {
        "document.drugs",
        "line.time.bytes_max",
        "request.limit",
    }
    back = difference(other, shipped)
    assert back.lost == found.gained


def test_rights_name_every_list_of_a_compartment(shipped: Manifest) -> None:
    granted = rights(shipped)
    for c in shipped.compartments.values():
        named = [*c.reads, *c.writes, *c.says, *c.hears, *c.handed, *c.keeps, *c.endpoints]
        things = [right.thing for right in granted if right.compartment == c.name]
        assert all(name in things for name in named)


def test_nodes_and_flows_lead_one_way_through_the_rings(shipped: Manifest) -> None:
    listening = changed(shipped, "network", ports=(8443,))
    found = data_flow(asking(listening, Confirmation.BEDSIDE))
    ids = {node.id for node in found.nodes}
    assert len(ids) == len(found.nodes)
    assert len({flow.id for flow in found.flows}) == len(found.flows)
    assert all(flow.source in ids and flow.target in ids for flow in found.flows)
    into_vitals = {f.carrier for f in found.flows if f.target == "compartment:vitals"}
    assert into_vitals == {
        Carrier.CONTROL, Carrier.DOCUMENT, Carrier.BEDSIDE, Carrier.REQUEST
    }  # fmt: skip
    rings = [f for f in found.flows if f.carrier is Carrier.RING]
    assert len(rings) == 4
    secrets = {node.id: node.secrets for node in found.nodes if node.secrets}
    assert secrets["compartment:origin"] == ("origin-key",)
    assert secrets["compartment:network"] == ("tls-key", "spool-key")
    document = found.to_document()
    assert len(document["nodes"]) == len(found.nodes)


def test_a_ring_of_its_own_makes_a_display_possible(shipped: Manifest) -> None:
    """Goal: a compartment of tomorrow is one table more, and keeps every claim."""
    display = replace(
        shipped.compartments["origin"],
        name="display",
        text="Draws.",
        code="asepsis.edge.device.display",
        user=62_205,
        reads=("vitals",),
        writes=("frames",),
        hears=(),
        handed=(),
    )
    other: dict[str, Compartment] = {**shipped.compartments, "display": display}
    rings = {**shipped.rings, "frames": Ring(name="frames", text="Pictures.")}
    assert breaches(replace(shipped, compartments=other, rings=rings)) == ()


PAGE = (Path(__file__).parents[4] / "docs/reference/manifest.md").read_text("utf-8")


def test_the_page_tells_every_claim_and_every_key() -> None:
    rows = dict(re.findall(r"^\| (CLAIM-[A-Z]+-\d{3}) \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == {claim.id: claim.sentence for claim in CLAIMS.values()}
    kinds = (Manifest, Ring, Line, Document, Endpoint, Request, Compartment, Resources, Update)
    keys = {field.name for kind in kinds for field in fields(kind)} - {"name"}
    plural = {"compartments", "rings", "lines", "documents", "endpoints", "requests"}
    for key in keys - plural | {"compartment.NAME", "ring.NAME", "line.NAME", "document.NAME"}:
        assert re.search(rf"`\[?{re.escape(key)}\]?`", PAGE), key
