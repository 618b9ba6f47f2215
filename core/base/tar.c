// tar archives: see tar.h. The format: POSIX.1-1988 "ustar" (pax(1)), base-256 numbers as in GNU tar's manual.
#include "core/base/tar.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512 };

// The fields are not terminated where they are full.
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2];
    char user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

// The sum of the header's bytes with the checksum's own taken as blanks.
static unsigned checksum_of(const struct header *h)
{
    struct header copy = *h;
    memset(copy.checksum, ' ', sizeof copy.checksum);
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        sum += ((const unsigned char *)&copy)[i];
    return sum;
}

static void put_octal(char *field, size_t width, uint64_t value)
{
    field[width - 1] = 0;
    for (size_t i = width - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

static void put_size(char field[12], uint64_t size)
{
    if (size < 1ull << 33) {
        put_octal(field, 12, size);
        return;
    }
    field[0] = (char)0x80;
    for (int i = 11; i > 0; i--, size >>= 8)
        field[i] = (char)(size & 0xff);
}

static int get_octal(const char *field, size_t width, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < width && field[i] && field[i] != ' '; i++) {
        if (field[i] < '0' || field[i] > '7')
            return -1;
        *value = *value << 3 | (uint64_t)(field[i] - '0');
    }
    return 0;
}

static int get_size(const char field[12], uint64_t *size)
{
    if (!((unsigned char)field[0] & 0x80))
        return get_octal(field, 12, size);
    *size = 0;
    for (int i = 4; i < 12; i++)
        *size = *size << 8 | (unsigned char)field[i];
    return field[0] != (char)0x80 || field[1] || field[2] || field[3] ? -1 : 0;
}

static size_t padding(uint64_t size)
{
    return (size_t)(-size & (BLOCK - 1));
}

static int put(FILE *stream, const void *data, size_t size, struct error *e)
{
    if (fwrite(data, 1, size, stream) == size)
        return 0;
    return error_set_errno(e, ERR_FAILED, "cannot write an archive");
}

int tar_begin_entry(FILE *stream, const char *name, uint64_t size, int64_t time_s, struct error *e)
{
    struct header h = {0};
    if (strlen(name) > TAR_NAME_MAX)
        return error_set(e, ERR_INVALID, "a name of more than %d bytes does not fit into the archive: %s", TAR_NAME_MAX,
                         name);
    memcpy(h.name, name, strlen(name));
    put_octal(h.mode, sizeof h.mode, 0640);
    put_octal(h.uid, sizeof h.uid, 0);
    put_octal(h.gid, sizeof h.gid, 0);
    put_size(h.size, size);
    put_octal(h.mtime, sizeof h.mtime, time_s > 0 ? (uint64_t)time_s : 0);
    h.type = '0';
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    snprintf(h.checksum, sizeof h.checksum, "%06o", checksum_of(&h) & 0777777);
    h.checksum[7] = ' ';
    return put(stream, &h, sizeof h, e);
}

int tar_end_entry(FILE *stream, uint64_t size, struct error *e)
{
    static const char zeros[BLOCK];
    return put(stream, zeros, padding(size), e);
}

int tar_end(FILE *stream, struct error *e)
{
    static const char zeros[2 * BLOCK];
    return put(stream, zeros, sizeof zeros, e);
}

static int cut_off(FILE *stream, struct error *e)
{
    if (ferror(stream))
        return error_set_errno(e, ERR_FAILED, "cannot read the archive");
    return error_set(e, ERR_DAMAGED, "the archive is cut off");
}

int tar_next(FILE *stream, struct tar_entry *out, struct error *e)
{
    static const struct header zero;
    struct header h;
    uint64_t sum;
    if (fread(&h, 1, sizeof h, stream) != sizeof h)
        return cut_off(stream, e);
    if (!memcmp(&h, &zero, sizeof h))
        return 0;
    if (memcmp(h.magic, "ustar", 5) || (memcmp(h.checksum + 6, "\0 ", 2) && memcmp(h.checksum + 6, " \0", 2)) ||
        get_octal(h.checksum, sizeof h.checksum, &sum) || sum != checksum_of(&h) || get_size(h.size, &out->size) ||
        h.name[TAR_NAME_MAX])
        return error_set(e, ERR_DAMAGED, "the archive is damaged: a file's header in it is none");
    if ((h.type != '0' && h.type != 0) || h.prefix[0])
        return error_set(e, ERR_DAMAGED, "the archive holds '%s', which is no plain file", h.name);
    memcpy(out->name, h.name, sizeof out->name);
    return 1;
}

int tar_skip_padding(FILE *stream, uint64_t size, struct error *e)
{
    static const char zeros[BLOCK];
    char rest[BLOCK];
    size_t n = padding(size);
    if (fread(rest, 1, n, stream) != n)
        return cut_off(stream, e);
    return memcmp(rest, zeros, n) ? error_set(e, ERR_DAMAGED, "the archive is damaged between two files") : 0;
}
