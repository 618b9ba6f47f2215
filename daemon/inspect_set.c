// What islrd inspect tells of a prepared set: figures, signs and folds, skipped clips; or one clip.
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/base/npy.h"
#include "core/data/set.h"
#include "core/data/set_format.h"
#include "daemon/inspect.h"
#include "daemon/name_json.h"

static bool recognises(const char *file)
{
    char magic[sizeof set_magic];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool same = read(fd, magic, sizeof magic) == sizeof magic && !memcmp(magic, set_magic, sizeof magic);
    close(fd);
    return same;
}

struct participant {
    int64_t id;
    int fold;
    bool several_folds;
    size_t clips, left_handed;
};

struct summary {
    const struct set *set;
    int folds;           // at least 1: without folds all clips count under the first
    size_t *counts;      // [signs, folds]
    size_t *fold_clips;  // [folds]
    size_t *fold_people; // [folds]
    struct participant *participants;
    size_t participant_count, left_handed, without_left, without_right;
    int shortest, longest, source_shortest, source_longest;
    uint64_t source_frames;
};

static int compare_participants(const void *a, const void *b)
{
    const struct participant *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

// One entry for each participant, in ascending order: first one for each clip, then merged.
static void list_participants(struct summary *m)
{
    size_t count = set_count(m->set), n = 0;
    struct participant *p = xcalloc(count, sizeof *p);
    for (size_t i = 0; i < count; i++) {
        const struct set_clip *c = set_clip(m->set, i);
        p[i] = (struct participant){c->participant, c->fold, false, 1, c->left_handed};
    }
    qsort(p, count, sizeof *p, compare_participants);
    for (size_t i = 0; i < count; i++) {
        if (!n || p[i].id != p[n - 1].id) {
            p[n++] = p[i];
            continue;
        }
        p[n - 1].clips++;
        p[n - 1].left_handed += p[i].left_handed;
        p[n - 1].several_folds |= p[i].fold != p[n - 1].fold;
    }
    for (size_t i = 0; i < n; i++)
        m->fold_people[p[i].fold < 0 ? 0 : p[i].fold]++;
    m->participants = p;
    m->participant_count = n;
}

static void summarise(struct summary *m, const struct set *s)
{
    *m = (struct summary){.set = s, .folds = set_fold_count(s) ? set_fold_count(s) : 1};
    m->counts = xcalloc((size_t)set_sign_count(s) * (size_t)m->folds, sizeof *m->counts);
    m->fold_clips = xcalloc((size_t)m->folds, sizeof *m->fold_clips);
    m->fold_people = xcalloc((size_t)m->folds, sizeof *m->fold_people);
    for (size_t i = 0; i < set_count(s); i++) {
        const struct set_clip *c = set_clip(s, i);
        int fold = c->fold < 0 ? 0 : c->fold;
        m->counts[(size_t)c->label * (size_t)m->folds + (size_t)fold]++;
        m->fold_clips[fold]++;
        m->left_handed += c->left_handed;
        m->without_left += (size_t)c->left_missing;
        m->without_right += (size_t)c->right_missing;
        m->source_frames += (uint64_t)c->source_frames;
        m->shortest = i && m->shortest < c->frames ? m->shortest : c->frames;
        m->longest = m->longest > c->frames ? m->longest : c->frames;
        m->source_shortest = i && m->source_shortest < c->source_frames ? m->source_shortest : c->source_frames;
        m->source_longest = m->source_longest > c->source_frames ? m->source_longest : c->source_frames;
    }
    list_participants(m);
}

static void free_summary(struct summary *m)
{
    free(m->counts);
    free(m->fold_clips);
    free(m->fold_people);
    free(m->participants);
}

static size_t sign_clips(const struct summary *m, int sign)
{
    size_t sum = 0;
    for (int fold = 0; fold < m->folds; fold++)
        sum += m->counts[(size_t)sign * (size_t)m->folds + (size_t)fold];
    return sum;
}

// ---- text -----------------------------------------------------------------------------------------------------------

static void print_figures(const struct summary *m, const char *file)
{
    const struct set *s = m->set;
    char hex[65];
    hash_to_hex(set_hash(s), hex);
    double frames = (double)set_frame_count(s), clips = (double)set_count(s);
    printf("prepared set   %s\nhash           %s\n", file, hex);
    printf("clips          %zu (%zu left-handed), %zu skipped\n", set_count(s), m->left_handed, set_skipped_count(s));
    printf("participants   %zu\nsigns          %d\n", m->participant_count, set_sign_count(s));
    printf("frames         %llu: %d to %d a clip, %.1f on average, at most %d allowed\n",
           (unsigned long long)set_frame_count(s), m->shortest, m->longest, frames / clips, set_max_len(s));
    printf("recorded       %d to %d frames a clip, %.1f on average\n", m->source_shortest, m->source_longest,
           (double)m->source_frames / clips);
    printf("missing hands  left in %.1f%% of the frames, right in %.1f%%\n", 100 * (double)m->without_left / frames,
           100 * (double)m->without_right / frames);
}

static void print_folds(const struct summary *m)
{
    const struct set *s = m->set;
    if (!set_fold_count(s)) {
        printf("folds          none\n");
        return;
    }
    if (set_folds_given(s))
        printf("folds          %d, from a file\n", m->folds);
    else
        printf("folds          %d, seed %llu\n", m->folds, (unsigned long long)set_fold_seed(s));
    for (int fold = 0; fold < m->folds; fold++) {
        printf("  fold %-3d     %zu clips, participants:", fold, m->fold_clips[fold]);
        for (size_t i = 0; i < m->participant_count; i++)
            if (m->participants[i].fold == fold)
                printf(" %lld%s", (long long)m->participants[i].id, m->participants[i].several_folds ? "*" : "");
        printf("\n");
    }
    for (size_t i = 0; i < m->participant_count; i++)
        if (m->participants[i].several_folds) {
            printf("  * is in other folds too: held-out clips will not be of signers unseen in training\n");
            break;
        }
}

static void print_signs(const struct summary *m)
{
    printf("\nlabel  sign                  clips");
    for (int fold = 0; m->folds > 1 && fold < m->folds; fold++)
        printf("  fold %d", fold);
    printf("\n");
    for (int sign = 0; sign < set_sign_count(m->set); sign++) {
        printf("%5d  %-20s %6zu", sign, set_sign_name(m->set, sign), sign_clips(m, sign));
        for (int fold = 0; m->folds > 1 && fold < m->folds; fold++)
            printf(" %7zu", m->counts[(size_t)sign * (size_t)m->folds + (size_t)fold]);
        printf("\n");
    }
    for (size_t i = 0; i < set_skipped_count(m->set); i++)
        printf("%sskipped %s: %s\n", i ? "" : "\n", set_skipped(m->set, i)->path, set_skipped(m->set, i)->reason);
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static json_t *counts_json(const size_t *counts, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer((json_int_t)counts[i]));
    return list;
}

static json_t *folds_json(const struct summary *m)
{
    if (!set_fold_count(m->set))
        return json_null();
    json_t *folds =
        json_pack("{s:i, s:b, s:o, s:o}", "count", m->folds, "from_file", set_folds_given(m->set), "clips",
                  counts_json(m->fold_clips, m->folds), "participants", counts_json(m->fold_people, m->folds));
    if (!set_folds_given(m->set))
        json_object_set_new(folds, "seed", json_integer((json_int_t)set_fold_seed(m->set)));
    return folds;
}

static json_t *summary_json(const struct summary *m, const char *file)
{
    const struct set *s = m->set;
    char hex[65];
    hash_to_hex(set_hash(s), hex);
    json_t *signs = json_array(), *people = json_array(), *skipped = json_array();
    for (int i = 0; i < set_sign_count(s); i++)
        json_array_append_new(signs, json_pack("{s:i, s:s, s:I, s:o}", "label", i, "sign", set_sign_name(s, i), "clips",
                                               (json_int_t)sign_clips(m, i), "folds",
                                               set_fold_count(s)
                                                   ? counts_json(m->counts + (size_t)i * (size_t)m->folds, m->folds)
                                                   : json_array()));
    for (size_t i = 0; i < m->participant_count; i++) {
        const struct participant *p = &m->participants[i];
        json_array_append_new(people, json_pack("{s:I, s:I, s:i, s:b, s:I}", "participant", (json_int_t)p->id, "clips",
                                                (json_int_t)p->clips, "fold", p->fold, "several_folds",
                                                p->several_folds, "left_handed", (json_int_t)p->left_handed));
    }
    for (size_t i = 0; i < set_skipped_count(s); i++)
        json_array_append_new(
            skipped, json_pack("{s:s, s:s}", "path", set_skipped(s, i)->path, "reason", set_skipped(s, i)->reason));
    return json_pack("{s:s, s:o, s:s, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "kind", "set", "file",
                     name_json(file), "hash", hex, "clips", (json_int_t)set_count(s), "frames",
                     (json_int_t)set_frame_count(s), "max_len", set_max_len(s), "source_frames",
                     (json_int_t)m->source_frames, "left_handed", (json_int_t)m->left_handed,
                     "frames_without_left_hand", (json_int_t)m->without_left, "frames_without_right_hand",
                     (json_int_t)m->without_right, "folds", folds_json(m), "signs", signs, "participants", people,
                     "skipped", skipped);
}

// ---- one clip -------------------------------------------------------------------------------------------------------

static int print_clip(const struct set *s, const struct inspect_request *r, struct error *e)
{
    long i = set_find(s, r->participant, r->sequence);
    if (i < 0)
        return error_set(e, ERR_NOT_FOUND, "%s holds no clip %lld/%lld", r->file, (long long)r->participant,
                         (long long)r->sequence);
    const struct set_clip *c = set_clip(s, (size_t)i);
    int64_t shape[3] = {c->frames, LANDMARKS, 3};
    if (r->npy && npy_write_f32(r->npy, c->data, 3, shape, e))
        return -1;
    const char *sign = set_sign_name(s, c->label);
    if (r->json)
        inspect_print_json(json_pack(
            "{s:s, s:I, s:I, s:I, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:b}", "kind", "clip", "index", (json_int_t)i,
            "participant", (json_int_t)c->participant, "sequence", (json_int_t)c->sequence, "path", c->path, "sign",
            sign, "label", c->label, "fold", c->fold, "frames", c->frames, "source_frames", c->source_frames,
            "left_missing", c->left_missing, "right_missing", c->right_missing, "left_handed", c->left_handed));
    else
        printf(
            "clip %ld: %s\nsign %s (%d), fold %d\n%d frames of %d recorded; left hand missing in %d, right in %d%s\n",
            i, c->path, sign, c->label, c->fold, c->frames, c->source_frames, c->left_missing, c->right_missing,
            c->left_handed ? "; left-handed" : "");
    return 0;
}

static int print(const struct inspect_request *r, struct error *e)
{
    struct set *s = set_open(r->file, e);
    if (!s)
        return -1;
    int rc = set_verify(s, 0, e);
    if (!rc && r->clip) {
        rc = print_clip(s, r, e);
    } else if (!rc) {
        struct summary m;
        summarise(&m, s);
        if (r->json) {
            inspect_print_json(summary_json(&m, r->file));
        } else {
            print_figures(&m, r->file);
            print_folds(&m);
            print_signs(&m);
        }
        free_summary(&m);
    } else {
        error_prefix(e, "%s", r->file);
    }
    set_close(s);
    return rc;
}

const struct inspect_kind inspect_set = {"prepared set", recognises, print};
