// Reading resume points: see resume.h. Nothing in a file is trusted before its hash agrees, and the table's sizes not
// before they fit the file.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/parallel.h"
#include "core/ckpt/resume_format.h"

struct reader {
    const uint8_t *data;
    size_t size, at; // at: the next byte, <= size
    struct resume_point *point;
    struct hash *hashes; // [point->count]
    struct error *error;
};

static int damaged(struct reader *r, const char *what)
{
    return error_set(r->error, ERR_DAMAGED, "%s: %s", r->point->path, what);
}

// The next `size` bytes; NULL: fewer are left.
static const uint8_t *take(struct reader *r, size_t size)
{
    if (size > r->size - r->at)
        return NULL;
    r->at += size;
    return r->data + r->at - size;
}

static int take_u64(struct reader *r, uint64_t *out)
{
    const uint8_t *p = take(r, sizeof *out);
    if (!p)
        return -1;
    memcpy(out, p, sizeof *out);
    return 0;
}

static int take_zeros(struct reader *r, size_t size)
{
    const uint8_t *p = take(r, size);
    for (size_t i = 0; p && i < size; i++)
        if (p[i])
            return -1;
    return p ? 0 : -1;
}

// One row of the table: the section's name and size, and its hash.
static int read_row(struct reader *r, struct resume_section *section, struct hash *hash)
{
    uint64_t size, length;
    const uint8_t *bytes, *name;
    if (take_u64(r, &size) || !(bytes = take(r, sizeof hash->bytes)) || take_u64(r, &length))
        return -1;
    if (length == 0 || length > RESUME_NAME_MAX || !(name = take(r, length)) || memchr(name, 0, length) ||
        take_zeros(r, resume_padding(length, 8)))
        return -1;
    memcpy(hash->bytes, bytes, sizeof hash->bytes);
    char *copy = xmalloc(length + 1);
    memcpy(copy, name, length);
    copy[length] = 0;
    section->name = copy;
    section->size = size;
    return 0;
}

static int read_table(struct reader *r)
{
    struct resume_point *p = r->point;
    uint64_t count;
    const uint8_t *magic = take(r, 8);
    if (!magic || memcmp(magic, RESUME_MAGIC, 8))
        return damaged(r, "this is no resume point");
    if (take_u64(r, &p->step) || take_u64(r, &count) || count > RESUME_SECTIONS_MAX)
        return damaged(r, "the head is damaged");
    p->sections = xcalloc(count + 1, sizeof *p->sections);
    r->hashes = xcalloc(count + 1, sizeof *r->hashes);
    for (; p->count < count; p->count++)
        if (read_row(r, &p->sections[p->count], &r->hashes[p->count]))
            return damaged(r, "the table of sections is damaged or truncated");
    for (size_t i = 0; i < p->count; i++)
        for (size_t k = 0; k < i; k++)
            if (!strcmp(p->sections[i].name, p->sections[k].name))
                return damaged(r, "two sections have the same name");
    return 0;
}

static int place_sections(struct reader *r)
{
    size_t table_size = r->at;
    struct hash found, whole = hash_memory(r->data, table_size);
    for (size_t i = 0; i < r->point->count; i++) {
        struct resume_section *s = &r->point->sections[i];
        if (take_zeros(r, resume_padding(r->at, RESUME_ALIGN)))
            return damaged(r, "the file is truncated, or what should be padding is not");
        if (!(s->data = take(r, s->size)))
            return damaged(r, "the file is truncated");
    }
    const uint8_t *trailer = take(r, sizeof found.bytes);
    if (!trailer || r->at != r->size)
        return damaged(r, trailer ? "bytes follow the end" : "the file is truncated");
    memcpy(found.bytes, trailer, sizeof found.bytes);
    return hash_equal(&found, &whole) ? 0 : damaged(r, "the hash of the table does not agree");
}

static int check_section(void *context, size_t item, int thread)
{
    const struct reader *r = context;
    const struct resume_section *s = &r->point->sections[item];
    (void)thread;
    struct hash h = hash_memory(s->data, s->size);
    return hash_equal(&h, &r->hashes[item]) ? 0 : (int)item + 1;
}

static int read_point(struct reader *r)
{
    if (read_table(r) || place_sections(r))
        return -1;
    int bad = parallel_for(0, r->point->count, check_section, r);
    if (bad)
        return error_set(r->error, ERR_DAMAGED, "%s: the hash of section '%s' does not agree", r->point->path,
                         r->point->sections[bad - 1].name);
    return 0;
}

int resume_open_file(const char *path, struct resume_point *point, struct error *e)
{
    *point = (struct resume_point){0};
    if (file_map_open(path, &point->map, e))
        return -1;
    point->path = xstrdup(path);
    struct reader r = {.data = point->map.data, .size = point->map.size, .point = point, .error = e};
    int rc = read_point(&r);
    free(r.hashes);
    if (rc)
        resume_close(point);
    return rc;
}

int resume_open(const char *directory, const struct log *log, struct resume_point *point, struct error *e)
{
    struct resume_listing points;
    *point = (struct resume_point){0};
    if (resume_list(directory, &points, e))
        return -1;
    int rc = error_set(e, ERR_NOT_FOUND, "%s holds no resume point", directory);
    for (size_t i = 0; i < points.count; i++) {
        struct error why;
        rc = resume_open_file(points.items[i].path, point, &why);
        if (!rc)
            break;
        if (why.code != ERR_DAMAGED) { // not to be read is no reason to go back
            if (e)
                *e = why;
            break;
        }
        log_warn(log, "%s; %s", why.text,
                 i + 1 < points.count ? "going back to the one before" : "there is none before it");
        error_set(e, ERR_DAMAGED, "every resume point in %s is damaged", directory);
    }
    resume_listing_free(&points);
    return rc;
}

void resume_close(struct resume_point *point)
{
    // The section that a damaged table breaks off at has no name yet: all names up to count are ours.
    for (size_t i = 0; point->sections && i < point->count; i++)
        free((char *)point->sections[i].name);
    free(point->sections);
    free(point->path);
    if (point->map.data)
        file_map_close(&point->map);
    *point = (struct resume_point){0};
}

const struct resume_section *resume_find(const struct resume_point *point, const char *name)
{
    for (size_t i = 0; i < point->count; i++)
        if (!strcmp(point->sections[i].name, name))
            return &point->sections[i];
    return NULL;
}

int resume_read(const struct resume_point *point, const char *name, void *out, size_t size, struct error *e)
{
    const struct resume_section *s = resume_find(point, name);
    if (!s)
        return error_set(e, ERR_DAMAGED, "%s has no section '%s'", point->path, name);
    if (s->size != size)
        return error_set(e, ERR_DAMAGED, "%s: section '%s' has %zu bytes, but %zu are expected", point->path, name,
                         s->size, size);
    if (size)
        memcpy(out, s->data, size);
    return 0;
}
