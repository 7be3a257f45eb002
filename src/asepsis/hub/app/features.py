"""The features that stand on the core, in the order in which they are opened."""

from collections.abc import Sequence

from asepsis.hub.app.console import open_console
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.app.ward import open_ward
from asepsis.hub.registry.associations.book import AssociationBook


def open_features(core: Core) -> Sequence[Feature]:
    """Open every feature; each has a file of its own beside this one."""
    return (open_console(core), open_ward(core, AssociationBook()))
