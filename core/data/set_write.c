// Writing prepared sets: see set_write.h and set_format.h.
#include "core/data/set_write.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/data/set_format.h"

struct set_writer {
    struct file_writer *file;
    char *path;
    struct set_description d;
    uint64_t frame_count;
    size_t clip_count, clip_capacity, skipped_count, skipped_capacity;
    struct set_record *clips;
    struct set_skip *skipped;
    // Kept apart, since skipped clips come in between the others here and behind them in append().
    struct strbuf paths, skips;
};

static uint64_t add_text(struct strbuf *b, const char *text)
{
    uint64_t at = b->length;
    strbuf_add(b, text, strlen(text) + 1);
    return at;
}

static int put(struct set_writer *w, const void *data, size_t size, struct error *e)
{
    if (size && fwrite(data, 1, size, file_writer_stream(w->file)) != size)
        return error_set_errno(e, ERR_FAILED, "cannot write %s", w->path);
    return 0;
}

struct set_writer *set_writer_open(const char *path, const struct set_description *d, struct error *e)
{
    struct file_writer *file = file_writer_open(path, e);
    if (!file)
        return NULL;
    struct set_writer *w = xcalloc(1, sizeof *w);
    w->file = file;
    w->path = xstrdup(path);
    w->d = *d;
    const char zeros[SET_FRAMES_AT] = {0};
    if (put(w, zeros, sizeof zeros, e)) {
        set_writer_abandon(w);
        return NULL;
    }
    return w;
}

int set_writer_add(struct set_writer *w, const struct set_clip *c, struct error *e)
{
    if (put(w, c->data, (size_t)c->frames * SET_FRAME_BYTES, e))
        return -1;
    if (w->clip_count == w->clip_capacity) {
        w->clip_capacity = w->clip_capacity ? 2 * w->clip_capacity : 1024;
        w->clips = xrealloc(w->clips, w->clip_capacity, sizeof *w->clips);
    }
    struct set_record *r = &w->clips[w->clip_count++];
    *r = (struct set_record){.first_frame = w->frame_count,
                             .path = add_text(&w->paths, c->path),
                             .participant = c->participant,
                             .sequence = c->sequence,
                             .frames = (uint32_t)c->frames,
                             .source_frames = (uint32_t)c->source_frames,
                             .label = c->label,
                             .fold = c->fold,
                             .left_missing = (uint32_t)c->left_missing,
                             .right_missing = (uint32_t)c->right_missing};
    memcpy(r->hash, c->hash.bytes, sizeof r->hash);
    w->frame_count += (uint64_t)c->frames;
    return 0;
}

void set_writer_skip(struct set_writer *w, const char *path, const char *reason)
{
    if (w->skipped_count == w->skipped_capacity) {
        w->skipped_capacity = w->skipped_capacity ? 2 * w->skipped_capacity : 64;
        w->skipped = xrealloc(w->skipped, w->skipped_capacity, sizeof *w->skipped);
    }
    uint64_t path_at = add_text(&w->skips, path);
    w->skipped[w->skipped_count++] = (struct set_skip){path_at, add_text(&w->skips, reason)};
}

int set_writer_append(struct set_writer *w, const struct set *part, struct error *e)
{
    for (size_t i = 0; i < set_count(part); i++)
        if (set_writer_add(w, set_clip(part, i), e))
            return -1;
    for (size_t i = 0; i < set_skipped_count(part); i++)
        set_writer_skip(w, set_skipped(part, i)->path, set_skipped(part, i)->reason);
    return 0;
}

// Everything behind the frames, and its hash into the header.
static int put_index(struct set_writer *w, struct set_header *header, struct error *e)
{
    struct strbuf text = {0}; // paths, names, skipped clips' paths and reasons
    uint64_t *names = xcalloc((size_t)w->d.sign_count, sizeof *names);
    if (w->paths.length)
        strbuf_add(&text, w->paths.text, w->paths.length);
    for (int i = 0; i < w->d.sign_count; i++)
        names[i] = add_text(&text, w->d.signs[i]);
    for (size_t i = 0; i < w->skipped_count; i++) {
        w->skipped[i].path += text.length;
        w->skipped[i].reason += text.length;
    }
    if (w->skips.length)
        strbuf_add(&text, w->skips.text, w->skips.length);
    const struct {
        const void *data;
        size_t size;
    } sections[] = {{w->clips, w->clip_count * sizeof *w->clips},
                    {names, (size_t)w->d.sign_count * sizeof *names},
                    {w->skipped, w->skipped_count * sizeof *w->skipped},
                    {text.text, text.length}};
    header->text_size = text.length;
    header->file_size = SET_FRAMES_AT + w->frame_count * SET_FRAME_BYTES;
    for (int i = 0; i < 4; i++)
        header->file_size += sections[i].size;
    struct hasher *h = hasher_create();
    hasher_update(h, header, offsetof(struct set_header, source_key));
    int rc = 0;
    for (int i = 0; i < 4; i++) {
        rc = rc ? rc : put(w, sections[i].data, sections[i].size, e);
        hasher_update(h, sections[i].data, sections[i].size);
    }
    struct hash content = hasher_finish(h);
    memcpy(header->content, content.bytes, sizeof header->content);
    free(names);
    free(text.text);
    return rc;
}

int set_writer_commit(struct set_writer *w, struct error *e)
{
    struct set_header header = {.version = SET_VERSION,
                                .flags = w->d.folds_given ? SET_FOLDS_GIVEN : 0,
                                .clip_count = w->clip_count,
                                .frame_count = w->frame_count,
                                .skipped_count = w->skipped_count,
                                .sign_count = (uint32_t)w->d.sign_count,
                                .max_len = (uint32_t)w->d.max_len,
                                .fold_count = (uint32_t)w->d.fold_count,
                                .fold_seed = w->d.fold_seed,
                                .first_row = w->d.first_row,
                                .row_count = w->clip_count + w->skipped_count};
    memcpy(header.magic, set_magic, sizeof header.magic);
    memcpy(header.source_key, w->d.source_key.bytes, sizeof header.source_key);
    int rc = put_index(w, &header, e);
    struct hash check = hash_memory(&header, offsetof(struct set_header, check));
    memcpy(header.check, check.bytes, sizeof header.check);
    if (!rc && fseek(file_writer_stream(w->file), 0, SEEK_SET))
        rc = error_set_errno(e, ERR_FAILED, "cannot write %s", w->path);
    if (!rc)
        rc = put(w, &header, sizeof header, e);
    if (!rc) {
        rc = file_writer_commit(w->file, e);
        w->file = NULL;
    }
    set_writer_abandon(w);
    return rc;
}

void set_writer_abandon(struct set_writer *w)
{
    if (!w)
        return;
    file_writer_abandon(w->file);
    free(w->clips);
    free(w->skipped);
    free(w->paths.text);
    free(w->skips.text);
    free(w->path);
    free(w);
}
