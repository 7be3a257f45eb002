/* A ring of shared memory: one writer, readers that can only look. C11 or C++11, GCC or Clang.
 *
 * The byte layout is docs/reference/ring-abi.md. Nothing here allocates, prints, locks or waits.
 * Every function returns a negative errno value on failure; a failed ring must not be used.
 * The supervisor makes the memory file and seals it; a compartment only maps it.
 */
#ifndef ASEPSIS_RING_H
#define ASEPSIS_RING_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the layout of the ring is little-endian"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ASEPSIS_RING_MAGIC UINT64_C(0x31474e4952505341) /* "ASPRING1" */
#define ASEPSIS_RING_HEADER_BYTES 4096u
#define ASEPSIS_RING_SLOT_HEAD_BYTES 24u
#define ASEPSIS_RING_SLOT_BYTES_MAX (1u << 20)
#define ASEPSIS_RING_SLOTS_MAX (1u << 16)
#define ASEPSIS_RING_BYTES_MAX (UINT64_C(64) << 20)
#define ASEPSIS_RING_SEQUENCE_MAX INT64_MAX
#define ASEPSIS_RING_WAKES_MAX 8u

/* Indexes of the header's 64-bit words. */
enum {
    ASEPSIS_RING_MAGIC_AT = 0,
    ASEPSIS_RING_SLOT_BYTES_AT = 1,
    ASEPSIS_RING_SLOTS_AT = 2,
    ASEPSIS_RING_EPOCH_AT = 3,
    ASEPSIS_RING_FIRST_AT = 4,
    ASEPSIS_RING_HEAD_AT = 8
};

typedef struct {
    uint8_t *base;
    uint64_t slot_bytes;
    uint64_t slots;
    uint64_t next; /* Number of the next record. */
    int wakes[ASEPSIS_RING_WAKES_MAX];
    unsigned wakes_count;
} asepsis_ring_writer;

typedef struct {
    const uint8_t *base;
    uint64_t slot_bytes; /* Read once and checked: a writer that is owned may change the header. */
    uint64_t slots;
    uint64_t epoch;
    uint64_t first;
    uint64_t next; /* Number of the next record that this reader wants. */
} asepsis_ring_reader;

static inline uint64_t asepsis_ring_load(const uint8_t *at)
{
    return __atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static inline void asepsis_ring_store(uint8_t *at, uint64_t value)
{
    __atomic_store_n((uint64_t *)(void *)at, value, __ATOMIC_RELEASE);
}

/* CRC-32 of ISO/IEC 13239, as in zlib; eight bytes at a time. The tables are made when a ring is
 * opened: whoever calls asepsis_ring_crc before that calls asepsis_ring_prepare. */
static uint32_t asepsis_ring_table[8][256];
static int asepsis_ring_prepared;

static inline void asepsis_ring_prepare(void)
{
    if (__atomic_load_n(&asepsis_ring_prepared, __ATOMIC_ACQUIRE))
        return;
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1u ? 0xedb88320u ^ (crc >> 1) : crc >> 1;
        asepsis_ring_table[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int row = 1; row < 8; row++) {
            const uint32_t before = asepsis_ring_table[row - 1][byte];
            asepsis_ring_table[row][byte] = asepsis_ring_table[0][before & 255u] ^ (before >> 8);
        }
    __atomic_store_n(&asepsis_ring_prepared, 1, __ATOMIC_RELEASE);
}

static inline uint32_t asepsis_ring_crc(uint32_t crc, const uint8_t *data, size_t size)
{
    uint32_t (*const table)[256] = asepsis_ring_table;
    crc = ~crc;
    for (; size >= 8; size -= 8, data += 8) {
        uint32_t low, high;
        memcpy(&low, data, 4);
        memcpy(&high, data + 4, 4);
        low ^= crc;
        crc = table[7][low & 255u] ^ table[6][low >> 8 & 255u] ^ table[5][low >> 16 & 255u]
            ^ table[4][low >> 24] ^ table[3][high & 255u] ^ table[2][high >> 8 & 255u]
            ^ table[1][high >> 16 & 255u] ^ table[0][high >> 24];
    }
    for (; size; size--, data++)
        crc = table[0][(crc ^ *data) & 255u] ^ (crc >> 8);
    return ~crc;
}

static inline uint32_t asepsis_ring_crc_of(uint64_t sequence, const uint8_t *payload, size_t size)
{
    uint8_t number[8];
    memcpy(number, &sequence, sizeof number);
    return asepsis_ring_crc(asepsis_ring_crc(0, number, sizeof number), payload, size);
}

static inline int asepsis_ring_sound(uint64_t slot_bytes, uint64_t slots)
{
    return slot_bytes >= 64 && slot_bytes <= ASEPSIS_RING_SLOT_BYTES_MAX && slot_bytes % 64 == 0
        && slots >= 2 && slots <= ASEPSIS_RING_SLOTS_MAX
        && ASEPSIS_RING_HEADER_BYTES + slots * slot_bytes <= ASEPSIS_RING_BYTES_MAX;
}

static inline uint64_t asepsis_ring_bytes(uint64_t slot_bytes, uint64_t slots)
{
    return ASEPSIS_RING_HEADER_BYTES + slots * slot_bytes;
}

/* Map a ring that the supervisor made and has not sealed yet, and write its header. Takes the
 * descriptor. Afterwards tell the supervisor "mapped": it seals the ring and gives it to readers.
 * -EINVAL: no ring has this size, or no record this number; else what mmap says. */
static inline int asepsis_ring_writer_open(asepsis_ring_writer *ring, int descriptor,
                                           uint64_t slot_bytes, uint64_t slots, uint64_t epoch,
                                           uint64_t first)
{
    struct stat found;
    asepsis_ring_prepare();
    memset(ring, 0, sizeof *ring);
    int failed = fstat(descriptor, &found) ? -errno : 0;
    if (!failed
        && (!asepsis_ring_sound(slot_bytes, slots) || !first || first > ASEPSIS_RING_SEQUENCE_MAX
            || (uint64_t)found.st_size != asepsis_ring_bytes(slot_bytes, slots)))
        failed = -EINVAL;
    if (!failed) {
        void *base = mmap(NULL, (size_t)found.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                          descriptor, 0);
        if (base == MAP_FAILED)
            failed = -errno;
        else
            ring->base = (uint8_t *)base;
    }
    close(descriptor);
    if (failed)
        return failed;
    ring->slot_bytes = slot_bytes;
    ring->slots = slots;
    ring->next = first;
    asepsis_ring_store(ring->base + 8 * ASEPSIS_RING_SLOT_BYTES_AT, slot_bytes);
    asepsis_ring_store(ring->base + 8 * ASEPSIS_RING_SLOTS_AT, slots);
    asepsis_ring_store(ring->base + 8 * ASEPSIS_RING_EPOCH_AT, epoch);
    asepsis_ring_store(ring->base + 8 * ASEPSIS_RING_FIRST_AT, first);
    asepsis_ring_store(ring->base + 8 * ASEPSIS_RING_HEAD_AT, first - 1);
    asepsis_ring_store(ring->base + 8 * ASEPSIS_RING_MAGIC_AT, ASEPSIS_RING_MAGIC);
    return 0;
}

/* Wake a reader through this socket from now on. -ENOSPC: there are ASEPSIS_RING_WAKES_MAX. */
static inline int asepsis_ring_writer_wakes(asepsis_ring_writer *ring, int wake)
{
    if (ring->wakes_count == ASEPSIS_RING_WAKES_MAX)
        return -ENOSPC;
    ring->wakes[ring->wakes_count++] = wake;
    return 0;
}

/* Publish a record and wake readers; returns its number. Never waits, whatever readers do.
 * -EMSGSIZE: the payload does not fit a slot. */
static inline int64_t asepsis_ring_write(asepsis_ring_writer *ring, const void *payload,
                                         uint32_t size)
{
    if (size > ring->slot_bytes - ASEPSIS_RING_SLOT_HEAD_BYTES)
        return -EMSGSIZE;
    const uint64_t sequence = ring->next;
    uint8_t *slot = ring->base + ASEPSIS_RING_HEADER_BYTES
        + (sequence - 1) % ring->slots * ring->slot_bytes;
    const uint64_t crc = asepsis_ring_crc_of(sequence, (const uint8_t *)payload, size);
    asepsis_ring_store(slot, sequence);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* No store of the record before that of `before`. */
    asepsis_ring_store(slot + 16, size | crc << 32);
    memcpy(slot + ASEPSIS_RING_SLOT_HEAD_BYTES, payload, size);
    asepsis_ring_store(slot + 8, sequence);
    asepsis_ring_store(ring->base + 8 * ASEPSIS_RING_HEAD_AT, sequence);
    ring->next = sequence + 1;
    for (unsigned at = 0; at < ring->wakes_count; at++)
        (void)send(ring->wakes[at], "\1", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    return (int64_t)sequence;
}

static inline uint64_t asepsis_ring_head(const asepsis_ring_reader *ring)
{
    const uint64_t head = asepsis_ring_load(ring->base + 8 * ASEPSIS_RING_HEAD_AT);
    return head < ASEPSIS_RING_SEQUENCE_MAX ? head : ASEPSIS_RING_SEQUENCE_MAX - 1;
}

static inline uint64_t asepsis_ring_oldest(const asepsis_ring_reader *ring, uint64_t head)
{
    return head >= ring->first + ring->slots ? head - ring->slots + 1 : ring->first;
}

/* Map a sealed ring for reading. Takes the descriptor. Starts with the oldest record that is still
 * there; to go on from a token, see asepsis_ring_resume. -EPROTO: not a ring. */
static inline int asepsis_ring_reader_open(asepsis_ring_reader *ring, int descriptor)
{
    struct stat found;
    asepsis_ring_prepare();
    memset(ring, 0, sizeof *ring);
    int failed = fstat(descriptor, &found) ? -errno : 0;
    if (!failed
        && (found.st_size < (off_t)ASEPSIS_RING_HEADER_BYTES
            || (uint64_t)found.st_size > ASEPSIS_RING_BYTES_MAX))
        failed = -EPROTO;
    void *base = MAP_FAILED;
    if (!failed) {
        base = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_SHARED, descriptor, 0);
        failed = base == MAP_FAILED ? -errno : 0;
    }
    close(descriptor);
    if (failed)
        return failed;
    ring->base = (const uint8_t *)base;
    ring->slot_bytes = asepsis_ring_load(ring->base + 8 * ASEPSIS_RING_SLOT_BYTES_AT);
    ring->slots = asepsis_ring_load(ring->base + 8 * ASEPSIS_RING_SLOTS_AT);
    ring->epoch = asepsis_ring_load(ring->base + 8 * ASEPSIS_RING_EPOCH_AT);
    ring->first = asepsis_ring_load(ring->base + 8 * ASEPSIS_RING_FIRST_AT);
    if (asepsis_ring_load(ring->base) != ASEPSIS_RING_MAGIC
        || !asepsis_ring_sound(ring->slot_bytes, ring->slots) || !ring->first
        || ring->first > ASEPSIS_RING_SEQUENCE_MAX
        || (uint64_t)found.st_size != asepsis_ring_bytes(ring->slot_bytes, ring->slots)) {
        munmap(base, (size_t)found.st_size);
        ring->base = NULL;
        return -EPROTO;
    }
    ring->next = asepsis_ring_oldest(ring, asepsis_ring_head(ring));
    return 0;
}

/* Go on behind the last record done, if this is the ring of that epoch; in a ring of another epoch
 * every record is new, and nothing changes. */
static inline void asepsis_ring_resume(asepsis_ring_reader *ring, uint64_t epoch, uint64_t sequence)
{
    if (epoch == ring->epoch && sequence < ASEPSIS_RING_SEQUENCE_MAX)
        ring->next = sequence + 1 > ring->first ? sequence + 1 : ring->first;
}

/* Copy the record `ring->next` if it is whole in its slot. */
static inline int asepsis_ring_copy(const asepsis_ring_reader *ring, uint8_t *into, uint32_t *size)
{
    const uint64_t sequence = ring->next;
    const uint8_t *slot = ring->base + ASEPSIS_RING_HEADER_BYTES
        + (sequence - 1) % ring->slots * ring->slot_bytes;
    if (asepsis_ring_load(slot + 8) != sequence)
        return 0;
    const uint64_t meta = asepsis_ring_load(slot + 16);
    *size = (uint32_t)meta;
    if (*size > ring->slot_bytes - ASEPSIS_RING_SLOT_HEAD_BYTES)
        return 0;
    memcpy(into, slot + ASEPSIS_RING_SLOT_HEAD_BYTES, *size);
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* No load of the payload behind that of `before`. */
    return asepsis_ring_load(slot) == sequence
        && (uint32_t)(meta >> 32) == asepsis_ring_crc_of(sequence, into, *size);
}

/* Copy the next record; returns its number, or 0 if there is none now.
 *
 * `capacity` must be at least slot_bytes - ASEPSIS_RING_SLOT_HEAD_BYTES (-EMSGSIZE). `lost` counts
 * up by the records that were overwritten before this reader came. What is in `into` was written by
 * the ring's one writer; whether it makes sense is for the reader to judge. */
static inline int64_t asepsis_ring_read(asepsis_ring_reader *ring, void *into, uint32_t capacity,
                                        uint32_t *size, uint64_t *lost)
{
    if (capacity < ring->slot_bytes - ASEPSIS_RING_SLOT_HEAD_BYTES)
        return -EMSGSIZE;
    uint64_t head = asepsis_ring_head(ring);
    for (unsigned tries = 0; ring->next <= head && tries < 4; tries++) {
        if (asepsis_ring_copy(ring, (uint8_t *)into, size))
            return (int64_t)ring->next++;
        /* An eighth of the ring ahead of the writer, or it would catch up again at once. */
        head = asepsis_ring_head(ring);
        uint64_t resume = asepsis_ring_oldest(ring, head) + ring->slots / 8;
        if (resume <= ring->next)
            resume = ring->next + 1;
        if (resume > head + 1)
            resume = head + 1;
        *lost += resume - ring->next;
        ring->next = resume;
    }
    return 0;
}

static inline void asepsis_ring_reader_close(asepsis_ring_reader *ring)
{
    if (ring->base)
        munmap((void *)(uintptr_t)ring->base,
               (size_t)asepsis_ring_bytes(ring->slot_bytes, ring->slots));
    ring->base = NULL;
}

/* Take all pending wake-ups from the receiving end; returns at once. */
static inline void asepsis_ring_drain(int wake)
{
    char byte[64];
    while (recv(wake, byte, sizeof byte, MSG_DONTWAIT) > 0) {
    }
}

#ifdef __cplusplus
}
#endif
#endif
