"""`asepsis image patch` and `asepsis image deliver`: live patches of a device's kernel."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from asepsis.cli.image import app
from asepsis.cli.output import console, problems, show_facts, show_json
from asepsis.core.errors import ConfigError
from asepsis.tools.imagebuild import livepatch
from asepsis.tools.imagebuild.build import KEYS
from asepsis.tools.imagebuild.secureboot import SecureBootKeys


@app.command
def patch(
    source: Annotated[Path, Parameter(help="C source; its name is the name of the patch.")],
    /,
    *,
    image: Annotated[Path, Parameter(help="Folder of the image whose kernel is patched.")] = Path(
        "image"
    ),
    out: Annotated[Path, Parameter(help="Folder for module and parcels.")] = Path("patch"),
    keys: Annotated[
        Path | None, Parameter(help="Folder of the keys; without it, the image's own.")
    ] = None,
    number: Annotated[
        int, Parameter(help="Number of the parcel; the withdrawal has the next one.")
    ] = 1,
    json: bool = False,
) -> None:
    """Build a live patch for the kernel of an image, signed, and the parcels that carry it.

    The kernel's headers are fetched in the version of the image, and not installed. In the folder
    are then NAME.ko, NAME.parcel, which loads it, and NAME-withdraw.parcel. `deliver` brings them.
    """
    folder = SecureBootKeys(keys or image / KEYS)
    built = livepatch.build_patch(
        source, image, keys=folder, progress=lambda step: problems.print(step, markup=False)
    )
    made = {
        f"{built.name}.ko": built.signed,
        f"{built.name}.parcel": livepatch.parcel_of(
            built.signed, name=built.name, number=number, keys=folder
        ),
        f"{built.name}-withdraw.parcel": livepatch.parcel_of(
            b"", name=built.name, number=number + 1, keys=folder
        ),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror}") from error
    if json:
        show_json(built.report())
    else:
        show_facts("Live patch", built.report())
        console.print(f"In {out}: {', '.join(sorted(made))}", markup=False, soft_wrap=True)


@app.command
def deliver(
    parcel: Annotated[Path, Parameter(help="Parcel, as `image patch` made it.")],
    medium: Annotated[Path, Parameter(help="Service medium of `image boot --medium`.")],
    /,
) -> None:
    """Put a parcel on a service medium; a machine that runs with it takes it within a second.

    What the machine made of it stands on its serial line: `patched`, `unpatched` or
    `parcel-refused`, with the reason.
    """
    try:
        content = parcel.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {parcel}: {error.strerror}") from error
    livepatch.deliver(content, medium)
    console.print(f"{len(content)} bytes on {medium}", markup=False)
