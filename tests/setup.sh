#!/usr/bin/env bash
# Install the Debian packages that the tests talk to. As root or with password-less sudo they are
# installed; otherwise this says exactly what is missing and which tests are left out. With CI=true
# nothing may be left out.
set -euo pipefail

# package : what it is needed for
packages=(
  "curl:enrolment by curl and openssl alone"
  "openssl:enrolment by curl and openssl alone; TLS peers"
  "postgresql:every test of state on a real PostgreSQL"
  "softhsm2:signing keys behind PKCS#11"
  "user-mode-linux:power cuts of the journal"
  "gcc:the standard's vectors decoded by an independent C program"
  "libc6-dev:the standard's vectors decoded by an independent C program"
  "libssl-dev:the standard's vectors decoded by an independent C program"
  "iproute2:network namespaces"
  "bubblewrap:sandboxes of a device on systems without the wheel"
  "linux-libc-dev:system call numbers of the kernel's headers"
  "python3:a device run by an ordinary user"
  "libfaketime:clocks at 1970 and fourteen months on"
  "e2fsprogs:file systems of the power-cut guest"
  "procps:process inspection"
  "chromium:journeys of the console in a browser"
  "fonts-dejavu-core:text in the pictures of the console"
  "dcmtk:modalities and archives of DICOM"
  "krb5-kdc:Kerberos users of modalities"
  "krb5-admin-server:Kerberos users of modalities"
  "krb5-user:Kerberos users of modalities"
  "libgssapi-krb5-2:Kerberos users of modalities"
  "orthanc:a legacy archive"
  "orthanc-dicomweb:a legacy archive"
  "libgdcm-tools:object encryption of images, the other side"
  "util-linux:mount and network namespaces, taskset"
  "tshark:a judge of what crosses the wires in clear"
  "secilc:SELinux policies of devices, compiled with their neverallow rules"
  "systemd:systemd-analyze judges the unit of a device"
  "rsyslog:an audit repository that speaks syslog over TLS"
  "mmdebstrap:images of devices"
  "squashfs-tools:images of devices"
  "cryptsetup-bin:images of devices"
  "binutils:images of devices"
  "sbsigntool:images of devices"
  "systemd-boot-efi:images of devices"
  "qemu-system-x86:images of devices, booted"
  "ovmf:images of devices, booted"
  "mtools:images of devices, booted by turns"
  "make:live patches of the kernel of an image"
  "swtpm:images of devices, booted"
  "swupdate:devices that have SWUpdate"
  "cpio:devices that have SWUpdate"
  "rauc:devices that have RAUC"
  "rauc-service:devices that have RAUC"
  "dbus-daemon:devices that have RAUC"
  "nftables:filters that plans of threat models compile to, in a kernel"
  "rsyslog-gnutls:an audit repository that speaks syslog over TLS"
)
missing=(); reasons=()
for entry in "${packages[@]}"; do
  name=${entry%%:*}
  if [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null || true)" != installed ]; then
    missing+=("$name"); reasons+=("$name (${entry#*:})")
  fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ]; then sudo=(); elif sudo -n true 2>/dev/null; then sudo=(sudo -n); else
  printf 'Not installed, and this user may not install:\n'; printf '  %s\n' "${reasons[@]}"
  if [ "${CI:-}" = true ]; then echo "With CI=true nothing may be left out."; exit 1; fi
  echo "The tests that need them will be skipped and listed. Install them with:"
  echo "  apt-get install --no-install-recommends ${missing[*]}"
  exit 0
fi
echo "Installing for the tests: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" mkdir -p /etc/postgresql-common/createcluster.d
# No cluster of the system's own: the tests make throw-away ones.
echo 'create_main_cluster = false' | "${sudo[@]}" tee /etc/postgresql-common/createcluster.d/asepsis.conf >/dev/null
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
