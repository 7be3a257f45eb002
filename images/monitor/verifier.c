/*
 * The verifier of the image: a file, its signature and a key in, one word out, and it ends. It has
 * no network, no ring and no way to open a file. Key and libcrypto are ready before its rights are
 * gone; of what it judges nothing is read before. Same orders and reports as `edge/device/verify.py`.
 *
 * Descriptors: candidate, signature (r and s, 64 bytes), key (SubjectPublicKeyInfo, P-256, DER).
 *
 * Sources: RFC 7518 section 3.4 (ES256); RFC 5480; manual pages of OpenSSL 3.0.
 */
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "asepsis_compartment.h"

#define CANDIDATE_BYTES_MAX (1u << 26)
#define HALF_BYTES 32
#define KEY_BYTES_MAX 512
#define DIGEST_BYTES 32

static const char *const REFUSED = "{\"event\":\"refused\",\"code\":\"ASP-%s\",\"text\":\"%s\"}";

static void say(int control, const char *code, const char *text)
{
    char report[256];

    snprintf(report, sizeof report, REFUSED, code, text);
    asepsis_report(control, report);
}

/* Read to the end; -1 if that fails or there is more than fits. */
static ssize_t read_all(int descriptor, uint8_t *into, size_t size)
{
    size_t got = 0;

    for (;;) {
        uint8_t more;
        const ssize_t part = got < size ? read(descriptor, into + got, size - got)
                                        : read(descriptor, &more, 1);
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0 || (part && got == size))
            return -1;
        if (!part)
            return (ssize_t)got;
        got += (size_t)part;
    }
}

/* The key, and a digest that waits for bytes; everything of libcrypto is loaded by this. */
static EVP_MD_CTX *ready(int descriptor)
{
    uint8_t der[KEY_BYTES_MAX];
    const uint8_t *at = der;
    const ssize_t size = read_all(descriptor, der, sizeof der);
    EVP_PKEY *key = size > 0 ? d2i_PUBKEY(NULL, &at, size) : NULL;
    EVP_MD_CTX *made = EVP_MD_CTX_new();
    char group[32] = "";

    if (!key || !made || at != der + size || EVP_PKEY_get_base_id(key) != EVP_PKEY_EC
        || EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1
        || strcmp(group, "prime256v1") != 0
        || EVP_DigestVerifyInit(made, NULL, EVP_sha256(), NULL, key) != 1)
        return NULL;
    return made;
}

static int signature_der(int descriptor, uint8_t **der)
{
    uint8_t raw[2 * HALF_BYTES];
    ECDSA_SIG *pair = ECDSA_SIG_new();
    int size = -1;

    if (pair && read_all(descriptor, raw, sizeof raw) == sizeof raw
        && ECDSA_SIG_set0(pair, BN_bin2bn(raw, HALF_BYTES, NULL),
                          BN_bin2bn(raw + HALF_BYTES, HALF_BYTES, NULL)) == 1)
        size = i2d_ECDSA_SIG(pair, der);
    ECDSA_SIG_free(pair);
    return size;
}

/* Feed the candidate to both digests; its length, or -1. */
static int64_t feed(int descriptor, EVP_MD_CTX *judge, EVP_MD_CTX *digest)
{
    static uint8_t piece[1u << 16];
    int64_t total = 0;

    for (;;) {
        const ssize_t part = read(descriptor, piece, sizeof piece);
        if (part < 0 && errno == EINTR)
            continue;
        if (!part)
            return total;
        total += part;
        if (part < 0 || total > CANDIDATE_BYTES_MAX
            || EVP_DigestVerifyUpdate(judge, piece, (size_t)part) != 1
            || EVP_DigestUpdate(digest, piece, (size_t)part) != 1)
            return -1;
    }
}

static void judge(int control, EVP_MD_CTX *own, int candidate, int signature)
{
    uint8_t *der = NULL, found[DIGEST_BYTES];
    char hex[2 * DIGEST_BYTES + 1], report[256];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    const int size = signature_der(signature, &der);

    if (size <= 0 || !digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        say(control, "100", "a signature has 64 bytes");
        return;
    }
    const int64_t total = feed(candidate, own, digest);
    if (total < 0) {
        say(control, "102", "the file cannot be read, or is too long");
        return;
    }
    if (EVP_DigestVerifyFinal(own, der, (size_t)size) != 1
        || EVP_DigestFinal_ex(digest, found, NULL) != 1) {
        say(control, "204", "the signature is not of this key over this file");
        return;
    }
    for (int at = 0; at < DIGEST_BYTES; at++)
        snprintf(hex + 2 * at, 3, "%02x", found[at]);
    snprintf(report, sizeof report, "{\"event\":\"verified\",\"sha256\":\"%s\",\"bytes\":%lld}", hex,
             (long long)total);
    asepsis_report(control, report);
}

int main(int count, char **words)
{
    asepsis_order order;
    const int control = atoi(words[count - 1]);

    if (asepsis_order_receive(&order, control) != 1 || !asepsis_order_is(&order, "start"))
        return 1;
    const int candidate = asepsis_order_take(&order, "candidate");
    const int signature = asepsis_order_take(&order, "signature");
    EVP_MD_CTX *own = ready(asepsis_order_take(&order, "key"));
    if (!own || candidate < 0 || signature < 0) {
        asepsis_report(control, "{\"event\":\"failed\",\"text\":\"no key to verify with\"}");
        return 1;
    }
    if (asepsis_confine(&order)) {
        asepsis_report(control, "{\"event\":\"failed\",\"text\":\"rights were not given up\"}");
        return 1;
    }
    asepsis_report(control, "{\"event\":\"confined\"}");
    /* Who started it asks the kernel first whether that is so. */
    if (asepsis_order_receive(&order, control) != 1 || !asepsis_order_is(&order, "judge"))
        return 1;
    judge(control, own, candidate, signature);
    return 0;
}
