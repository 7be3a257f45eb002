"""What campaigns need of releases and of the director; `hub/app/releases.py` fills these in.

An artefact is named by the SHA-256 of its bytes, in hexadecimal: that hash is what the vendor
signed, both parties approved, the director assigns and the device reports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """One artefact that may be rolled out, as far as a campaign must know it.

    Attributes:
        sha256: Of the artefact, hexadecimal; its name here.
        vendor: Whose image repository names it.
        path: Target path in that repository.
        length: Bytes.
        model: Device model it is made for.
        models: Models that the approvers allow, `model` among them.
        component: Compartment or image that it replaces.
        version: For people; decides nothing.
        counter: The vendor's number of the release, rising.
        floor: Floor of the component once it is verified: the vendor's or the approvers'.
        reboot: What has to start anew: `none`, `component` or `device`.
        authorisation: SHA-256 of the document that both parties signed, hexadecimal.
        not_before_ns: From when both parties allow it, nanoseconds since 1970.
        expires_ns: Until when, exclusive; nanoseconds since 1970.
        document: SHA-256 of the release document (assessment, self-tests, notes), hexadecimal.
        out_of_cycle: Whether the manufacturer calls it out-of-cycle, section 524B(b)(2)(B).
        clinical_states: Clinical states in which the manufacturer allows the installation.
        acceptance: Whether biomedical engineering has to accept the device before it is used.
        run_s: Seconds that the installation takes at most, self-tests included.
        rollback_s: Seconds that going back takes at most; a window must hold both.
    """

    sha256: str
    vendor: str
    path: str
    length: int
    model: str
    models: tuple[str, ...]
    component: str
    version: str
    counter: int
    floor: int
    reboot: str
    authorisation: str
    not_before_ns: int
    expires_ns: int
    document: str
    out_of_cycle: bool
    clinical_states: tuple[str, ...]
    acceptance: bool
    run_s: int
    rollback_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a device is for an update, as a person listed it.

    Attributes:
        device: Its name.
        model: Device model, as the vendor's releases say it.
        hardware: Hardware id, as the device itself says it.
    """

    device: str
    model: str
    hardware: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why an artefact was not assigned to a device.

    Attributes:
        code: Code of the error, as in docs/reference/errors.
        why: For people.
    """

    code: str
    why: str


class Releases(Protocol):
    """Releases that this hub imported and verified."""

    async def eligible(self, *, model: str | None = None) -> Sequence[ReleaseFacts]:
        """Return what may be rolled out now, newest counter first.

        Eligible is what a vendor's verified repository names, what carries the manufacturer's
        assessment, and what both parties have approved for the present time.

        Args:
            model: Only what the approvers allow for this model.
        """
        ...

    async def release(self, sha256: str) -> ReleaseFacts:
        """Return the facts of one artefact that may be rolled out now.

        Raises:
            NotFound: No imported repository names it.
            NotPermitted: Not assessed, not approved by both parties, not valid now, or withdrawn;
                the message says which.
        """
        ...

    async def fit(self, devices: Sequence[str]) -> Mapping[str, Fit]:
        """Return what is listed of these devices; who is not listed for updates is not in it."""
        ...


class Director(Protocol):
    """What the hub assigns to devices, signed by the director key in the signer.

    Every call may be repeated, by this hub or by another one at the same time: assigning what is
    assigned and clearing what is clear change nothing.
    """

    async def assign(self, sha256: str, devices: Sequence[str]) -> Mapping[str, Refused]:
        """Assign one artefact to devices, in place of what they had for that component.

        When it returns, every device that is not in the answer finds it with its next refresh.

        Args:
            sha256: An artefact that `Releases.release` returns.
            devices: Names; any number, signed in groups.

        Returns:
            By device, why it was refused: not enrolled, revoked, not listed for updates, of a model
            that the approvers do not allow, or with too many artefacts assigned.

        Raises:
            NotFound: No imported repository names the artefact.
            NotPermitted: It may not be rolled out now.
            Unavailable: The signer does not answer; nothing else than before is served.
        """
        ...

    async def clear(self, devices: Sequence[str], *, component: str | None = None) -> None:
        """Take back what is assigned: of one component, or all of it.

        What a device has begun to install it finishes or rolls back by itself.

        Raises:
            Unavailable: The signer does not answer; what stood before is served until it does.
        """
        ...

    async def assigned(self, device: str) -> Sequence[str]:
        """Return the hashes of the artefacts that are assigned to a device; none if unknown."""
        ...
