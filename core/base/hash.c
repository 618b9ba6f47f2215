// SHA-256: see hash.h.
#include "core/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

struct hasher {
    EVP_MD_CTX *context;
};

struct hasher *hasher_create(void)
{
    struct hasher *h = malloc(sizeof *h);
    if (!h || !(h->context = EVP_MD_CTX_new()) || !EVP_DigestInit_ex(h->context, EVP_sha256(), NULL)) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return h;
}

void hasher_update(struct hasher *h, const void *data, size_t size)
{
    EVP_DigestUpdate(h->context, data, size);
}

struct hash hasher_finish(struct hasher *h)
{
    struct hash out;
    EVP_DigestFinal_ex(h->context, out.bytes, NULL);
    hasher_destroy(h);
    return out;
}

void hasher_destroy(struct hasher *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->context);
    free(h);
}

struct hash hash_memory(const void *data, size_t size)
{
    struct hasher *h = hasher_create();
    hasher_update(h, data, size);
    return hasher_finish(h);
}

int hash_file(const char *path, struct hash *out, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "cannot open %s", path);
    struct hasher *h = hasher_create();
    static const size_t size = 1 << 20;
    char *buffer = malloc(size);
    ssize_t n = -1;
    while (buffer && (n = read(fd, buffer, size)) > 0)
        hasher_update(h, buffer, (size_t)n);
    int saved = errno;
    free(buffer);
    close(fd);
    *out = hasher_finish(h);
    errno = saved;
    return n < 0 ? error_set_errno(e, ERR_FAILED, "cannot read %s", path) : 0;
}

void hash_to_hex(const struct hash *h, char text[65])
{
    for (int i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", h->bytes[i]);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int hash_from_hex(const char *text, struct hash *out)
{
    for (int i = 0; i < 32; i++) {
        int high = hex_digit(text[2 * i]), low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0)
            return -1;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return text[64] ? -1 : 0;
}

int hash_equal(const struct hash *a, const struct hash *b)
{
    return CRYPTO_memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

const char *hash_library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}
