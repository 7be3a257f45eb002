"""The protocol families of a gateway, each a process of its own that confines itself.

A family joins with one line in `FAMILIES`. Its module is started as `python -m <module>
<gateway.toml>`, logs JSON lines on standard error, ends with 0 on SIGTERM, with `EXIT_CONFIG` for
an operator's mistake, and with anything else to be started anew. What it reads of strangers it
reads confined: see `confinement.py`. No family shares memory, a parser or a fate with another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway.settings import Settings

EXIT_CONFIG: Final = 5
"""How a family says that only a person can help it."""


class Standby(Enum):
    """What a family does while the other gateway of a pair takes messages."""

    RESTS = "rests"
    """It does not run: it listens or asks devices."""
    DRAINS = "drains"
    """It runs without listening and brings what it had acknowledged; started anew at a change."""
    RUNS = "runs"
    """It goes on: it touches no device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One protocol family.

    Attributes:
        name: For people, reports and `families.json`.
        module: What `python -m` starts.
        wanted: Whether these settings ask for it.
        standby: What becomes of it while the other gateway of a pair takes messages.
    """

    name: str
    module: str
    wanted: Callable[[Settings], bool]
    standby: Standby = Standby.RESTS


FAMILIES: Final = (
    Family(
        name="pair",
        module="asepsis.edge.gateway.pair.app",
        wanted=lambda settings: settings.pair is not None,
        standby=Standby.RUNS,
    ),
    Family(
        name="hl7",
        module="asepsis.edge.gateway.app",
        wanted=lambda settings: bool(settings.listeners),
        standby=Standby.DRAINS,
    ),
    Family(
        name="imaging",
        module="asepsis.edge.gateway.imaging.app",
        wanted=lambda settings: settings.imaging is not None,
    ),
    Family(
        name="archives",
        module="asepsis.edge.gateway.imaging.archives_app",
        wanted=lambda settings: any(entry.destination for entry in settings.archives),
        standby=Standby.RUNS,
    ),
    Family(
        name="questions",
        module="asepsis.edge.gateway.imaging.questions_app",
        wanted=lambda settings: any(
            entry.queries or entry.commits or entry.worklist for entry in settings.archives
        ),
        standby=Standby.RUNS,
    ),
    Family(
        name="reports",
        module="asepsis.edge.gateway.imaging.reports_app",
        wanted=lambda settings: settings.imaging is not None and settings.imaging.commits,
        standby=Standby.RUNS,
    ),
    Family(
        name="drivers",
        module="asepsis.edge.gateway.drivers.app",
        wanted=lambda settings: bool(settings.drivers or settings.sdc),
    ),
    Family(
        name="outbound",
        module="asepsis.edge.gateway.outbound.app",
        wanted=lambda settings: bool(settings.outbound),
        standby=Standby.RUNS,
    ),
)


def wanted(settings: Settings, families: tuple[Family, ...] = FAMILIES) -> tuple[Family, ...]:
    """Return the families that the settings ask for, in the order of the table.

    Raises:
        ConfigError: None at all.
    """
    found = tuple(family for family in families if family.wanted(settings))
    if not found:
        raise ConfigError(
            "the settings ask for no protocol family", hint="name [[listeners]] and [[peers]]"
        )
    return found


def renews(settings: Settings, name: str) -> bool:
    """Return whether a family renews the gateway's certificate: the first of those that run does.

    The first of the table also runs while the other gateway of a pair takes messages. `hl7` and
    `drivers` renew in any case, for they keep connections that must learn of it at once.
    """
    return wanted(settings)[0].name == name
