// Clips to predict from wherever they are: see sources.h.
#include "core/train/sources.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/data/clip.h"
#include "core/data/recordings.h"

static void add(struct sources *s, char *name, const struct set *set, size_t index)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 64;
        s->items = xrealloc(s->items, s->capacity, sizeof *s->items);
    }
    s->items[s->count++] = (struct source){name, set, index};
}

static int add_directory(struct sources *s, const char *path, struct error *e)
{
    struct recordings *r = recordings_read(path, 0, e);
    if (!r)
        return -1;
    for (size_t i = 0; i < r->count; i++)
        add(s, file_join(path, r->clips[i].path), NULL, 0);
    recordings_free(r);
    return 0;
}

static int add_set(struct sources *s, const char *path, struct error *e)
{
    struct set *set = set_open(path, e);
    if (!set)
        return -1;
    if (set_verify(set, 0, e)) {
        set_close(set);
        return error_prefix(e, "%s", path);
    }
    s->sets = xrealloc(s->sets, s->set_count + 1, sizeof *s->sets);
    s->sets[s->set_count++] = set;
    for (size_t i = 0; i < set_count(set); i++)
        add(s, xstrdup(set_clip(set, i)->path), set, i);
    return 0;
}

// Parquet files begin with "PAR1"; what is neither that nor a directory is opened as a set, which names its faults.
static int is_parquet(const char *path)
{
    char magic[4] = {0};
    FILE *f = fopen(path, "rbe");
    size_t n = f ? fread(magic, 1, sizeof magic, f) : 0;
    if (f)
        fclose(f);
    const char *dot = strrchr(path, '.');
    return (n == sizeof magic && !memcmp(magic, "PAR1", 4)) || (dot && !strcmp(dot, ".parquet"));
}

int sources_add(struct sources *s, const char *path, struct error *e)
{
    struct stat st;
    if (stat(path, &st))
        return error_set_errno(e, file_error_code(errno), "%s", path);
    if (S_ISDIR(st.st_mode))
        return add_directory(s, path, e);
    if (!is_parquet(path))
        return add_set(s, path, e);
    add(s, xstrdup(path), NULL, 0);
    return 0;
}

void sources_add_clip(struct sources *s, const struct set *set, size_t index)
{
    add(s, xstrdup(set_clip(set, index)->path), set, index);
}

void sources_free(struct sources *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->items[i].name);
    for (size_t i = 0; i < s->set_count; i++)
        set_close(s->sets[i]);
    free(s->items);
    free(s->sets);
    memset(s, 0, sizeof *s);
}

static int load_prepared(const struct source *item, int count, const int *max_len, float *const *out, int32_t *frames,
                         struct error *e)
{
    const struct set_clip *c = set_clip(item->set, item->index);
    size_t size = (size_t)c->frames * LANDMARKS * 3;
    for (int k = 0; k < count; k++) {
        if (max_len[k] != set_max_len(item->set))
            return error_set(e, ERR_INVALID,
                             "the prepared set has clips of at most %d frames, the model takes %d: give the recordings",
                             set_max_len(item->set), max_len[k]);
        memset(out[k], 0, (size_t)max_len[k] * LANDMARKS * 3 * sizeof(float));
        memcpy(out[k], c->data, size * sizeof(float));
        frames[k] = c->frames;
    }
    return 0;
}

int sources_load(const struct sources *s, size_t i, struct parquet_reader *reader, int count, const int *max_len,
                 float *const *out, int32_t *frames, struct error *e)
{
    const struct source *item = &s->items[i];
    const double *raw;
    int n;
    if (item->set)
        return load_prepared(item, count, max_len, out, frames, e);
    if (parquet_read_clip(reader, item->name, &raw, &n, e))
        return error_prefix(e, "%s", item->name);
    for (int k = 0; k < count; k++) {
        memset(out[k], 0, (size_t)max_len[k] * LANDMARKS * 3 * sizeof(float));
        frames[k] = clip_prepare(raw, n, max_len[k], out[k]);
    }
    return 0;
}
