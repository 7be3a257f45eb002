"""The systemd unit of a device: it starts the supervisor, which starts the compartments. Pure.

The unit bounds the supervisor by what its compartments need together. It cannot take away what
bubblewrap needs to build a view: mounts and namespaces.

Source: systemd.exec(5), systemd.resource-control(5), systemd.service(5).
"""

from typing import Final

from asepsis.core.model.manifest import REALTIME_MAX, Manifest

SUPERVISOR_MIB: Final = 256
SUPERVISOR_TASKS: Final = 64
STATE: Final = "/var/lib/asepsis"
COMMAND: Final = "/usr/bin/asepsis device run --folder"
_CAPABILITIES: Final = (
    "CAP_CHOWN",  # The network compartment's folder is given to its user.
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",  # A compartment that hangs is ended.
    "CAP_NET_ADMIN",  # bubblewrap brings up the loopback of an empty network namespace.
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",  # bubblewrap mounts.
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
)
_HARDENING: Final = """\
NoNewPrivileges=yes
UMask=0077
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=cgroup ipc mnt net pid user uts
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap
KeyringMode=private
"""


def unit_name(manifest: Manifest) -> str:
    """Return the name of the unit."""
    return f"asepsis-{manifest.device}.service"


def unit(manifest: Manifest) -> str:
    """Return the unit."""
    all_of = manifest.compartments.values()
    memory_mib = SUPERVISOR_MIB + sum(c.resources.memory_mib for c in all_of)
    tasks = SUPERVISOR_TASKS + 2 * sum(c.resources.tasks for c in all_of)  # bubblewrap's own too.
    locked = any(c.resources.lock_memory for c in all_of)
    realtime = max((c.resources.realtime for c in all_of), default=0)
    capabilities = [*_CAPABILITIES, *(["CAP_IPC_LOCK"] if locked else [])]
    lines = [
        "# Generated from the compartment manifest; change that instead.",
        "[Unit]",
        f"Description=Device in compartments: {_plain(manifest.text)}",
        "After=network.target",
        "",
        "[Service]",
        f"ExecStart={COMMAND} {STATE}",
        f"StateDirectory={STATE.rpartition('/')[2]}",
        "StateDirectoryMode=0700",
        "Restart=always",
        "RestartSec=1",
        "OOMPolicy=continue",
        "Delegate=yes",
        f"MemoryMax={memory_mib}M",
        f"TasksMax={tasks}",
        f"LimitRTPRIO={min(realtime, REALTIME_MAX)}",
        f"LimitMEMLOCK={'infinity' if locked else '0'}",
        f"CapabilityBoundingSet={' '.join(sorted(capabilities))}",
        "AmbientCapabilities=",
        _HARDENING,
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    # Percent signs are specifiers; a backslash at the end would join the next line.
    return text.replace("%", "%%").replace("\\", "/")
