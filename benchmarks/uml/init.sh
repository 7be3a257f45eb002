#!/bin/sh
# First process of the guest whose power is cut. Its root is the machine's own file system, read
# only; the journal lies on /dev/ubda. It works until the whole guest is killed.
# Environment, from the kernel's command line: bench_python, bench_path, bench_load,
# bench_passphrase, bench_synchronous.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$bench_path"
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir /mnt/disk
mount -t ext4 /dev/ubda /mnt/disk || exit 1
# Output is a ledger: no echo, no translation of line ends.
stty raw -echo </dev/console
exec "$bench_python" "$bench_load" /mnt/disk "$bench_passphrase" "$bench_synchronous"
