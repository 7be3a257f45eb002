"""What listens and what runs on this machine, from the kernel's own tables.

Source: proc(5).
"""

from pathlib import Path
from typing import Any, Final

from asepsis.edge.sandbox.domains import of

_LISTEN, _UNCONNECTED = "0A", "07"
_TABLES: Final = (
    ("tcp", _LISTEN),
    ("tcp6", _LISTEN),
    ("udp", _UNCONNECTED),
    ("udp6", _UNCONNECTED),
    ("raw", _UNCONNECTED),
)


def listening() -> list[str]:
    """Return what listens on this machine, as `tcp 8443`."""
    found: set[str] = set()
    for name, state in _TABLES:
        try:
            lines = (Path("/proc/net") / name).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == state:
                found.add(f"{name} {int(fields[1].rpartition(':')[2], 16)}")
    return sorted(found)


def processes() -> list[dict[str, Any]]:
    """Return every process with a program: user, domain and whether it filters system calls."""
    found: list[dict[str, Any]] = []
    numbers = (path.name for path in Path("/proc").iterdir() if path.name.isdigit())
    for name in sorted(numbers, key=int):
        try:
            program = str(Path(f"/proc/{name}/exe").readlink())
            lines = Path(f"/proc/{name}/status").read_text("ascii").splitlines()
        except OSError:
            continue
        status = {key: value for key, _, value in (line.partition(":\t") for line in lines)}
        found.append(
            {
                "pid": int(name),
                "program": program,
                "domain": of(int(name)),
                "uid": int(status["Uid"].split()[0]),
                "seccomp": status.get("Seccomp", "0") == "2",
                "rss_kib": int(status.get("VmRSS", "0").split()[0]),
            }
        )
    return found
