"""From the compartment manifest to everything that enforces it; nothing here is written twice.

`host` says how this machine starts a compartment, `cgroups`, `systemd` and `selinux` write files,
`threats` what a threat analysis begins with, `artefacts` all of it. Pure, but for `secilc`, which
runs the compiler of the SELinux project.
"""
