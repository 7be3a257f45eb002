/* An independent reader of ADP/1 origin batches and waveform packets, written from frames.md alone.
 *
 *   cc -std=c11 -Wall -Wextra -o check_vectors check_vectors.c -lcrypto && ./check_vectors < vectors.txt
 *
 * Reads vectors.txt on standard input and exits with 0 if it accepts and refuses what it should.
 * Besides libcrypto (SHA-256, ES256) it needs nothing but the C library.
 */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/ecdsa.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { const uint8_t *at, *end; } Bytes;

static uint64_t number(Bytes *b, int size) { /* big-endian; the caller checked the room */
    uint64_t value = 0;
    while (size--) value = value << 8 | *b->at++;
    return value;
}
static int room(const Bytes *b, size_t size) { return (size_t)(b->end - b->at) >= size; }
static int counter(uint64_t v, uint64_t least) { return v >= least && v <= INT64_MAX; }
static int all_zero(const uint8_t *p, size_t n) { while (n--) if (*p++) return 0; return 1; }

static int float_is_number(uint32_t raw) {
    uint32_t mantissa = raw & 0xFFFFFF;
    return mantissa < 0x7FFFFE || mantissa > 0x800002;
}
static int float_is_valid(uint32_t raw) {
    return float_is_number(raw) || raw == 0x007FFFFF || raw == 0x00800000 || raw == 0x007FFFFE ||
           raw == 0x00800002;
}

static int digits(const uint8_t *p, size_t n) {
    while (n--) { if (*p < '0' || *p > '9') return 0; p++; }
    return 1;
}
static int name_is_canonical(const uint8_t *p, size_t n) { /* frames.md section 1.2 */
    const char *mac = "urn:dev:mac:", *udi = "https://id.gs1.org/01/";
    if (n == 28 && !memcmp(p, mac, 12)) {
        for (size_t i = 12; i < 28; i++) if (!p[i] || !strchr("0123456789abcdef", p[i])) return 0;
        return 1;
    }
    if (n < 41 || n > 60 || memcmp(p, udi, 22) || !digits(p + 22, 14) || memcmp(p + 36, "/21/", 4))
        return 0;
    int sum = 0;
    for (int i = 0; i < 13; i++) sum += (p[22 + i] - '0') * (i % 2 ? 1 : 3);
    if ((10 - sum % 10) % 10 != p[35] - '0') return 0;
    for (size_t i = 40; i < n; i++) {
        uint8_t c = p[i] | 0x20;
        if (!((p[i] >= '0' && p[i] <= '9') || (c >= 'a' && c <= 'z' && p[i] < 0x80) ||
              p[i] == '.' || p[i] == '_' || p[i] == '-')) return 0;
    }
    return 1;
}
static int header(Bytes *b, const char *magic) {
    if (!room(b, 5) || memcmp(b->at, magic, 4)) return 0;
    size_t length = b->at[4];
    b->at += 5;
    if (!room(b, length) || !name_is_canonical(b->at, length)) return 0;
    b->at += length;
    return 1;
}

static int text_is_clean(const uint8_t *p, size_t n) { /* UTF-8, no C0, DEL or C1 controls */
    for (size_t i = 0; i < n;) {
        uint32_t c = p[i++], least = 0;
        int more = c < 0x80 ? 0 : (c & 0xE0) == 0xC0 ? 1 : (c & 0xF0) == 0xE0 ? 2
                 : (c & 0xF8) == 0xF0 ? 3 : -1;
        if (more < 0 || i + (size_t)more > n) return 0;
        if (more) { c &= 0x3Fu >> more; least = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000; }
        while (more--) { if ((p[i] & 0xC0) != 0x80) return 0; c = c << 6 | (p[i++] & 0x3F); }
        if (c < least || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
        if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return 0;
    }
    return 1;
}
static int alarm_event(Bytes *b) {
    if (!room(b, 2)) return 0;
    size_t length = number(b, 2);
    if (length < 30 || length > 150 || !room(b, length)) return 0;
    const uint8_t *p = b->at;
    b->at += length;
    return p[16] >= 1 && p[16] <= 3 && p[17] >= 1 && p[17] <= 2 && p[18] >= 1 && p[18] <= 3 &&
           p[19] <= 1 && p[20] <= 5 && !p[21] && text_is_clean(p + 30, length - 30);
}
static int numeric(Bytes *b) {
    if (!room(b, 20)) return 0;
    const uint8_t *p = b->at;
    uint64_t handle = number(b, 2);
    b->at += 8;
    uint32_t value = (uint32_t)number(b, 4);
    b->at = p + 20;
    return handle && float_is_valid(value) && p[14] <= 5 && !p[15] && !p[18] && !p[19];
}

static int batch_is_well_formed(Bytes b) { /* frames.md section 3; `b` is the signed part */
    if (!header(&b, "AOB1") || !room(&b, 118)) return 0;
    const uint8_t *h = b.at;
    b.at += 8;
    uint64_t epoch = number(&b, 8);
    b.at += 16;
    uint64_t sequence = number(&b, 8), first = number(&b, 8), last = number(&b, 8);
    int starts = all_zero(b.at, 32);
    b.at = h + 88;
    uint64_t state = number(&b, 1), flags = number(&b, 1), wall = number(&b, 8);
    b.at += 4;
    uint64_t monotonic = number(&b, 8), interval = number(&b, 2);
    size_t numerics = number(&b, 2), alarms = number(&b, 2), digests = number(&b, 2);
    if (!counter(epoch, 1) || !counter(sequence, 1) || !counter(first, 1) ||
        !counter(last, first - 1) || starts != (sequence == 1) || state < 1 || state > 6 ||
        flags > 1 || !counter(wall, 0) || !counter(monotonic, 0) || interval > 1000 || numerics > 512 ||
        alarms > 64 || digests > 64) return 0;
    while (numerics--) if (!numeric(&b)) return 0;
    const uint8_t *listed[64];
    for (size_t i = 0; i < alarms; i++) {
        listed[i] = b.at + 2; /* condition id, then phase */
        if (!alarm_event(&b) || (flags && listed[i][16] != 2)) return 0;
        for (size_t j = 0; flags && j < i; j++) if (!memcmp(listed[i], listed[j], 16)) return 0;
    }
    if (!room(&b, digests * 42)) return 0;
    for (size_t i = 0; i < digests; i++) {
        Bytes d = { b.at + i * 42, b.end };
        uint64_t handle = number(&d, 2), frame = number(&d, 8);
        if (!handle || !counter(frame, 1)) return 0;
        for (size_t j = 0; j < i; j++) if (!memcmp(b.at + i * 42, b.at + j * 42, 10)) return 0;
    }
    return b.at + digests * 42 == b.end;
}
static int batch(const uint8_t *data, size_t size, const uint8_t *spki, size_t spki_size) {
    if (size < 64 || size > 65536) return 0;
    Bytes part = { data, data + size - 64 };
    if (!batch_is_well_formed(part)) return 0;
    uint8_t digest[32];
    EVP_Digest(spki, spki_size, digest, NULL, EVP_sha256(), NULL);
    if (memcmp(data + 5 + data[4], digest, 8)) return 0;
    const uint8_t *key_at = spki;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &key_at, (long)spki_size);
    ECDSA_SIG *raw = ECDSA_SIG_new();
    ECDSA_SIG_set0(raw, BN_bin2bn(data + size - 64, 32, NULL), BN_bin2bn(data + size - 32, 32, NULL));
    uint8_t *der = NULL;
    int der_size = i2d_ECDSA_SIG(raw, &der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int good = key && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
               EVP_DigestVerify(ctx, der, (size_t)der_size, data, size - 64) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ECDSA_SIG_free(raw);
    EVP_PKEY_free(key);
    return good;
}

static uint32_t crc32(const uint8_t *p, size_t n) { /* ISO 3309, reflected, 0xEDB88320 */
    uint32_t crc = 0xFFFFFFFF;
    while (n--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}
static int frame(const uint8_t *p, size_t size) { /* frames.md section 4.2 */
    if (size < 46) return 0;
    Bytes b = { p, p + size };
    uint64_t handle = number(&b, 2), sequence = number(&b, 8);
    b.at += 8;
    uint64_t wall = number(&b, 8), period = number(&b, 4);
    uint32_t scale = (uint32_t)number(&b, 4), offset = (uint32_t)number(&b, 4);
    size_t count = number(&b, 2);
    if (count < 1 || count > 8192 || size != 44 + 2 * count) return 0;
    Bytes end = { p + size - 4, p + size };
    return number(&end, 4) == crc32(p, size - 4) && handle && counter(sequence, 1) &&
           counter(wall, 0) && period && float_is_number(scale) && (scale & 0xFFFFFF) &&
           float_is_number(offset);
}
static int packet(const uint8_t *data, size_t size) { /* frames.md section 4.1 */
    Bytes b = { data, data + size };
    if (size > 262144 || !header(&b, "AWP1") || !room(&b, 18)) return 0;
    uint64_t epoch = number(&b, 8), sequence = number(&b, 8);
    size_t count = number(&b, 2);
    if (!counter(epoch, 1) || !counter(sequence, 1) || count < 1 || count > 64) return 0;
    while (count--) {
        if (!room(&b, 4)) return 0;
        size_t length = number(&b, 4);
        if (!room(&b, length) || !frame(b.at, length)) return 0;
        b.at += length;
    }
    return b.at == b.end;
}

int main(void) {
    static char line[600000];
    static uint8_t data[300000], spki[200];
    size_t spki_size = 0;
    int wrong = 0, seen = 0;
    while (fgets(line, sizeof line, stdin)) {
        char *kind = strtok(line, " \n"), *verdict = strtok(NULL, " \n");
        char *name = strtok(NULL, " \n"), *hex = strtok(NULL, " \n");
        if (!hex || *kind == '#') continue;
        size_t size = strlen(hex) / 2;
        for (size_t i = 0; i < size; i++) {
            char pair[3] = { hex[2 * i], hex[2 * i + 1], 0 };
            data[i] = (uint8_t)strtoul(pair, NULL, 16);
        }
        if (!strcmp(kind, "key")) {
            if (size > sizeof spki) return 2;
            memcpy(spki, data, spki_size = size);
            continue;
        }
        /* Exact size on the heap, so that a sanitizer sees any byte read too far. */
        uint8_t *copy = malloc(size ? size : 1);
        if (!copy) return 2;
        memcpy(copy, data, size);
        int good = !strcmp(kind, "batch") ? batch(copy, size, spki, spki_size) : packet(copy, size);
        free(copy);
        seen++;
        if (good != !strcmp(verdict, "accept")) {
            printf("%s %s: must %s, does not\n", kind, name, verdict);
            wrong++;
        }
    }
    printf("%d vectors, %d wrong\n", seen, wrong);
    return wrong || !seen;
}
