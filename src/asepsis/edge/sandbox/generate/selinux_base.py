"""The part of the SELinux policy that is the same in every device: classes, initial SIDs, contexts.

What is not declared here the kernel denies (`handleunknown deny`).

Source: Linux 6.1 `security/selinux/include/classmap.h`, `initial_sid_to_string.h`; SELinux CIL
reference guide.
"""

from typing import Final

_DATA: Final = "ioctl read write create getattr setattr lock relabelfrom relabelto append map"
_FILE: Final = (
    f"{_DATA} unlink link rename execute quotaon mounton audit_access open execmod watch "
    "watch_mount watch_sb watch_with_perm watch_reads"
)
_SOCKET: Final = (
    f"{_DATA} bind connect listen accept getopt setopt shutdown recvfrom sendto name_bind"
)
_IPC: Final = "create destroy getattr setattr read write associate unix_read unix_write"
_CAPABILITY: Final = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable "
    "net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio "
    "sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time "
    "sys_tty_config mknod lease audit_write audit_control setfcap"
)
_CAPABILITY2: Final = (
    "mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf "
    "checkpoint_restore"
)
COMMONS: Final = {
    "file_common": _FILE,
    "socket_common": _SOCKET,
    "ipc_common": _IPC,
    "capability_common": _CAPABILITY,
    "capability2_common": _CAPABILITY2,
}
_PLAIN_SOCKETS: Final = """\
socket netlink_socket packet_socket key_socket unix_dgram_socket netlink_nflog_socket
netlink_selinux_socket netlink_iscsi_socket netlink_fib_lookup_socket netlink_connector_socket
netlink_netfilter_socket netlink_dnrt_socket netlink_kobject_uevent_socket netlink_generic_socket
netlink_scsitransport_socket netlink_rdma_socket netlink_crypto_socket appletalk_socket
ax25_socket ipx_socket netrom_socket atmpvc_socket x25_socket rose_socket
decnet_socket atmsvc_socket rds_socket irda_socket pppox_socket llc_socket can_socket tipc_socket
bluetooth_socket iucv_socket rxrpc_socket isdn_socket phonet_socket ieee802154_socket caif_socket
alg_socket nfc_socket vsock_socket kcm_socket qipcrtr_socket smc_socket xdp_socket mctp_socket\
"""
SOCKETS: Final[dict[str, str]] = {
    "tcp_socket": "node_bind name_connect",
    "udp_socket": "node_bind",
    "rawip_socket": "node_bind",
    "icmp_socket": "node_bind",
    "sctp_socket": "node_bind name_connect association",
    "dccp_socket": "node_bind name_connect",
    "unix_stream_socket": "connectto",
    "netlink_route_socket": "nlmsg_read nlmsg_write",
    "netlink_tcpdiag_socket": "nlmsg_read nlmsg_write",
    "netlink_xfrm_socket": "nlmsg_read nlmsg_write",
    "netlink_audit_socket": ("nlmsg_read nlmsg_write nlmsg_relay nlmsg_readpriv nlmsg_tty_audit"),
    "tun_socket": "attach_queue",
    **dict.fromkeys(_PLAIN_SOCKETS.replace("", "").split(), ""),
}
"""Socket classes and what each has beyond the common permissions."""
UNIX_SOCKETS: Final = ("unix_stream_socket", "unix_dgram_socket")
NETWORK_SOCKETS: Final = tuple(name for name in SOCKETS if name not in UNIX_SOCKETS)
FILES: Final = {
    "file": "execute_no_trans entrypoint",
    "dir": "add_name remove_name reparent search rmdir",
    "lnk_file": "",
    "chr_file": "",
    "blk_file": "",
    "sock_file": "",
    "fifo_file": "",
}
_IPCS: Final = {"sem": "", "msgq": "enqueue", "shm": "lock", "ipc": ""}
_CAPABILITIES: Final = {
    "capability": "capability_common",
    "cap_userns": "capability_common",
    "capability2": "capability2_common",
    "cap2_userns": "capability2_common",
}
_OWN: Final = {
    "security": (
        "compute_av compute_create compute_member check_context load_policy compute_relabel "
        "compute_user setenforce setbool setsecparam setcheckreqprot read_policy validate_trans"
    ),
    "process": (
        "fork transition sigchld sigkill sigstop signull signal ptrace getsched setsched "
        "getsession getpgid setpgid getcap setcap share getattr setexec setfscreate noatsecure "
        "siginh setrlimit rlimitinh dyntransition setcurrent execmem execstack execheap "
        "setkeycreate setsockcreate getrlimit"
    ),
    "process2": "nnp_transition nosuid_transition",
    "system": "ipc_info syslog_read syslog_mod syslog_console module_request module_load",
    "filesystem": (
        "mount remount unmount getattr relabelfrom relabelto associate quotamod quotaget watch"
    ),
    "fd": "use",
    "node": "recvfrom sendto",
    "netif": "ingress egress",
    "msg": "send receive",
    "key": "view read write search link setattr create",
    "memprotect": "mmap_zero",
    "kernel_service": "use_as_override create_files_as",
    "packet": "send recv relabelto forward_in forward_out",
    "peer": "recv",
    "association": "sendto recvfrom setcontext polmatch",
    "bpf": "map_create map_read map_write prog_load prog_run",
    "perf_event": "open cpu kernel tracepoint read write",
    "lockdown": "integrity confidentiality",
    "io_uring": "override_creds sqpoll cmd",
    "user_namespace": "create",
}
CLASSES: Final[dict[str, tuple[str, str]]] = {
    **{name: ("", own) for name, own in _OWN.items()},
    **{name: ("file_common", own) for name, own in (FILES | {"anon_inode": ""}).items()},
    **{name: ("socket_common", own) for name, own in SOCKETS.items()},
    **{name: ("ipc_common", own) for name, own in _IPCS.items()},
    **{name: (common, "") for name, common in _CAPABILITIES.items()},
}
"""Class -> (common set, own permissions)."""
KERNEL: Final = "kernel_t"
SUPERVISOR: Final = "supervisor_t"
CODE: Final = "code__t"
FOLDERS: Final = "folders__t"
"""Folders on the way to what a compartment may open; nothing can be written there."""
LOG: Final = "log__t"
"""The file that takes standard error: a compartment appends to it and reads nothing of it."""
OTHER: Final = "other__t"
"""Everything without a label of its own: no compartment may touch it."""
BASE_TYPES: Final = (KERNEL, SUPERVISOR, CODE, FOLDERS, LOG, OTHER)
_SIDS: Final = """\
kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet
icmp_socket tcp_socket sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix
sysctl_vm sysctl_dev kmod policy scmp_packet devnull\
"""
_XATTR: Final = ("squashfs", "erofs", "ext4", "overlay")
_TRANSITION: Final = ("tmpfs", "devtmpfs", "devpts", "mqueue")
_GENFS: Final = ("proc", "sysfs", "selinuxfs", "cgroup2", "rootfs", "securityfs", "debugfs")
CAPABILITIES: Final = ("network_peer_controls", "open_perms", "extended_socket_class")


def context(name: str) -> str:
    """Return the context of a type."""
    role = "system_r" if name in (KERNEL, SUPERVISOR) else "object_r"
    return f"(system_u {role} {name} ((s0) (s0)))"


def statements() -> list[str]:
    """Return the base policy."""
    found = ["(handleunknown deny)", "(mls false)"]
    found += [f"(policycap {name})" for name in CAPABILITIES]
    found += [f"(common {name} ({words}))" for name, words in COMMONS.items()]
    for name, (common, own) in CLASSES.items():
        found.append(f"(class {name} ({own}))")
        found += [f"(classcommon {name} {common})"] if common else []
    found.append(f"(classorder ({' '.join(CLASSES)}))")
    found += [f"(sid {name})" for name in _SIDS.split()]
    found.append(f"(sidorder ({' '.join(_SIDS.split())}))")
    found += ["(sensitivity s0)", "(sensitivityorder (s0))"]
    found += ["(user system_u)", "(userlevel system_u (s0))", "(userrange system_u ((s0) (s0)))"]
    found += ["(role system_r)", "(role object_r)"]
    found += ["(userrole system_u system_r)", "(userrole system_u object_r)"]
    found += [f"(type {name})" for name in BASE_TYPES]
    found += [f"(roletype system_r {name})" for name in (KERNEL, SUPERVISOR)]
    for name in _SIDS.split():
        found.append(f"(sidcontext {name} {context(KERNEL if name == 'kernel' else OTHER)})")
    found += [f"(fsuse xattr {name} {context(OTHER)})" for name in _XATTR]
    found += [f"(fsuse trans {name} {context(OTHER)})" for name in _TRANSITION]
    # Without it the file of a socket takes no label.
    found.append(f"(fsuse task sockfs {context(OTHER)})")
    found += [f'(genfscon {name} "/" {context(OTHER)})' for name in _GENFS]
    # The folders of the view that the launcher makes in a file system of its own.
    found.append(f"(typetransition {SUPERVISOR} {OTHER} dir {FOLDERS})")
    return found
