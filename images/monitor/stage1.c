/*
 * First program of the image, alone in the initramfs: loads the kernel modules that lie in /modules,
 * finds the block device whose content verifies against the hash on the signed kernel command line,
 * mounts it read-only, enforces the SELinux policy in it and hands over to the interpreter in it. Names
 * of devices decide nothing.
 *
 * Kernel argument: asepsis.verity=ROOT_HASH:SALT:DATA_BLOCKS (SHA-256, blocks of 4096 bytes, the
 * hash tree behind the data on the same device, without a superblock).
 *
 * Sources: Documentation/admin-guide/device-mapper/verity.rst, include/uapi/linux/dm-ioctl.h,
 * Documentation/driver-api/early-userspace/buffer-format.rst.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK 4096ULL
#define SECTORS_A_BLOCK 8ULL
#define NAME_BYTES 300
#define POLICY_BYTES (1 << 20)
#define SELINUX "/sys/fs/selinux"
#define SUPERVISOR "system_u:system_r:supervisor_t"
#define ATTEMPTS 20 /* of 100 ms each: how long a disk may take to appear */

static void refuse(const char *what) {
	fprintf(stderr, "stage1: refused: %s (%s)\n", what, strerror(errno));
	fflush(stderr);
	sync();
	reboot(RB_AUTOBOOT);
	for (;;) pause();
}

static void load_modules(void) {
	struct dirent **names;
	int count = scandir("/modules", &names, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		char path[NAME_BYTES];
		if (names[i]->d_name[0] == '.') continue;
		snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST && errno != ENODEV))
			refuse(path); /* ENODEV: what it is for, such as firmware, is not here. */
		close(fd);
		unlink(path);
	}
	rmdir("/modules");
}

static struct dm_ioctl *request(char *buffer, size_t size) {
	struct dm_ioctl *io = (struct dm_ioctl *)buffer;

	memset(buffer, 0, size);
	io->version[0] = DM_VERSION_MAJOR;
	io->data_size = size;
	io->data_start = sizeof *io;
	strcpy(io->name, "root");
	return io;
}

/* Returns 0 when /dev/dm-0 is the verified view of the device. */
static int map_verified(int control, const char *device, const char *hash, const char *salt,
			unsigned long long blocks) {
	char buffer[4096];
	struct dm_ioctl *io = request(buffer, sizeof buffer);
	struct dm_target_spec *spec;

	if (ioctl(control, DM_DEV_CREATE, io)) return -1;
	io = request(buffer, sizeof buffer);
	io->target_count = 1;
	io->flags = DM_READONLY_FLAG;
	spec = (struct dm_target_spec *)(buffer + sizeof *io);
	spec->length = blocks * SECTORS_A_BLOCK;
	strcpy(spec->target_type, "verity");
	snprintf((char *)(spec + 1), sizeof buffer - sizeof *io - sizeof *spec,
		 "1 %s %s %llu %llu %llu %llu sha256 %s %s", device, device, BLOCK, BLOCK, blocks,
		 blocks, hash, salt);
	if (ioctl(control, DM_TABLE_LOAD, io)) return -1;
	io = request(buffer, sizeof buffer);
	return ioctl(control, DM_DEV_SUSPEND, io); /* without the suspend flag: resume */
}

static void unmap(int control) {
	char buffer[4096];

	ioctl(control, DM_DEV_REMOVE, request(buffer, sizeof buffer));
}

static int try_devices(int control, const char *hash, const char *salt, unsigned long long blocks) {
	DIR *folder = opendir("/sys/class/block");
	struct dirent *entry;
	int found = -1;

	while (folder && found && (entry = readdir(folder))) {
		char device[NAME_BYTES];
		if (entry->d_name[0] == '.' || !strncmp(entry->d_name, "dm-", 3) ||
		    !strncmp(entry->d_name, "loop", 4) || !strncmp(entry->d_name, "ram", 3))
			continue;
		snprintf(device, sizeof device, "/dev/%s", entry->d_name);
		if (!map_verified(control, device, hash, salt, blocks) &&
		    !mount("/dev/dm-0", "/root", "squashfs", MS_RDONLY | MS_NODEV | MS_NOSUID, NULL))
			found = 0;
		else
			unmap(control);
	}
	if (folder) closedir(folder);
	return found;
}

static void find_root(const char *arguments) {
	char hash[65], salt[65];
	unsigned long long blocks;
	const char *ours = strstr(arguments, "asepsis.verity=");
	int control;

	if (!ours || sscanf(ours, "asepsis.verity=%64[0-9a-f]:%64[0-9a-f]:%llu", hash, salt, &blocks) != 3)
		refuse("no asepsis.verity on the kernel command line");
	control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (control < 0) refuse("no device mapper");
	for (int i = 0; try_devices(control, hash, salt, blocks); i++) {
		if (i == ATTEMPTS) refuse("no device holds the root that was signed");
		usleep(100000);
	}
	close(control);
}

static void write_whole(const char *path, const void *data, size_t size) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size) refuse(path);
	close(fd);
}

/* The policy of the device is in force before anything of the root runs; this process goes on in
 * the supervisor's domain. */
static void enforce_policy(void) {
	static char policy[POLICY_BYTES], enforced;
	int fd = open("/usr/lib/asepsis/policy", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, policy, sizeof policy);

	if (size <= 0 || size == sizeof policy) refuse("no policy in the root");
	close(fd);
	if (mount("selinux", SELINUX, "selinuxfs", MS_NOSUID | MS_NOEXEC, NULL)) refuse(SELINUX);
	write_whole(SELINUX "/load", policy, size);
	fd = open(SELINUX "/enforce", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &enforced, 1) != 1 || enforced != '1') refuse("SELinux does not enforce");
	close(fd);
	write_whole("/proc/self/attr/current", SUPERVISOR, strlen(SUPERVISOR));
}

int main(void) {
	static char arguments[4096];
	static char *const program[] = {"/usr/bin/python3.11", "-I", "-S", "-B",
					"/usr/lib/asepsis/init.pyc", NULL};
	static char *const environment[] = {NULL};
	int fd;

	mkdir("/dev", 0755), mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/root", 0755);
	if (mount("dev", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755") && errno != EBUSY)
		refuse("/dev");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) refuse("/proc");
	if (mount("sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) refuse("/sys");
	fd = open("/dev/console", O_RDWR);
	if (fd >= 0) dup2(fd, 0), dup2(fd, 1), dup2(fd, 2);
	if (fd > 2) close(fd);
	load_modules();
	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, arguments, sizeof arguments - 1) <= 0) refuse("/proc/cmdline");
	close(fd);
	find_root(arguments);
	if (mount("/dev", "/root/dev", NULL, MS_MOVE, NULL) ||
	    mount("/proc", "/root/proc", NULL, MS_MOVE, NULL) ||
	    mount("/sys", "/root/sys", NULL, MS_MOVE, NULL))
		refuse("cannot move /dev, /proc, /sys");
	unlink("/init");
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		refuse("cannot enter the root");
	enforce_policy();
	execve(program[0], program, environment);
	refuse("cannot start the interpreter");
}
