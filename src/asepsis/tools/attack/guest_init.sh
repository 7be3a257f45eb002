#!/bin/sh
# First process of a guest kernel with SELinux. Its root is the machine's own file system, read only.
# Environment, from the kernel's command line: guest_python, guest_code, guest_folder.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t selinuxfs selinuxfs /sys/fs/selinux
"$guest_python" -I -S "$guest_code" "$guest_folder" >/dev/console 2>&1
echo o >/proc/sysrq-trigger
sleep 10
