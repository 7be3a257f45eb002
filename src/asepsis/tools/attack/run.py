"""A whole run: one device for each set of layers, in folders that are gone afterwards."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from asepsis.core.errors import ConfigError
from asepsis.edge.device.manifest import whole
from asepsis.edge.sandbox import landlock
from asepsis.edge.sandbox.layers import Layers, require_apart
from asepsis.tools.attack import guest, rows_device, rows_service, sets
from asepsis.tools.attack.enrolled import enrolled
from asepsis.tools.attack.guest import GuestTrial
from asepsis.tools.attack.mdhex.replay import Replay, replay
from asepsis.tools.attack.report import Machine, Report
from asepsis.tools.attack.rig import Trial, attacked


def run(
    labels: Sequence[str],
    *,
    found: Layers,
    at: str,
    abi: int | None = None,
    with_guest: bool = False,
    with_replay: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Attack a device once for each set of layers.

    Args:
        labels: From `sets.labels`.
        found: Layers of this machine.
        at: Time of the run, for the report.
        abi: Landlock is made to look no newer than this; None for what the kernel has.
        with_guest: Whether a guest with SELinux is attacked too.
        with_replay: Whether the six MDhex-shaped flaws are replayed.
        progress: Told what comes next.

    Raises:
        ConfigError: This machine cannot keep compartments apart, `abi` is newer than it, or the
            guest's packages are missing.
        Unavailable: A compartment did not come up.
    """
    require_apart(found.holding)
    if with_guest and (lacks := guest.missing()):
        raise ConfigError(f"no guest can be started: {lacks}", hint="or leave --guest off")
    known = landlock.abi()
    if abi is not None and not 1 <= abi <= known:
        raise ConfigError(
            f"this kernel has Landlock {known}, so {abi} cannot be tried",
            hint="the report calculates what other versions come to",
        )
    version = known if abi is None else abi
    trials: list[tuple[str, Trial]] = []
    for label in labels:
        progress(label)
        on = sets.layers(label, holding=found.holding)
        with tempfile.TemporaryDirectory(prefix="asepsis-attack-") as made:
            place = Path(made)
            place.chmod(0o755)  # Compartments may run as users of their own.
            folder = enrolled(place / "device")
            trials.append((label, attacked(folder, layers=on, abi=version, place=place)))
    progress("what travels, and the supervisor")
    with tempfile.TemporaryDirectory(prefix="asepsis-attack-") as made:
        Path(made).chmod(0o755)
        judged = rows_device.rows(enrolled(Path(made) / "device"), layers=found.holding)
        serviced = enrolled(Path(made) / "serviced")
        judged += rows_service.rows(serviced, layers=found.holding)
    return Report(
        machine=Machine.here(found, abi=version),
        at=at,
        trials=trials,
        rows=judged,
        guest=_guest(progress) if with_guest else None,
        replay=_replay(found, progress) if with_replay else None,
    )


def _guest(progress: Callable[[str], None]) -> GuestTrial:
    progress("root in a guest with SELinux")
    with tempfile.TemporaryDirectory(prefix="asepsis-guest-") as made:
        return guest.attacked(whole(), folder=Path(made))


def _replay(found: Layers, progress: Callable[[str], None]) -> Replay:
    progress("six flaws in one process and in compartments")
    with tempfile.TemporaryDirectory(prefix="asepsis-mdhex-") as made:
        place = Path(made)
        place.chmod(0o755)
        return replay(enrolled(place / "device"), layers=found.holding, place=place)
