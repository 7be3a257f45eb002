"""Puts the root together: a few files out of the packages, and our own code as bytecode."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asepsis
from asepsis.core.errors import ConfigError
from asepsis.tools.imagebuild.codeset import PACKAGE, closure, imported_by
from asepsis.tools.imagebuild.programs import run
from asepsis.tools.imagebuild.recipe import INIT, PROGRAMS, Recipe

LIBRARY_FOLDERS: Final = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
LOADER: Final = "lib64/ld-linux-x86-64.so.2"
OURS: Final = "usr/lib/asepsis"
DELIVERY: Final = f"{OURS}/delivery.der"
"""Public key of what is brought to the running device."""
"""Folder on the module search path of the device."""
FOLDERS: Final = ("proc", "sys", "dev", "run", "tmp", "state", "etc")
LINKS: Final = {"etc/hosts": "/run/hosts", "etc/resolv.conf": "/run/resolv.conf"}
_NEEDED: Final = re.compile(r"\(NEEDED\).*\[(.+)\]")
_IMPORT: Final = """\
import importlib, sys
sys.path[:] = [path for path in sys.path if path.startswith(sys.argv[1])] + [sys.argv[2]]
for name in sys.argv[3:]:
    importlib.import_module(name)
"""
_COMPILE: Final = """\
import os, py_compile, sys
root = sys.argv[1]
for path in sys.argv[2:]:
    py_compile.compile(path, path + "c", dfile="/" + os.path.relpath(path, root), doraise=True,
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


_C_FLAGS: Final = (
    *("-std=c11", "-Os", "-s", "-D_GNU_SOURCE", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong"),
    *("-Wall", "-Wextra", "-Werror", "-Wl,-z,relro,-z,now", "-Wl,--build-id=none"),
)


def assemble(source: Path, target: Path, recipe: Recipe, *, folder: Path, delivery: Path) -> None:
    """Copy what the recipe names from the unpacked packages, and our code, to the new root.

    Args:
        source: Unpacked packages.
        target: Does not exist yet.
        recipe: What goes in.
        folder: Of the recipe, with the sources of compartments in C.
        delivery: Public key of what is brought to the running device.

    Raises:
        ConfigError: The recipe names something that is not there.
        Unavailable: The code does not compile.
    """
    for name in FOLDERS:
        (target / name).mkdir(parents=True)
    for link, to in LINKS.items():
        (target / link).symlink_to(to)
    for program in recipe.programs:
        _copy(source, target, program)
    _standard_library(source, target, recipe)
    for name in recipe.libraries:
        _copy(source, target, _library(source, name))
    _machine_code(folder, target, recipe)
    _shared_libraries(source, target)
    _our_code(target, recipe)
    shutil.copyfile(delivery, target / DELIVERY)
    _compile(source, target, recipe)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or str(path.relative_to(target)) in recipe.executables
            path.chmod(0o755 if executable or _is_loader(path) else 0o644)
    _import_all(target, recipe)


def elf_files(root: Path) -> Iterator[Path]:
    """Yield every program and shared library below a folder."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _is_loader(path: Path) -> bool:
    return path.name.startswith("ld-linux")


def _copy(source: Path, target: Path, name: str) -> None:
    found = Path(os.path.realpath(source / name))
    if not found.is_file() or not found.is_relative_to(source):
        raise ConfigError(f"the packages of the recipe have no {name}")
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, target / name)


def _library(source: Path, name: str) -> str:
    for folder in LIBRARY_FOLDERS:
        if (source / folder / name).exists():
            return f"{folder}/{name}"
    raise ConfigError(f"the packages of the recipe have no library {name}")


def _machine_code(folder: Path, target: Path, recipe: Recipe) -> None:
    """Compile the compartments in C, without anything of this machine in them."""
    programs = (target / PROGRAMS).resolve()
    programs.mkdir(parents=True)
    libraries = [f"-l{name}" for name in recipe.machine_code_libraries]
    for name in recipe.machine_code:
        words = (*_C_FLAGS, f"-I{recipe.headers}", "-o", programs / name, f"{name}.c", *libraries)
        run(("gcc", *words), cwd=folder)


def _shared_libraries(source: Path, target: Path) -> None:
    """Copy what the programs and libraries of the new root need, until nothing is missing."""
    _copy(source, target, f"{LIBRARY_FOLDERS[0]}/ld-linux-x86-64.so.2")
    loader = target / LOADER
    loader.parent.mkdir()
    loader.symlink_to(f"/{LIBRARY_FOLDERS[0]}/{loader.name}")
    seen: set[Path] = set()
    while open_ := [path for path in elf_files(target) if path not in seen]:
        seen.update(open_)
        for name in sorted(set(_NEEDED.findall(run(("readelf", "-d", "-W", *open_))))):
            wanted = _library(source, name)
            if not (target / wanted).exists():
                _copy(source, target, wanted)


def _standard_library(source: Path, target: Path, recipe: Recipe) -> None:
    def unwanted(folder: str, names: list[str]) -> set[str]:
        here = Path(folder)
        if here == source / recipe.python:
            return {name for name in names if name in recipe.standard_library_without}
        if here.name == "lib-dynload":
            return {n for n in names if n.partition(".")[0] in recipe.extensions_without}
        return {name for name in names if name in ("__pycache__", "test", "tests", "idle_test")}

    if not (source / recipe.python / "os.py").is_file():
        raise ConfigError(f"the packages of the recipe have no standard library in {recipe.python}")
    shutil.copytree(source / recipe.python, target / recipe.python, ignore=unwanted)


def _our_code(target: Path, recipe: Recipe) -> None:
    package = Path(asepsis.__file__).resolve().parent
    wanted = (*recipe.modules, *imported_by(INIT, package=package))
    modules = closure(wanted, package=package).values()
    # What a module reads beside itself, for example the manifest of the compartments.
    beside = {data for path in modules for data in path.parent.glob("*.toml")}
    for path in (*modules, *sorted(beside)):
        to = target / OURS / PACKAGE / path.relative_to(package)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    shutil.copyfile(INIT, target / OURS / "init.py")


def _import_all(target: Path, recipe: Recipe) -> None:
    """Import every module of ours with nothing but what is in the new root.

    Raises:
        Unavailable: Something is missing; says what.
    """
    package = target / OURS / PACKAGE
    modules = (path.relative_to(package).with_suffix("") for path in package.rglob("*.pyc"))
    names = [".".join((PACKAGE, *module.parts)) for module in modules if module.parts]
    wanted = sorted(name.removesuffix(".__init__") for name in names)
    run(
        (*interpreter(target, recipe), "-c", _IMPORT, target, target / OURS, *wanted),
        environment={"PYTHONHOME": str(target / "usr")},
    )


def interpreter(root: Path, recipe: Recipe) -> tuple[str | Path, ...]:
    """Return how to start the interpreter of a root from outside."""
    return (*loader(root), root / recipe.programs[0], "-S", "-B")


def loader(root: Path) -> tuple[str | Path, ...]:
    """Return how to start a program of a root from outside.

    It is started by its own loader, so that neither root nor equal versions on this machine are
    needed.
    """
    libraries = ":".join(str(root / folder) for folder in LIBRARY_FOLDERS)
    return (root / LIBRARY_FOLDERS[0] / "ld-linux-x86-64.so.2", "--library-path", libraries)


def _compile(source: Path, target: Path, recipe: Recipe) -> None:
    """Turn every module to bytecode with the device's own interpreter, and drop the text."""
    modules = sorted(target.rglob("*.py"))
    run(
        (*interpreter(source, recipe), "-c", _COMPILE, target, *modules),
        # One order of sets in the bytecode, whichever machine builds.
        environment={"PYTHONHASHSEED": "0", "PYTHONHOME": str(source / "usr")},
    )
    for path in modules:
        # The sandbox shows this one file to compartments by its name; it holds a version.
        if path != target / OURS / PACKAGE / "__init__.py":
            path.unlink()
