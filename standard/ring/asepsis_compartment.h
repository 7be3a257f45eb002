/* A compartment in C or C++: its orders, its reports, and how it gives up its rights. Linux, GCC or
 * Clang. See docs/reference/ring-abi.md and docs/howto/port-a-monitor.md.
 *
 * The order of things is fixed: take the order "start", map rings and open what is needed, report
 * "mapped", call asepsis_confine, report "confined", work. Libraries are loaded before that.
 */
#ifndef ASEPSIS_COMPARTMENT_H
#define ASEPSIS_COMPARTMENT_H

#ifndef _GNU_SOURCE
#error "compile with -D_GNU_SOURCE: Linux's own calls are needed"
#endif

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "asepsis_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ASEPSIS_ORDER_MAGIC UINT64_C(0x3144524f4e505341) /* "ASPNORD1" */
#define ASEPSIS_ORDER_NAME_BYTES 16u
#define ASEPSIS_ORDER_VALUES_MAX 24u
#define ASEPSIS_ORDER_DESCRIPTORS_MAX 16u
#define ASEPSIS_REPORT_BYTES_MAX 2048u
#define ASEPSIS_FILTER_BYTES_MAX (8u * 4096u)
#define ASEPSIS_DOMAIN_BYTES_MAX 128u

typedef struct {
    char what[ASEPSIS_ORDER_NAME_BYTES];
    uint32_t values_count;
    uint32_t descriptors_count;
    struct {
        char name[ASEPSIS_ORDER_NAME_BYTES];
        uint64_t value;
    } values[ASEPSIS_ORDER_VALUES_MAX];
    char names[ASEPSIS_ORDER_DESCRIPTORS_MAX][ASEPSIS_ORDER_NAME_BYTES];
    int descriptors[ASEPSIS_ORDER_DESCRIPTORS_MAX]; /* -1 once taken. */
} asepsis_order;

static inline int asepsis_order_is(const asepsis_order *order, const char *what)
{
    return strncmp(order->what, what, ASEPSIS_ORDER_NAME_BYTES) == 0;
}

/* Return a value of an order; `otherwise` if it is not there. */
static inline uint64_t asepsis_order_value(const asepsis_order *order, const char *name,
                                           uint64_t otherwise)
{
    for (uint32_t at = 0; at < order->values_count; at++)
        if (strncmp(order->values[at].name, name, ASEPSIS_ORDER_NAME_BYTES) == 0)
            return order->values[at].value;
    return otherwise;
}

/* Take a descriptor that came with an order; the caller owns it. -1: it did not come. */
static inline int asepsis_order_take(asepsis_order *order, const char *name)
{
    for (uint32_t at = 0; at < order->descriptors_count; at++)
        if (strncmp(order->names[at], name, ASEPSIS_ORDER_NAME_BYTES) == 0) {
            const int taken = order->descriptors[at];
            order->descriptors[at] = -1;
            return taken;
        }
    return -1;
}

/* Close the descriptors of an order that nobody took. */
static inline void asepsis_order_drop(asepsis_order *order)
{
    for (uint32_t at = 0; at < order->descriptors_count; at++)
        if (order->descriptors[at] >= 0) {
            close(order->descriptors[at]);
            order->descriptors[at] = -1;
        }
}

/* Read the bytes of an order: magic, what, two counts, values, names of descriptors. */
static inline int asepsis_order_parse(asepsis_order *order, const uint8_t *data, size_t size,
                                      uint32_t came)
{
    const size_t head = 8 + ASEPSIS_ORDER_NAME_BYTES + 8, pair = ASEPSIS_ORDER_NAME_BYTES + 8;
    uint64_t magic = 0;
    if (size < head)
        return -EPROTO;
    memcpy(&magic, data, 8);
    memcpy(order->what, data + 8, ASEPSIS_ORDER_NAME_BYTES);
    memcpy(&order->values_count, data + 8 + ASEPSIS_ORDER_NAME_BYTES, 4);
    uint32_t named = 0;
    memcpy(&named, data + 12 + ASEPSIS_ORDER_NAME_BYTES, 4);
    if (magic != ASEPSIS_ORDER_MAGIC || order->values_count > ASEPSIS_ORDER_VALUES_MAX
        || named != came
        || size != head + order->values_count * pair + named * ASEPSIS_ORDER_NAME_BYTES)
        return -EPROTO;
    data += head;
    for (uint32_t at = 0; at < order->values_count; at++, data += pair) {
        memcpy(order->values[at].name, data, ASEPSIS_ORDER_NAME_BYTES);
        memcpy(&order->values[at].value, data + ASEPSIS_ORDER_NAME_BYTES, 8);
    }
    for (uint32_t at = 0; at < named; at++, data += ASEPSIS_ORDER_NAME_BYTES)
        memcpy(order->names[at], data, ASEPSIS_ORDER_NAME_BYTES);
    return 0;
}

/* Wait for the next order; 1 for one, 0 when the supervisor is gone, -EPROTO for what is none. */
static inline int asepsis_order_receive(asepsis_order *order, int control)
{
    uint8_t data[1024];
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(ASEPSIS_ORDER_DESCRIPTORS_MAX * sizeof(int))];
    } beside;
    struct iovec part = {data, sizeof data};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    memset(order, 0, sizeof *order);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = beside.bytes;
    message.msg_controllen = sizeof beside.bytes;
    ssize_t size;
    do {
        size = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size <= 0)
        return size < 0 ? -errno : 0;
    uint32_t came = 0;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at))
        if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS) {
            const uint32_t count = (uint32_t)((at->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(order->descriptors + came, CMSG_DATA(at), count * sizeof(int));
            came += count;
        }
    order->descriptors_count = came;
    const int cut = message.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
    const int failed = cut ? -EPROTO : asepsis_order_parse(order, data, (size_t)size, came);
    if (failed) {
        asepsis_order_drop(order);
        return failed;
    }
    return 1;
}

/* Send a report, a JSON object, or drop it if the supervisor does not keep up; never waits. */
static inline void asepsis_report(int control, const char *json)
{
    const size_t size = strlen(json);
    if (size <= ASEPSIS_REPORT_BYTES_MAX)
        (void)send(control, json, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static inline int asepsis_confine_limit(int which, uint64_t value)
{
    const struct rlimit both = {(rlim_t)value, (rlim_t)value};
    return setrlimit((__rlimit_resource_t)which, &both) ? -errno : 0;
}

static inline int asepsis_confine_user(uint64_t user)
{
    const uid_t id = (uid_t)user;
    if (!user)
        return 0;
    /* What no program may ever get back. The numbers have no holes; behind the last one the kernel
     * answers with an error. */
    for (unsigned long capability = 0; capability < 64; capability++) {
        const int held = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
        if (held < 0)
            break;
        if (held && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
            return -errno;
    }
    if (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id))
        return -errno;
    return getuid() == id && geteuid() == id && getgid() == id ? 0 : -EPERM;
}

/* Read the filter, while its file can still be read, and close it. */
static inline int asepsis_confine_read(int descriptor, struct sock_filter *steps,
                                       struct sock_fprog *program)
{
    size_t got = 0;
    ssize_t part = 1;
    for (; part > 0 && got < ASEPSIS_FILTER_BYTES_MAX; got += part > 0 ? (size_t)part : 0)
        part = pread(descriptor, (uint8_t *)steps + got, ASEPSIS_FILTER_BYTES_MAX - got, (off_t)got);
    const int failed = part < 0 ? -errno : 0;
    close(descriptor);
    program->len = (unsigned short)(got / sizeof *steps);
    program->filter = steps;
    return failed ? failed : !got || got % sizeof *steps ? -EPROTO : 0;
}

static inline int asepsis_confine_filter(const struct sock_fprog *program)
{
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program))
        return errno ? -errno : -EAGAIN; /* A thread that cannot take the filter. */
    return 0;
}

/* Open the way into the SELinux domain that comes with the order, while files can still be opened;
 * -1 if the supervisor names none, a negative errno after a failure. */
static inline int asepsis_confine_door(int proc)
{
    if (proc < 0)
        return -1;
    const int door = openat(proc, "thread-self/attr/current", O_WRONLY | O_CLOEXEC);
    const int failed = door < 0 ? -errno : 0;
    close(proc);
    return failed ? failed - 1 : door; /* Never -1, which means that there is none. */
}

/* Enter the domain, for good. */
static inline int asepsis_confine_enter(int door, int domain)
{
    char name[ASEPSIS_DOMAIN_BYTES_MAX];
    const ssize_t size = pread(domain, name, sizeof name, 0);
    if (size <= 0 || (size_t)size == sizeof name)
        return -EPROTO;
    const ssize_t wrote = write(door, name, (size_t)size);
    close(door);
    return wrote == size ? 0 : -EPERM;
}

/* Give up every right that the order "start" takes away, for good. Call it from the only thread:
 * Landlock binds the thread that calls and those it starts later. After a failure the process must
 * end. Missing descriptors mean that the supervisor left that layer off. */
static inline int asepsis_confine(asepsis_order *start)
{
    const int landlock = asepsis_order_take(start, "landlock");
    const int filter = asepsis_order_take(start, "filter");
    const int domain = asepsis_order_take(start, "domain");
    const int door = asepsis_confine_door(asepsis_order_take(start, "proc"));
    const uint64_t unset = UINT64_MAX;
    static const struct {
        const char *name;
        int which;
    } limits[] = {{"limit-core", RLIMIT_CORE}, {"limit-memory", RLIMIT_AS},
                  {"limit-files", RLIMIT_NOFILE}, {"limit-file", RLIMIT_FSIZE}};
    static struct sock_filter steps[ASEPSIS_FILTER_BYTES_MAX / sizeof(struct sock_filter)];
    struct sock_fprog program = {0, steps};
    int failed = door < -1 ? door : 0;
    umask(077);
    if (!failed && filter >= 0)
        failed = asepsis_confine_read(filter, steps, &program);
    if (asepsis_order_value(start, "lock-memory", 0))
        (void)mlockall(MCL_CURRENT | MCL_FUTURE); /* Better timing; no protection depends on it. */
    for (unsigned at = 0; !failed && at < sizeof limits / sizeof *limits; at++) {
        const uint64_t value = asepsis_order_value(start, limits[at].name, unset);
        failed = value == unset ? 0 : asepsis_confine_limit(limits[at].which, value);
    }
    if (!failed)
        failed = asepsis_confine_user(asepsis_order_value(start, "user", 0));
    /* Behind the change of user, which resets it: no core dump, no tracing by the same user. */
    if (!failed && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        failed = -errno;
    if (!failed && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        failed = -errno;
    if (!failed && landlock >= 0 && syscall(446 /* landlock_restrict_self */, landlock, 0))
        failed = -errno;
    if (landlock >= 0)
        close(landlock);
    if (!failed && door >= 0)
        failed = asepsis_confine_enter(door, domain);
    if (domain >= 0)
        close(domain);
    if (!failed && filter >= 0)
        failed = asepsis_confine_filter(&program);
    return failed;
}

#ifdef __cplusplus
}
#endif
#endif
