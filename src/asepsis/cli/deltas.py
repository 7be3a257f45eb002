"""`asepsis release delta`: the difference that costs a device least."""

import hashlib
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from asepsis.cli.output import show_json, show_table
from asepsis.cli.release import app as release_app
from asepsis.core.errors import ConfigError
from asepsis.core.trust.delta import Method
from asepsis.tools.deltas.choosing import Means, choose, cost_s
from asepsis.tools.deltas.measuring import measure

_MIB: Final = 1 << 20


@release_app.command(name="delta")
def delta(
    old: Annotated[Path, Parameter(help="Artefact that devices have, not packed.")],
    new: Annotated[Path, Parameter(help="Artefact that they are to have, not packed.")],
    into: Annotated[Path, Parameter(help="New file for the difference.")],
    /,
    *,
    memory: Annotated[float, Parameter(help="Memory that a device may take for it, MiB.")] = 256.0,
    link: Annotated[float, Parameter(help="What its network carries, kB a second.")] = 500.0,
    slower: Annotated[
        float, Parameter(help="How many times slower than this machine it computes.")
    ] = 8.0,
    json: bool = False,
) -> None:
    """Try every kind of difference between two artefacts, and keep the one that costs least.

    Cost is the time that a device needs to fetch and to apply it, within its memory. What is
    printed goes into the release document; devices check the result against the signed hash and
    fetch the whole artefact where that fails. Compare what is not compressed.
    """
    means = Means(memory_bytes=int(memory * _MIB), link_bytes_per_s=link * 1_000, slower=slower)
    if into.exists():
        raise ConfigError(f"{into} is there already")
    with tempfile.TemporaryDirectory(prefix="asepsis-deltas-") as folder:
        found = measure(old, new, Path(folder))
        best = choose(list(found), means)
        content = found[best].read_bytes() if best.method is not Method.FULL else b""
    rows = [
        (one.method, one.packer, one.size, f"{one.apply_s:.2f}", one.memory_bytes // _MIB,
         f"{cost_s(one, means):.1f}")
        for one in found
    ]  # fmt: skip
    said: dict[str, Any] = {"method": best.method.value}
    if content:
        try:
            into.write_bytes(content)
        except OSError as error:
            raise ConfigError(f"{into} cannot be written: {error.strerror}") from error
        said |= {
            "old": hashlib.sha256(old.read_bytes()).hexdigest(),
            "sha256": hashlib.sha256(content).hexdigest(),
            "length": len(content),
            "memory_mib": -(-best.memory_bytes // _MIB),
        }
    if json:
        show_json(said)
        return
    columns = ("method", "packed", "bytes", "applied in s", "MiB", "cost in s")
    show_table("Ways to the new artefact", columns, rows)
    show_table("For the release document", ("", ""), list(said.items()))
