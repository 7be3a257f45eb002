/* Example of a compartment in C: reads one ring, writes another, obeys its supervisor.
 *
 * For each record it publishes what arrived in it: number (8 bytes), length (4) and CRC-32 (4), so
 * that whoever reads its ring can check that nothing was lost or changed on the way.
 *
 * Build: cc -std=c11 -O2 -D_GNU_SOURCE -o example example.c
 */
#include <poll.h>
#include <time.h>

#include "asepsis_compartment.h"

#define RECORD_BYTES_MAX (ASEPSIS_RING_SLOT_BYTES_MAX - ASEPSIS_RING_SLOT_HEAD_BYTES)
#define BURST_MAX 256 /* Records between two looks at the control line. */

static uint8_t payload[RECORD_BYTES_MAX];

typedef struct {
    int control;
    int wake;
    asepsis_ring_reader in;
    asepsis_ring_writer out;
    uint64_t records;
    uint64_t lost;
    int64_t due_ms; /* When the next heartbeat is due. */
} state;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void heartbeat(state *self)
{
    char text[160];
    if (now_ms() < self->due_ms)
        return;
    self->due_ms = now_ms() + 1000;
    snprintf(text, sizeof text, "{\"event\":\"alive\",\"records\":%llu,\"lost\":%llu}",
             (unsigned long long)self->records, (unsigned long long)self->lost);
    asepsis_report(self->control, text);
}

static int fail(const state *self, const char *what, int why)
{
    char text[160];
    snprintf(text, sizeof text, "{\"event\":\"failed\",\"code\":\"ASP-500\",\"text\":\"%s: %d\"}",
             what, why);
    asepsis_report(self->control, text);
    return 1;
}

/* Return whether there may be more. */
static int pump(state *self)
{
    for (int done = 0; done < BURST_MAX; done++) {
        uint32_t size = 0;
        const int64_t number =
            asepsis_ring_read(&self->in, payload, sizeof payload, &size, &self->lost);
        if (number <= 0)
            return 0;
        uint8_t told[16];
        const uint32_t crc = asepsis_ring_crc(0, payload, size);
        memcpy(told, &number, 8);
        memcpy(told + 8, &size, 4);
        memcpy(told + 12, &crc, 4);
        asepsis_ring_write(&self->out, told, sizeof told);
        self->records++;
    }
    return 1;
}

/* A new writer has a new ring: finish the old one, then go over. */
static int change_ring(state *self, asepsis_order *order)
{
    const int ring = asepsis_order_take(order, "ring");
    const int wake = asepsis_order_take(order, "wake");
    if (ring < 0 || wake < 0)
        return -EPROTO;
    while (pump(self)) {
    }
    asepsis_ring_reader_close(&self->in);
    if (self->wake >= 0)
        close(self->wake);
    self->wake = wake;
    return asepsis_ring_reader_open(&self->in, ring);
}

static int work(state *self)
{
    asepsis_order order;
    for (;;) {
        struct pollfd lines[2] = {{self->control, POLLIN, 0}, {self->wake, POLLIN, 0}};
        const int more = pump(self);
        heartbeat(self);
        const int64_t wait_ms = self->due_ms - now_ms();
        if (poll(lines, 2, more || wait_ms < 0 ? 0 : (int)wait_ms) < 0 && errno != EINTR)
            return fail(self, "poll", -errno);
        if (lines[1].revents & (POLLHUP | POLLERR)) {
            close(self->wake); /* Its writer is gone; poll passes over -1 until the next ring. */
            self->wake = -1;
        }
        else if (lines[1].revents)
            asepsis_ring_drain(self->wake);
        if (!lines[0].revents)
            continue;
        const int came = asepsis_order_receive(&order, self->control);
        if (came == 0 || (came > 0 && asepsis_order_is(&order, "stop"))) {
            while (pump(self)) {
            }
            return 0;
        }
        if (came > 0 && asepsis_order_is(&order, "ring")) {
            const int failed = change_ring(self, &order);
            if (failed)
                return fail(self, "ring", failed);
        }
        asepsis_order_drop(&order);
    }
}

int main(int count, char **words)
{
    static state self;
    asepsis_order start;
    if (count != 2)
        return 2;
    self.control = atoi(words[1]);
    if (asepsis_order_receive(&start, self.control) != 1 || !asepsis_order_is(&start, "start"))
        return fail(&self, "start", -EPROTO);
    self.wake = asepsis_order_take(&start, "wake");
    int failed = asepsis_ring_reader_open(&self.in, asepsis_order_take(&start, "ring"));
    if (failed)
        return fail(&self, "ring", failed);
    failed = asepsis_ring_writer_open(&self.out, asepsis_order_take(&start, "out"),
                                      asepsis_order_value(&start, "slot-bytes", 0),
                                      asepsis_order_value(&start, "slots", 0),
                                      asepsis_order_value(&start, "epoch", 0),
                                      asepsis_order_value(&start, "first", 0));
    if (failed)
        return fail(&self, "out", failed);
    const int out_wake = asepsis_order_take(&start, "out-wake");
    if (out_wake >= 0)
        asepsis_ring_writer_wakes(&self.out, out_wake);
    asepsis_report(self.control, "{\"event\":\"mapped\"}");
    failed = asepsis_confine(&start);
    if (failed)
        return fail(&self, "confine", failed);
    asepsis_order_drop(&start);
    asepsis_report(self.control, "{\"event\":\"confined\"}");
    return work(&self);
}
