"""The recipe of an image: what goes in, what may run, and how large it may become."""

import tomllib
from pathlib import Path
from typing import Final

import msgspec

from asepsis.core.errors import ConfigError

RECIPE_BYTES_MAX: Final = 65_536
RECIPE: Final = "recipe.toml"
STAGE1: Final = "stage1.c"
PROGRAMS: Final = "usr/lib/asepsis/programs"
"""Folder of compartments in machine code, relative to the root."""
INIT: Final = Path(__file__).with_name("guest_init.py")
"""The first program in the root; outside the package there, as a script of its own."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How large an image may become; a build over a limit fails.

    Attributes:
        root_mib: The root with its hash tree, MiB.
        device_mib: Root, hash tree and unified kernel image together, MiB.
    """

    root_mib: int
    device_mib: int


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `recipe.toml` says.

    Attributes:
        name: Of the image.
        suite: Debian release whose packages are used.
        packages: Debian packages that files are taken from, besides what they depend on.
        kernel: Debian meta package of the kernel.
        programs: The only files that may be executed, relative to the root; the first is the
            interpreter.
        machine_code: Compartments in C: each has its source beside the recipe, and its program in
            `usr/lib/asepsis/programs`.
        machine_code_libraries: Libraries that they are linked with, without `lib`.
        headers: Folder of the headers of compartments in C, relative to the recipe.
        libraries: Shared libraries that are opened at run time.
        python: Folder of the standard library, relative to the root.
        modules: Our own modules; what they import comes along.
        standard_library_without: Files and folders of the standard library left out.
        extensions_without: Compiled modules left out, by the name in front of the first dot.
        kernel_modules: Modules that the first program loads, with what they depend on.
        kernel_arguments: Signed with the kernel.
        ports: TCP and UDP ports that may listen.
        cpe: Vendor and product by source package, as advisories outside of Debian name it.
        limits: Sizes.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    kernel: str
    programs: tuple[str, ...]
    machine_code: tuple[str, ...] = ()
    machine_code_libraries: tuple[str, ...] = ()
    headers: str = "."
    libraries: tuple[str, ...]
    python: str
    modules: tuple[str, ...]
    standard_library_without: frozenset[str]
    extensions_without: frozenset[str]
    kernel_modules: tuple[str, ...]
    kernel_arguments: tuple[str, ...]
    ports: tuple[int, ...]
    cpe: dict[str, str]
    limits: Limits

    @property
    def executables(self) -> tuple[str, ...]:
        """Every file that may be executed, relative to the root."""
        return (*self.programs, *(f"{PROGRAMS}/{name}" for name in self.machine_code))


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe in a folder.

    Raises:
        ConfigError: Absent, no TOML, an unknown key or a wrong value; names file and key.
    """
    path = folder / RECIPE
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}", hint="name the folder of a recipe"
        ) from error
    if len(raw) > RECIPE_BYTES_MAX:
        raise ConfigError(f"{path} is longer than {RECIPE_BYTES_MAX} bytes")
    try:
        found = msgspec.convert(tomllib.loads(raw.decode("utf-8")), Recipe)
    except (msgspec.ValidationError, ValueError) as error:  # TOML and UTF-8 errors are ValueErrors
        raise ConfigError(f"{path}: {error}") from error
    if not found.programs or not (folder / STAGE1).is_file():
        raise ConfigError(f"{path}: no programs, or no {STAGE1} beside it")
    return found
