"""Names of types: one for each compartment and for each thing that a manifest names. Pure."""

from collections.abc import Iterable

from asepsis.core.model.manifest import Manifest


def domain(name: str) -> str:
    """Return the type of a compartment's processes, such as `network_t`."""
    return f"{_word(name)}_t"


def thing(kind: str, name: str) -> str:
    """Return the type of a thing, such as `ring__vitals_t`."""
    return f"{kind}__{_word(name)}_t"


def control_type(name: str) -> str:
    """Return the type of the control line between a compartment and its supervisor."""
    return thing("control", name)


def compartments(manifest: Manifest) -> list[str]:
    """Return the types of all compartments."""
    return [domain(name) for name in manifest.compartments]


def things(kind: str, names: Iterable[str]) -> list[str]:
    """Return the types of things of a kind."""
    return [thing(kind, name) for name in names]


def thing_types(manifest: Manifest) -> list[str]:
    """Return the types of everything that is no compartment."""
    all_of = manifest.compartments.values()
    return [
        *things("control", manifest.compartments),
        *things("ring", manifest.rings),
        *things("wake", manifest.rings),
        *things("woken", manifest.rings),
        *things("line", manifest.lines),
        *things("document", manifest.documents),
        *things("endpoint", manifest.endpoints),
        *things("request", manifest.requests),
        *things("folder", (c.name for c in all_of if c.folder)),
        *things("port", sorted({str(port) for c in all_of for port in c.ports})),
    ]


def _word(name: str) -> str:
    return name.replace("-", "_")
