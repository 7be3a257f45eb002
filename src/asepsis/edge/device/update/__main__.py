"""`python -m asepsis.edge.device.update init|refresh|download`: one repository, from outside.

The commands are those of tuf-conformance's client interface, so that anybody can judge this agent
with that suite. Here the fetcher is this process, and the verifier one that it starts.

Exit codes: 0 done, 1 refused or failed (standard error says why), 2 an operator's mistake.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import AsepsisError, ConfigError
from asepsis.core.trust.sealing import write_durably
from asepsis.edge.device.update.fetching import Fetcher, Place, Repository
from asepsis.edge.device.update.starting import verify
from asepsis.edge.device.update.talk import IMAGE

ROOT_BYTES_MAX: Final = 512_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _options(arguments)
    try:
        if options.command == "init":
            init(options.metadata_dir, options.root)
        else:
            run(options)
    except AsepsisError as error:
        sys.stderr.write(f"{error.code}: {error} {error.hint}\n")
        return 1
    return 0


def init(metadata: Path, root: Path) -> None:
    """Give the device its trusted root; nothing is asked of anybody.

    Raises:
        ConfigError: No such file, too long, or the folder cannot be written.
    """
    try:
        with root.open("rb") as file:
            content = file.read(ROOT_BYTES_MAX + 1)
        if len(content) > ROOT_BYTES_MAX:
            raise ConfigError(f"a root has at most {ROOT_BYTES_MAX} bytes")
        metadata.mkdir(parents=True, exist_ok=True)
        write_durably(metadata / "root.json", content)
    except OSError as error:
        raise ConfigError(f"the root cannot be kept: {error.strerror}") from error


def run(options: argparse.Namespace) -> list[str]:
    """Refresh, or download; returns the files.

    Raises:
        ConfigError: Not enough is said.
        AsepsisError: The verifier refuses, or the repository does not answer.
    """
    download = options.command == "download"
    if options.metadata_url is None or (download and options.target_base_url is None):
        raise ConfigError("say where the repository is", hint="--metadata-url, --target-base-url")
    if download and (options.target_dir is None or not options.target_name):
        raise ConfigError("say what is wanted", hint="--target-name, --target-dir")
    with tempfile.TemporaryDirectory(prefix="asepsis-incoming-") as scratch:
        incoming = options.incoming_dir or Path(scratch)
        fetcher = Fetcher(
            repositories={
                IMAGE: Repository(
                    Place.parse(options.metadata_url),
                    Place.parse(options.target_base_url) if download else None,
                )
            },
            incoming=incoming,
            now_s=time.monotonic,
        )
        order: dict[str, Any] = {
            "metadata": str(options.metadata_dir.resolve()),
            "artefacts": str(options.target_dir.resolve()) if download else None,
            "incoming": str(incoming.resolve()),
            "names": options.target_name or [],
            "now_s": int(time.time()),
        }
        result = verify(order, fetcher)
    if not result.get("done"):
        raise AsepsisError(f"{result.get('code')}: {result.get('why')}")
    return result["files"]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="asepsis-update", description=__doc__)
    parser.add_argument("--metadata-dir", type=Path, required=True, help="trusted metadata")
    parser.add_argument("--metadata-url", help="the repository's metadata")
    parser.add_argument("--target-name", action="append", help="target path; repeat for more")
    parser.add_argument("--target-base-url", help="the repository's artefacts")
    parser.add_argument("--target-dir", type=Path, help="checked artefacts")
    parser.add_argument(
        "--incoming-dir", type=Path, help="unchecked artefacts; kept, a cut download goes on"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init", help="trust a root").add_argument("root", type=Path)
    commands.add_parser("refresh", help="bring the trusted metadata up to date")
    commands.add_parser("download", help="refresh, then fetch and check artefacts")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
