// Writing resume points: see resume.h.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/base/parallel.h"
#include "core/ckpt/resume_format.h"

static int check_sections(const struct resume_section *sections, size_t count, struct error *e)
{
    if (count > RESUME_SECTIONS_MAX)
        return error_set(e, ERR_FAILED, "a resume point of %zu sections; at most %d are allowed", count,
                         RESUME_SECTIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(sections[i].name);
        if (n == 0 || n > RESUME_NAME_MAX)
            return error_set(e, ERR_FAILED, "a section's name of %zu bytes; 1 to %d are allowed", n, RESUME_NAME_MAX);
        for (size_t k = 0; k < i; k++)
            if (!strcmp(sections[i].name, sections[k].name))
                return error_set(e, ERR_FAILED, "two sections are called '%s'", sections[i].name);
    }
    return 0;
}

// Magic, step, and the table of sections; free(b.text).
static struct strbuf make_table(uint64_t step, const struct resume_section *sections, const struct hash *hashes,
                                size_t count)
{
    static const char zeros[8];
    struct strbuf b = {0};
    const uint64_t head[2] = {step, count};
    strbuf_add(&b, RESUME_MAGIC, 8);
    strbuf_add(&b, head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        const uint64_t size = sections[i].size, length = strlen(sections[i].name);
        strbuf_add(&b, &size, sizeof size);
        strbuf_add(&b, hashes[i].bytes, sizeof hashes[i].bytes);
        strbuf_add(&b, &length, sizeof length);
        strbuf_add(&b, sections[i].name, length);
        strbuf_add(&b, zeros, resume_padding(length, 8));
    }
    return b;
}

static int write_point(FILE *f, const struct strbuf *table, const struct resume_section *sections, size_t count)
{
    static const char zeros[RESUME_ALIGN];
    struct hash whole = hash_memory(table->text, table->length);
    size_t at = table->length;
    if (fwrite(table->text, 1, table->length, f) != table->length)
        return -1;
    for (size_t i = 0; i < count; i++) {
        size_t padding = resume_padding(at, RESUME_ALIGN), size = sections[i].size;
        if (fwrite(zeros, 1, padding, f) != padding || (size && fwrite(sections[i].data, 1, size, f) != size))
            return -1;
        at += padding + size;
    }
    return fwrite(whole.bytes, sizeof whole.bytes, 1, f) == 1 ? 0 : -1;
}

static int save_file(const char *path, const struct strbuf *table, const struct resume_section *sections, size_t count,
                     struct error *e)
{
    struct file_writer *w = file_writer_open(path, e);
    if (!w)
        return -1;
    if (write_point(file_writer_stream(w), table, sections, count)) {
        error_set_errno(e, ERR_FAILED, "cannot write %s", path);
        file_writer_abandon(w);
        return -1;
    }
    return file_writer_commit(w, e);
}

// Points of later steps, and all but the newest RESUME_KEPT of the others.
static int remove_old(const char *directory, uint64_t step, struct error *e)
{
    struct resume_listing points;
    size_t kept = 0;
    int rc = resume_list(directory, &points, e);
    for (size_t i = 0; i < points.count && !rc; i++) { // newest first
        if (points.items[i].step <= step && kept < RESUME_KEPT)
            kept++;
        else if (unlink(points.items[i].path))
            rc = error_set_errno(e, ERR_FAILED, "cannot remove %s", points.items[i].path);
    }
    resume_listing_free(&points);
    return rc;
}

int resume_remove_later(const char *directory, uint64_t step, struct error *e)
{
    struct resume_listing points;
    int rc = resume_list(directory, &points, e);
    for (size_t i = 0; i < points.count && !rc && points.items[i].step > step; i++)
        if (unlink(points.items[i].path))
            rc = error_set_errno(e, ERR_FAILED, "cannot remove %s", points.items[i].path);
    resume_listing_free(&points);
    return rc;
}

struct hashing {
    const struct resume_section *sections;
    struct hash *hashes;
};

static int hash_section(void *context, size_t item, int thread)
{
    struct hashing *h = context;
    (void)thread;
    h->hashes[item] = hash_memory(h->sections[item].data, h->sections[item].size);
    return 0;
}

int resume_save(const char *directory, uint64_t step, const struct resume_section *sections, size_t count,
                struct error *e)
{
    if (check_sections(sections, count, e) || file_make_dirs(directory, e) || resume_remove_temporaries(directory, e))
        return -1;
    struct hashing h = {sections, xcalloc(count + 1, sizeof *h.hashes)};
    parallel_for(0, count, hash_section, &h);
    struct strbuf table = make_table(step, sections, h.hashes, count);
    char *path = xprintf("%s/point-%" PRIu64 RESUME_SUFFIX, directory, step);
    int rc = save_file(path, &table, sections, count, e);
    free(path);
    free(table.text);
    free(h.hashes);
    return rc ? -1 : remove_old(directory, step, e);
}
