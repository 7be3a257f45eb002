"""The blast radius: what somebody could do who runs code in one process of a gateway. Pure.

Taken from the very orders by which the processes confine themselves, and from the settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.confinement import Role
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.uplink.folder import Hospital


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one process can do.

    Attributes:
        process: Family and process.
        parses: Whose bytes it reads.
        reads: Files beside Python's library and our code.
        writes: Folders.
        connects: Where to.
        accepts: Whom from, and on which sockets.
        signs: What it can prove or sign as whom.
        speaks_for: Devices whose data it could make up towards the next process.
    """

    process: str
    parses: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    connects: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()
    signs: str = ""
    speaks_for: tuple[str, ...] = ()


def hl7(settings: Settings, *, name: str, hospital: Hospital) -> Sequence[Reach]:
    """Return the processes of the HL7 family, those that strangers reach first.

    Args:
        settings: Of the gateway.
        name: The gateway's own name.
        hospital: Where its hub is.
    """
    devices = tuple(sorted({d.name for peer in settings.peers for d in peer.devices}))
    doors = tuple(f"{x.name} {x.host}:{x.port}" for x in settings.listeners)
    served = tuple(x.name for x in settings.listeners if x.tls is not None)
    hub = tuple(f"{each.host}:{each.port}" for each in (hospital.clinical, hospital.enrolment))
    if settings.pair is not None:
        hub = (*hub, f"{settings.pair.partner_host}:{settings.pair.partner_port}")
    files = {role: _folders(settings, role) for role in Role}
    return (
        Reach(
            process="hl7 front",
            parses="senders: TLS, MLLP, HL7 v2",
            reads=files[Role.FRONT],
            writes=files[Role.FRONT],
            accepts=doors,
            signs=f"TLS of the listeners {', '.join(served)}" if served else "",
            speaks_for=devices,
        ),
        Reach(
            process="hl7 keeper",
            parses="the front",
            reads=files[Role.KEEPER],
            writes=files[Role.KEEPER],
            signs="seals and opens the spool",
            speaks_for=devices,
        ),
        Reach(
            process="hl7 uplink",
            parses="the hub's answers" + (", the other gateway's" if settings.pair else ""),
            reads=files[Role.UPLINK],
            writes=files[Role.UPLINK],
            connects=hub,
            signs=f"TLS as {name}",
            speaks_for=("every device on this gateway's declared list",),
        ),
        Reach(process="hl7 broker", parses="one number of the uplink", connects=hub),
    )


def pair(settings: Settings, *, name: str, hospital: Hospital) -> Sequence[Reach]:
    """Return the process that holds the lease of a pair; none for a gateway alone.

    Args:
        settings: Of the gateway.
        name: The gateway's own name.
        hospital: Where its hub is.
    """
    section = settings.pair
    if section is None:
        return ()
    hub = tuple(f"{each.host}:{each.port}" for each in (hospital.clinical, hospital.enrolment))
    return (
        Reach(
            process="pair",
            parses="the hub's answers; frames of the other gateway, whose certificate is pinned",
            reads=("identity/", "pair/", "spool/"),
            writes=("identity/", "pair/"),
            connects=(*hub, f"{section.partner_host}:{section.partner_port}"),
            accepts=(f"{section.partner} {section.listen_host}:{section.listen_port}",),
            signs=f"TLS as {name}; TLS of the link; starts and stops the families",
        ),
    )


def _folders(settings: Settings, role: Role) -> tuple[str, ...]:
    data = Path(settings.data)
    order = confinement.of_role(settings, role)
    return tuple(str(path.relative_to(data)) + "/" for path in order.writable)
