"""What Asepsis says inside TUF metadata: the custom fields of targets and of roots.

TUF leaves `custom` of a target and unknown fields of a role to the application (TUF specification
1.0.34, sections 4.1 and 4.5). Ours stand under one name each and are read strictly: a device that
does not understand every field of a release refuses it.
"""

from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

import msgspec

from asepsis.core.errors import InputError
from asepsis.core.model.release import COUNTER_MAX, Counter, Reboot, Sha256, Version, Word
from asepsis.core.trust.director import Windows
from asepsis.core.trust.metadata.library import TargetFile

CUSTOM: Final = "asepsis"
"""Name of our object within `custom` of a target."""
MODELS_MAX: Final = 64
NO_DOCUMENT: Final = ""

Floor: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=COUNTER_MAX)]
Named: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")]
"""SHA-256 of a release document; empty for none, and then no device takes the release."""


class Custom(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what stands under `asepsis` in a target."""


class Release(Custom, frozen=True):
    """What the vendor signs about one artefact.

    Attributes:
        model: The device model it is made for; also the first part of its target path.
        component: The compartment or image it replaces.
        version: For people; decides nothing.
        counter: Number of the release of this component, larger for every new one.
        floor: Once this release is verified on a device, nothing below it is taken there.
        reboot: What has to start anew.
        document: SHA-256 of the release document: assessment, self-tests, notes.
        author: SHA-256 of the public key of the assessment's author, who never approves it.
    """

    model: Word
    component: Word
    version: Version
    counter: Counter
    floor: Floor = 0
    reboot: Reboot = "component"
    document: Named = NO_DOCUMENT
    author: Named = NO_DOCUMENT

    def __post_init__(self) -> None:
        if self.floor > self.counter:
            raise ValueError("the floor is above the release's own counter")


class Assignment(Custom, frozen=True):
    """What the hub's director says about one artefact: for whom it is.

    Attributes:
        device: Name of the one device.
        hardware: Its hardware id.
        vendor: Whose image repository names the same artefact.
        authorisation: SHA-256 of the authorisation that both approvers signed.
        windows: When the device may install it, as calendars of the hospital say it for this
            device: first second and first second after it, since 1970; none for always.
    """

    device: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    hardware: Word
    vendor: Word
    authorisation: Sha256
    windows: Windows = ()


class Terms(Custom, frozen=True):
    """What both approvers sign about one artefact.

    Attributes:
        models: Models it may be installed on.
        counter: The release's own counter, repeated.
        floor: Security floor, at least the release's own.
        not_before: First moment, seconds since 1970; the end is the metadata's expiry.
        document: SHA-256 of the release document that both read.
    """

    models: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1, max_length=MODELS_MAX)]
    counter: Counter
    floor: Floor = 0
    not_before: Annotated[int, msgspec.Meta(ge=0, le=COUNTER_MAX)] = 0
    document: Named = NO_DOCUMENT


_Custom = TypeVar("_Custom", bound=Custom)


def read_custom(target: TargetFile, kind: type[_Custom]) -> _Custom:
    """Return what stands under `asepsis` in a target.

    Raises:
        InputError: Nothing there, or not exactly the fields of that kind.
    """
    custom = cast("object", target.custom)
    found = cast("dict[str, Any]", custom).get(CUSTOM) if isinstance(custom, dict) else None
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise InputError(
            f"target {target.path} carries no {kind.__name__.lower()}: {error}"
        ) from error


def write_custom(target: TargetFile, value: Custom) -> None:
    """Put our object into a target."""
    target.unrecognized_fields["custom"] = {CUSTOM: msgspec.to_builtins(value)}
