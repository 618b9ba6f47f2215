// Reading prepared sets: see set.h; the format: set_format.h.
#include "core/data/set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/parallel.h"
#include "core/base/utf8.h"
#include "core/data/set_format.h"
#include "core/data/set_write.h"

struct set {
    struct file_map map;
    struct set_header header;
    const float *frames;
    const struct set_record *records;
    const uint64_t *names;
    const struct set_skip *skips;
    const char *text;
    struct set_clip *clips;
    struct set_skipped *skipped;
    struct hash content, source_key;
};

// Sizes that no real set comes near; together with the file's size they keep sums of products from overflowing.
static const uint64_t MAX_COUNT = (uint64_t)1 << 40;
enum { MAX_SIGNS = 65536, MAX_FOLDS = 1000 };

// Header and sizes. `path` for the message.
static int check_header(const struct set *s, const char *path, struct error *e)
{
    const struct set_header *h = &s->header;
    if (s->map.size < SET_FRAMES_AT || memcmp(h->magic, set_magic, sizeof set_magic))
        return error_set(e, ERR_DAMAGED, "%s is not a prepared set", path);
    if (h->version != SET_VERSION)
        return error_set(e, ERR_DAMAGED, "%s has format version %u; this program reads version %d: prepare it again",
                         path, h->version, SET_VERSION);
    struct hash check = hash_memory(h, offsetof(struct set_header, check));
    if (memcmp(check.bytes, h->check, sizeof h->check))
        return error_set(e, ERR_DAMAGED, "%s: the header is damaged", path);
    if (h->file_size != s->map.size)
        return error_set(e, ERR_DAMAGED, "%s is truncated or has something behind it: %zu bytes, not %llu", path,
                         s->map.size, (unsigned long long)h->file_size);
    if (h->clip_count > MAX_COUNT || h->frame_count > MAX_COUNT || h->skipped_count > MAX_COUNT ||
        h->text_size > h->file_size || !h->sign_count || h->sign_count > MAX_SIGNS || !h->max_len ||
        h->max_len > SET_MAX_LEN || h->fold_count > MAX_FOLDS || h->reserved ||
        (h->flags & ~(uint32_t)SET_FOLDS_GIVEN) || h->row_count != h->clip_count + h->skipped_count)
        return error_set(e, ERR_DAMAGED, "%s: the header's figures are impossible", path);
    uint64_t size = SET_FRAMES_AT + h->frame_count * SET_FRAME_BYTES + h->clip_count * sizeof *s->records +
                    h->sign_count * sizeof *s->names + h->skipped_count * sizeof *s->skips + h->text_size;
    if (size != h->file_size)
        return error_set(e, ERR_DAMAGED, "%s: the header's figures do not give the file's size", path);
    return 0;
}

static void locate_sections(struct set *s)
{
    const struct set_header *h = &s->header;
    const uint8_t *p = s->map.data + SET_FRAMES_AT;
    s->frames = (const float *)p;
    p += h->frame_count * SET_FRAME_BYTES;
    s->records = (const struct set_record *)p; // all sections before the text are multiples of 8 bytes
    p += h->clip_count * sizeof *s->records;
    s->names = (const uint64_t *)p;
    p += h->sign_count * sizeof *s->names;
    s->skips = (const struct set_skip *)p;
    p += h->skipped_count * sizeof *s->skips;
    s->text = (const char *)p;
}

static int check_index_hash(const struct set *s, const char *path, struct error *e)
{
    const uint8_t *index = (const uint8_t *)s->records;
    struct hasher *h = hasher_create();
    hasher_update(h, &s->header, offsetof(struct set_header, source_key));
    hasher_update(h, index, s->map.size - (size_t)(index - s->map.data));
    struct hash content = hasher_finish(h);
    if (memcmp(content.bytes, s->header.content, sizeof content.bytes))
        return error_set(e, ERR_DAMAGED, "%s: the index is damaged", path);
    const uint8_t *p = s->map.data + sizeof s->header;
    for (; p < s->map.data + SET_FRAMES_AT; p++)
        if (*p)
            return error_set(e, ERR_DAMAGED, "%s: the header is damaged", path);
    return 0;
}

static int check_record(const struct set *s, const struct set_record *r, uint64_t first_frame)
{
    const struct set_header *h = &s->header;
    return r->first_frame == first_frame && r->frames >= 1 && r->frames <= h->max_len &&
           r->frames <= h->frame_count - first_frame && r->source_frames >= r->frames &&
           r->source_frames <= INT32_MAX && r->label >= 0 && (uint32_t)r->label < h->sign_count && r->fold >= -1 &&
           (h->fold_count ? r->fold >= 0 && (uint32_t)r->fold < h->fold_count : r->fold == -1) &&
           r->left_missing <= r->frames && r->right_missing <= r->frames && r->path < h->text_size;
}

static bool text_is_printable(const struct set *s)
{
    const char *end = s->text + s->header.text_size;
    for (const char *p = s->text; p < end; p += strlen(p) + 1)
        if (!utf8_printable(p, strlen(p)))
            return false;
    return true;
}

// Every number that leads anywhere; hashes alone would not keep out a file that was made to do harm.
static int check_index(struct set *s, const char *path, struct error *e)
{
    const struct set_header *h = &s->header;
    if (!h->text_size || s->text[h->text_size - 1])
        return error_set(e, ERR_DAMAGED, "%s: its text has no end", path);
    if (!text_is_printable(s))
        return error_set(e, ERR_DAMAGED, "%s: its text is not UTF-8, or has control characters", path);
    uint64_t frame = 0;
    for (uint64_t i = 0; i < h->clip_count; i++) {
        if (!check_record(s, &s->records[i], frame))
            return error_set(e, ERR_DAMAGED, "%s: the record of clip %llu is impossible", path, (unsigned long long)i);
        frame += s->records[i].frames;
    }
    if (frame != h->frame_count)
        return error_set(e, ERR_DAMAGED, "%s: the clips do not cover the frames", path);
    for (uint32_t i = 0; i < h->sign_count; i++)
        if (s->names[i] >= h->text_size)
            return error_set(e, ERR_DAMAGED, "%s: sign %u has no name", path, i);
    for (uint64_t i = 0; i < h->skipped_count; i++)
        if (s->skips[i].path >= h->text_size || s->skips[i].reason >= h->text_size)
            return error_set(e, ERR_DAMAGED, "%s: the skipped clip %llu has no name", path, (unsigned long long)i);
    return 0;
}

static void make_clips(struct set *s)
{
    s->clips = xcalloc(s->header.clip_count + 1, sizeof *s->clips);
    for (uint64_t i = 0; i < s->header.clip_count; i++) {
        const struct set_record *r = &s->records[i];
        s->clips[i] = (struct set_clip){.data = s->frames + r->first_frame * LANDMARKS * 3,
                                        .first_frame = r->first_frame,
                                        .frames = (int)r->frames,
                                        .source_frames = (int)r->source_frames,
                                        .label = r->label,
                                        .fold = r->fold,
                                        .left_missing = (int)r->left_missing,
                                        .right_missing = (int)r->right_missing,
                                        .left_handed = r->left_missing < r->right_missing,
                                        .participant = r->participant,
                                        .sequence = r->sequence,
                                        .path = s->text + r->path};
        memcpy(s->clips[i].hash.bytes, r->hash, sizeof r->hash);
    }
    s->skipped = xcalloc(s->header.skipped_count + 1, sizeof *s->skipped);
    for (uint64_t i = 0; i < s->header.skipped_count; i++)
        s->skipped[i] = (struct set_skipped){s->text + s->skips[i].path, s->text + s->skips[i].reason};
    memcpy(s->content.bytes, s->header.content, sizeof s->content.bytes);
    memcpy(s->source_key.bytes, s->header.source_key, sizeof s->source_key.bytes);
}

struct set *set_open_part(const char *path, struct error *e)
{
    struct set *s = xcalloc(1, sizeof *s);
    if (file_map_open(path, &s->map, e)) {
        free(s);
        return NULL;
    }
    if (s->map.size >= sizeof s->header)
        memcpy(&s->header, s->map.data, sizeof s->header);
    int rc = check_header(s, path, e);
    if (!rc) {
        locate_sections(s);
        rc = check_index_hash(s, path, e) || check_index(s, path, e);
    }
    if (!rc) {
        make_clips(s);
        return s;
    }
    set_close(s);
    return NULL;
}

struct set *set_open(const char *path, struct error *e)
{
    struct set *s = set_open_part(path, e);
    if (!s || (s->header.clip_count && !s->header.first_row))
        return s;
    error_set(e, ERR_DAMAGED, "%s holds no clips, or is only a part of a set", path);
    set_close(s);
    return NULL;
}

void set_close(struct set *s)
{
    if (!s)
        return;
    file_map_close(&s->map);
    free(s->clips);
    free(s->skipped);
    free(s);
}

size_t set_count(const struct set *s)
{
    return s->header.clip_count;
}

const struct set_clip *set_clip(const struct set *s, size_t i)
{
    return &s->clips[i];
}

const float *set_frames(const struct set *s)
{
    return s->frames;
}

uint64_t set_frame_count(const struct set *s)
{
    return s->header.frame_count;
}

long set_find(const struct set *s, int64_t participant, int64_t sequence)
{
    for (size_t i = 0; i < s->header.clip_count; i++)
        if (s->clips[i].sequence == sequence && s->clips[i].participant == participant)
            return (long)i;
    return -1;
}

int set_max_len(const struct set *s)
{
    return (int)s->header.max_len;
}

int set_sign_count(const struct set *s)
{
    return (int)s->header.sign_count;
}

const char *set_sign_name(const struct set *s, int label)
{
    return s->text + s->names[label];
}

int set_fold_count(const struct set *s)
{
    return (int)s->header.fold_count;
}

uint64_t set_fold_seed(const struct set *s)
{
    return s->header.fold_seed;
}

bool set_folds_given(const struct set *s)
{
    return s->header.flags & SET_FOLDS_GIVEN;
}

const struct hash *set_hash(const struct set *s)
{
    return &s->content;
}

const struct hash *set_source_key(const struct set *s)
{
    return &s->source_key;
}

size_t set_skipped_count(const struct set *s)
{
    return s->header.skipped_count;
}

const struct set_skipped *set_skipped(const struct set *s, size_t i)
{
    return &s->skipped[i];
}

uint64_t set_first_row(const struct set *s)
{
    return s->header.first_row;
}

uint64_t set_row_count(const struct set *s)
{
    return s->header.row_count;
}

enum { SOUND, HASH_DIFFERS, NOT_FINITE };

struct verification {
    const struct set *set;
    size_t first;
    unsigned char *verdicts; // one for each clip from there on, so that the first fault can be named
};

static int verify_clip(void *context, size_t i, int thread)
{
    (void)thread;
    struct verification *v = context;
    const struct set_clip *c = &v->set->clips[v->first + i];
    size_t values = (size_t)c->frames * LANDMARKS * 3;
    struct hash hash = hash_memory(c->data, values * sizeof *c->data);
    bool finite = true;
    for (size_t k = 0; k < values; k++)
        finite &= isfinite(c->data[k]) != 0;
    return v->verdicts[i] = !hash_equal(&hash, &c->hash) ? HASH_DIFFERS : !finite ? NOT_FINITE : SOUND;
}

int set_verify(const struct set *s, int threads, struct error *e)
{
    return set_verify_clips(s, 0, set_count(s), threads, e);
}

int set_verify_clips(const struct set *s, size_t first, size_t count, int threads, struct error *e)
{
    struct verification v = {s, first, xcalloc(count + 1, 1)};
    int rc = 0;
    if (parallel_for(threads, count, verify_clip, &v)) {
        size_t i = 0;
        while (v.verdicts[i] == SOUND)
            i++;
        rc = error_set(e, ERR_DAMAGED, "the frames of clip %zu (%s) are damaged: %s", first + i,
                       s->clips[first + i].path,
                       v.verdicts[i] == HASH_DIFFERS ? "their SHA-256 is another" : "not all of them are finite");
    }
    free(v.verdicts);
    return rc;
}
