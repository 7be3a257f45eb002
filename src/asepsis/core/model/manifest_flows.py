"""What a threat analysis of a device begins with: nodes and flows, from the manifest. Pure.

Source: IEC 81001-5-1 clause 7.2; data-flow diagrams as in STRIDE per element.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from asepsis.core.model.manifest import Compartment, Confirmation, Manifest


class NodeKind(StrEnum):
    """What stands in the diagram."""

    PROCESS = "process"
    STORE = "store"
    OUTSIDE = "outside"
    PERSON = "person"


class Carrier(StrEnum):
    """What a flow runs over."""

    RING = "ring"
    LINE = "line"
    DOCUMENT = "document"
    FOLDER = "folder"
    TLS = "brokered socket"
    PORT = "listening port"
    REQUEST = "request"
    CONTROL = "control line"
    BEDSIDE = "bedside key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A process, a store, a person, or somebody outside.

    Attributes:
        id: Unique, such as `compartment:vitals`.
        kind: What it is.
        text: For people.
        boundary: Trust boundary within which it stands; each compartment is one of its own.
        criticality: Of a compartment; "" for others.
        secrets: Secrets that it holds.
    """

    id: str
    kind: NodeKind
    text: str
    boundary: str
    criticality: str = ""
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Data on its way from one node to another, one way.

    Attributes:
        id: Unique.
        source: Id of a node.
        target: Id of a node.
        carrier: What it runs over.
        text: What flows.
    """

    id: str
    source: str
    target: str
    carrier: Carrier
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFlow:
    """The diagram.

    Attributes:
        nodes: In order of their ids.
        flows: In order of their ids.
    """

    nodes: tuple[Node, ...]
    flows: tuple[Flow, ...]

    def to_document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "nodes": [asdict(node) for node in self.nodes],
            "flows": [asdict(flow) for flow in self.flows],
        }


SUPERVISOR: Final = "supervisor"
BEDSIDE: Final = "bedside"
DEVICE: Final = "device"
OUTSIDE: Final = "outside"


def data_flow(manifest: Manifest) -> DataFlow:
    """Return nodes and flows of a device."""
    nodes = sorted(_nodes(manifest), key=lambda node: node.id)
    flows = sorted(_flows(manifest), key=lambda flow: flow.id)
    return DataFlow(nodes=tuple(nodes), flows=tuple(flows))


def _nodes(manifest: Manifest) -> Iterator[Node]:
    yield Node(
        id=SUPERVISOR,
        kind=NodeKind.PROCESS,
        text="Starts and watches the compartments, owns rings and broker; trusted.",
        boundary=SUPERVISOR,
    )
    yield Node(id=BEDSIDE, kind=NodeKind.PERSON, text="Whoever stands there.", boundary=BEDSIDE)
    for c in manifest.compartments.values():
        secret = tuple(name for name in c.handed if manifest.documents[name].secret)
        yield Node(
            id=f"compartment:{c.name}",
            kind=NodeKind.PROCESS,
            text=c.text,
            boundary=c.name,
            criticality=c.criticality.value,
            secrets=(*secret, *c.keeps),
        )
        if c.folder:
            text = f"Folder of {c.name}."
            yield Node(
                id=f"folder:{c.name}",
                kind=NodeKind.STORE,
                text=text,
                boundary=c.name,
                secrets=c.keeps,
            )
        if c.ports:
            yield Node(
                id=f"network:{c.name}",
                kind=NodeKind.OUTSIDE,
                text=f"Whoever reaches a port of {c.name}.",
                boundary=OUTSIDE,
            )
    yield from _things(manifest)


def _things(manifest: Manifest) -> Iterator[Node]:
    for ring in manifest.rings.values():
        yield Node(id=f"ring:{ring.name}", kind=NodeKind.STORE, text=ring.text, boundary=DEVICE)
    for document in manifest.documents.values():
        yield Node(
            id=f"document:{document.name}",
            kind=NodeKind.STORE,
            text=document.text,
            boundary=DEVICE,
            secrets=(document.name,) if document.secret else (),
        )
    for endpoint in manifest.endpoints.values():
        yield Node(
            id=f"endpoint:{endpoint.name}",
            kind=NodeKind.OUTSIDE,
            text=endpoint.text,
            boundary=OUTSIDE,
        )


def _flows(manifest: Manifest) -> Iterator[Flow]:
    for c in manifest.compartments.values():
        own = f"compartment:{c.name}"
        yield _flow(SUPERVISOR, own, Carrier.CONTROL, "orders and descriptors")
        yield _flow(own, SUPERVISOR, Carrier.CONTROL, "reports")
        yield from _stored(c, manifest, own)
        yield from _said(c, manifest, own)
        yield from _outward(c, own)
    for c in manifest.critical:
        yield _flow(BEDSIDE, f"compartment:{c.name}", Carrier.BEDSIDE, "keys pressed")


def _stored(c: Compartment, manifest: Manifest, own: str) -> Iterator[Flow]:
    for name in c.writes:
        yield _flow(own, f"ring:{name}", Carrier.RING, manifest.rings[name].text)
    for name in c.reads:
        yield _flow(f"ring:{name}", own, Carrier.RING, manifest.rings[name].text)
    for name in c.handed:
        text = manifest.documents[name].text
        yield _flow(f"document:{name}", own, Carrier.DOCUMENT, text)
    if c.folder:
        yield _flow(own, f"folder:{c.name}", Carrier.FOLDER, "what it keeps")
        yield _flow(f"folder:{c.name}", own, Carrier.FOLDER, "what it kept")


def _said(c: Compartment, manifest: Manifest, own: str) -> Iterator[Flow]:
    for name in c.says:
        for other in manifest.compartments.values():
            if name in other.hears:
                text = manifest.lines[name].text
                yield _flow(own, f"compartment:{other.name}", Carrier.LINE, text)
    for name in c.requests:
        request = manifest.requests[name]
        confirmed = request.confirmed_by is not Confirmation.NOTHING
        after = f", after {request.confirmed_by.value}" if confirmed else ""
        target = f"compartment:{request.to}"
        yield _flow(own, target, Carrier.REQUEST, f"{request.text}{after}", name=name)


def _outward(c: Compartment, own: str) -> Iterator[Flow]:
    for name in c.endpoints:
        yield _flow(own, f"endpoint:{name}", Carrier.TLS, "requests")
        yield _flow(f"endpoint:{name}", own, Carrier.TLS, "answers")
    for port in c.ports:
        peer = f"network:{c.name}"
        yield _flow(peer, own, Carrier.PORT, f"TCP {port}", name=str(port))
        yield _flow(own, peer, Carrier.PORT, f"TCP {port}", name=str(port))


def _flow(source: str, target: str, carrier: Carrier, text: str, *, name: str = "") -> Flow:
    words = (source, target, carrier.value, name) if name else (source, target, carrier.value)
    return Flow(id=" > ".join(words), source=source, target=target, carrier=carrier, text=text)
