"""Which layers a trial has on, by a word: `all`, `none`, `-seccomp`, `only-landlock`, `each`."""

from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.sandbox.layer import Layer

ALL: Final = "all"
NONE: Final = "none"
EACH: Final = "each"
BARE: Final = frozenset({Layer.RING})
"""What is on in `none`: without the sealed ring there is no device to attack."""
NAMES: Final = {
    "bubblewrap": Layer.BUBBLEWRAP,
    "users": Layer.USERS,
    "landlock": Layer.LANDLOCK,
    "seccomp": Layer.SECCOMP,
}
"""Layers that a trial can remove, or have alone. Users of their own need bubblewrap's view, because
another user may not pass to where the code lies."""
SETS_MAX: Final = 16


def labels(words: list[str]) -> list[str]:
    """Return the labels of the trials that some words ask for, each once, in order.

    Args:
        words: Each `all`, `none`, `each`, `-LAYER` or `only-LAYER`; several in one by commas.

    Raises:
        ConfigError: A word that names nothing.
    """
    found: list[str] = []
    for word in (part.strip() for text in words for part in text.split(",")):
        every = [ALL, *(f"-{name}" for name in NAMES), NONE]
        for label in every if word == EACH else [word]:
            _check(label)
            if label not in found:
                found.append(label)
    if not 0 < len(found) <= SETS_MAX:
        raise ConfigError(f"between 1 and {SETS_MAX} sets of layers")
    return found


def layers(label: str, *, holding: frozenset[Layer]) -> frozenset[Layer]:
    """Return the layers that are on in a trial.

    Args:
        label: From `labels`.
        holding: Layers that hold on this machine.
    """
    if label == ALL:
        return holding
    if label == NONE:
        return BARE
    name = label.removeprefix("only-").removeprefix("-")
    if label.startswith("only-"):
        return BARE | ({NAMES[name], Layer.NO_NEW_PRIVILEGES} & holding)
    gone = {NAMES[name]}
    if name == "bubblewrap":
        gone.add(Layer.USERS)
    return holding - gone


def _check(label: str) -> None:
    name = label.removeprefix("only-").removeprefix("-")
    if label in (ALL, NONE) or (label != name and name in NAMES and label != "only-users"):
        return
    wanted = ", ".join([ALL, NONE, EACH, *(f"-{name}" for name in NAMES)])
    raise ConfigError(f"no set of layers is called {label[:40]!r}", hint=f"one of {wanted}")
