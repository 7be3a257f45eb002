"""The one value that stands behind a request, whatever credential it came with."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.model.identity import PrincipalKind


class Role(StrEnum):
    """What a person does in the hospital; machines have none."""

    ADMINISTRATOR = "administrator"
    CLINICAL_ENGINEER = "clinical-engineer"
    SECURITY = "security"
    CLINICIAN = "clinician"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who was authenticated, or was found to be nobody in particular.

    Attributes:
        kind: What sort of identity it is.
        name: SAN URI of a machine, name of a person, serial number of an IDevID; else empty.
        roles: Roles of a person; empty for everybody else.
        declared: Names of devices that a gateway or vendor's server may speak for, besides itself.
        password_only: A session that a password opened, in which no second factor was shown lately.
        renewal_only: The certificate is expired, or was issued but never recorded: it opens the way
            to a new certificate and nothing else.
    """

    kind: PrincipalKind
    name: str
    roles: frozenset[Role] = frozenset()
    declared: frozenset[str] = frozenset()
    password_only: bool = False
    renewal_only: bool = False

    def speaks_for(self, device: str) -> bool:
        """Whether this principal may bring data that bears the name `device`."""
        return device == self.name or device in self.declared


ANONYMOUS: Final = Principal(kind=PrincipalKind.ANONYMOUS, name="")
