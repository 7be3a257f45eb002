"""What each compartment of an image loads: asked of the image's own interpreter.

A compartment is what it can execute. The list stands in the report, so that a reviewer sees a new
parser in the critical compartment before an attacker does; what nobody may load ends the build.

Source: IEC 62304, 5.3.5 (segregation), for which the list is evidence.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from asepsis.core.errors import ContentMismatch
from asepsis.core.model.manifest import Manifest
from asepsis.edge.device.manifest import VERIFIER
from asepsis.tools.imagebuild.programs import run
from asepsis.tools.imagebuild.recipe import PROGRAMS, Recipe
from asepsis.tools.imagebuild.tree import OURS, interpreter, loader

_ASK: Final = """\
import importlib, sys
sys.path[:] = [path for path in sys.path if path.startswith(sys.argv[1])] + [sys.argv[2]]
importlib.import_module(sys.argv[3])
names = sorted(name for name in sys.modules if name != "__main__")
with open("/proc/self/maps") as maps:
    files = {line.split()[-1] for line in maps if ".so" in line}
libraries = sorted({name.rpartition("/")[2] for name in files})
import json
print(json.dumps({"modules": names, "libraries": libraries}))
"""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What one compartment has loaded once its code is imported.

    Attributes:
        modules: Names of Python modules, sorted.
        libraries: File names of shared libraries and compiled modules, sorted.
    """

    modules: tuple[str, ...]
    libraries: tuple[str, ...]


def list_imports(root: Path, manifest: Manifest, recipe: Recipe) -> dict[str, Loaded]:
    """Return what each compartment loads, by its name.

    Args:
        root: The assembled root.
        manifest: Of the device.
        recipe: Of the image.

    Raises:
        Unavailable: A compartment's code does not load from this root.
        ContentMismatch: A compartment loads what it must not.
    """
    found: dict[str, Loaded] = {}
    for compartment in manifest.compartments.values():
        said = run(
            (*interpreter(root, recipe), "-c", _ASK, root, root / OURS, compartment.code),
            environment={"PYTHONHOME": str(root / "usr")},
        )
        found[compartment.name] = msgspec.json.decode(said, type=Loaded)
    for name in recipe.machine_code:
        # What runs in its place: no interpreter, and so no modules.
        found[name] = Loaded(modules=(), libraries=_linked(root, name))
    check_imports(found)
    return found


def _linked(root: Path, name: str) -> tuple[str, ...]:
    """Return the shared libraries of a program in machine code, as the root's own loader finds."""
    said = run((*loader(root), "--list", root / PROGRAMS / name))
    words = (line.split()[0].rpartition("/")[2] for line in said.splitlines() if line.strip())
    return tuple(sorted(word for word in words if ".so" in word))


def check_imports(found: Mapping[str, Loaded]) -> None:
    """Check who loads what.

    Raises:
        ContentMismatch: Another compartment than the verifier loads `cryptography`; names it.
    """
    for name, loaded in found.items():
        packages = {module.partition(".")[0] for module in loaded.modules}
        if name != VERIFIER and "cryptography" in packages:
            raise ContentMismatch(f"the compartment {name} loads cryptography")
