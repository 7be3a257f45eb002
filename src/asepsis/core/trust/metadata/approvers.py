"""Who approves releases for a party: named in that party's own root, so changed only with it.

Vendor and hospital each have a root of their own, signed offline. Each names its approvers' keys
in a field beside TUF's roles; a device pins both roots, so neither the hub nor a server of the
vendor can name an approver.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import TrustError
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.library import Key, Root

FIELD: Final = "x-asepsis-approvers"
APPROVERS_MAX: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvers:
    """Who approves for one party.

    Attributes:
        keys: Their public keys, at most `APPROVERS_MAX`.
        threshold: How many of them must sign, at least 1.
    """

    keys: Sequence[Key]
    threshold: int = 1


def write_approvers(root: Root, approvers: Approvers) -> None:
    """Name the approvers in a root that is yet to be signed."""
    root.unrecognized_fields[FIELD] = {
        "keys": {key.keyid: key.to_dict() for key in approvers.keys},
        "threshold": approvers.threshold,
    }


def read_approvers(root: Root, *, party: str) -> Approvers:
    """Return the approvers that a trusted root names.

    Args:
        root: Root that was verified.
        party: Whose it is, for the message.

    Raises:
        TrustError: It names none, or not in our form.
    """
    found: object = root.unrecognized_fields.get(FIELD)
    refusal = TrustError(f"the root of the {party} names no approvers")
    if not isinstance(found, dict):
        raise refusal
    fields = cast("Mapping[str, Any]", found)
    try:
        with translated(f"approvers of the {party}"):
            keys = [Key.from_dict(keyid, dict(said)) for keyid, said in fields["keys"].items()]
        threshold = int(fields["threshold"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refusal from error
    if not 1 <= threshold <= len(keys) <= APPROVERS_MAX:
        raise refusal
    return Approvers(keys=keys, threshold=threshold)
