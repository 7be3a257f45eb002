"""The SELinux policy in the root, and the label of every file there.

The policy is the one that is generated from the manifest of the device. What a compartment's view
shows is labelled as code; folders on the way to it can be passed; everything else, such as the
launcher and the policy, no compartment may touch.

Source: squashfs-tools, USAGE, "xattrs"; SELinux Notebook, "Labeling Objects".
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.device.manifest import whole
from asepsis.edge.sandbox.domains import ATTRIBUTE, object_context
from asepsis.edge.sandbox.generate import secilc, selinux
from asepsis.edge.sandbox.generate.selinux_base import CODE, FOLDERS, OTHER
from asepsis.tools.imagebuild.codeset import PACKAGE
from asepsis.tools.imagebuild.tree import LIBRARY_FOLDERS, OURS

POLICY: Final = f"{OURS}/policy"
SHOWN: Final = (
    *LIBRARY_FOLDERS,
    "lib64",
    "usr/bin/python3.11",
    "usr/lib/python3.11",
    *(f"{OURS}/{PACKAGE}/{part}" for part in ("__init__.py", "core", "edge")),
)
"""What `edge.sandbox.bubblewrap` shows to compartments."""


def add_policy(tree: Path) -> None:
    """Compile the policy of the device into its root.

    Raises:
        ConfigError: No compiler, or a safety claim does not hold.
    """
    (tree / POLICY).write_bytes(secilc.compile_policy(selinux.policy(whole())))
    (tree / POLICY).chmod(0o644)


def policy_hash(tree: Path) -> str:
    """Return the SHA-256 of the policy in a root."""
    return hashlib.sha256((tree / POLICY).read_bytes()).hexdigest()


def label_tree(tree: Path) -> None:
    """Label every file, folder and link of a root.

    Raises:
        ConfigError: Labels cannot be written here: not root, or the file system takes none.
    """
    for path in (tree, *tree.rglob("*")):
        context = object_context(type_of(path.relative_to(tree).as_posix())).encode("ascii")
        try:
            os.setxattr(path, ATTRIBUTE, context + b"\0", follow_symlinks=False)
        except OSError as error:
            raise ConfigError(
                f"cannot label {path.name}: {error.strerror}",
                hint="build as root, with TMPDIR on a file system such as ext4 or tmpfs",
            ) from error


def type_of(name: str) -> str:
    """Return the type of a file of the root, by its path without the first slash."""
    if any(name == shown or name.startswith(f"{shown}/") for shown in SHOWN):
        return CODE
    if name == "." or any(shown.startswith(f"{name}/") for shown in SHOWN):
        return FOLDERS
    return OTHER
