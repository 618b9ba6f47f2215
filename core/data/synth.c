// Synthetic recordings as files: see synth.h.
#include "core/data/synth.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/parallel.h"
#include "core/base/random.h"
#include "core/data/parquet.h"
#include "core/data/signs.h"
#include "core/data/synth_motion.h"

enum { STREAM_PAIRS = 100 }; // detail of RNG_SYNTH; synth_motion.c has those below

// Names that no language has: two syllables, each sign its own.
static void sign_name(int sign, char name[8])
{
    static const char consonants[] = "bdfgklmnprstvzjh", vowels[] = "aeiou";
    uint32_t n = (uint32_t)((uint64_t)sign * 2477 % SYNTH_MAX_SIGNS); // a permutation: 2477 is prime
    uint32_t first = n / 80, second = n % 80;
    snprintf(name, 8, "%c%c%c%c", consonants[first / 5], vowels[first % 5], consonants[second / 5], vowels[second % 5]);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

struct plan {
    const struct synth_options *o;
    const char *directory;
    uint32_t *pairs; // [participants * signs]: participant * signs + sign, in the order in which clips go round them
    pthread_mutex_t lock; // guards those below
    size_t done;
    struct error error;
};

static int clip_participant(const struct plan *p, int64_t clip)
{
    return (int)(p->pairs[clip % ((int64_t)p->o->participants * p->o->signs)] / (uint32_t)p->o->signs);
}

static int clip_sign(const struct plan *p, int64_t clip)
{
    return (int)(p->pairs[clip % ((int64_t)p->o->participants * p->o->signs)] % (uint32_t)p->o->signs);
}

// Ids as in the competition: not in a row.
static int participant_id(int participant)
{
    return 2001 + participant * 37;
}

static int64_t sequence_id(int64_t clip)
{
    return 1000000000 + clip * 11;
}

static char *clip_path(const struct plan *p, int64_t clip)
{
    return xprintf("train_landmark_files/%d/%lld.parquet", participant_id(clip_participant(p, clip)),
                   (long long)sequence_id(clip));
}

static int write_clip(void *context, size_t clip, int thread)
{
    (void)thread;
    struct plan *p = context;
    const struct synth_options *o = p->o;
    if (o->stopped && o->stopped(o->context))
        return ERR_INTERRUPTED;
    double *x;
    int frames = synth_clip_make(o->seed, (int64_t)clip, clip_participant(p, (int64_t)clip),
                                 clip_sign(p, (int64_t)clip), o->signs, &x);
    char *relative = clip_path(p, (int64_t)clip), *path = file_join(p->directory, relative);
    struct error e = {0};
    int rc = parquet_write_clip(path, x, frames, &e);
    free(path);
    free(relative);
    free(x);
    pthread_mutex_lock(&p->lock);
    if (rc)
        p->error = e;
    p->done++;
    if (o->progress)
        o->progress(o->context, p->done, (size_t)o->clips);
    pthread_mutex_unlock(&p->lock);
    return rc ? ERR_FAILED : 0;
}

static int make_directories(const struct plan *p, struct error *e)
{
    int rc = 0;
    for (int i = 0; !rc && i < p->o->participants && i < p->o->clips; i++) {
        int participant = p->o->clips < p->o->participants ? clip_participant(p, i) : i;
        char *path = xprintf("%s/train_landmark_files/%d", p->directory, participant_id(participant));
        rc = file_make_dirs(path, e);
        free(path);
    }
    return rc;
}

static char (*sorted_names(int count))[8]
{
    char(*names)[8] = xcalloc((size_t)count, sizeof *names);
    for (int i = 0; i < count; i++)
        sign_name(i, names[i]);
    qsort(names, (size_t)count, sizeof *names, compare_names);
    return names;
}

static int write_signs(const struct plan *p, char (*names)[8], struct error *e)
{
    json_t *map = json_object();
    for (int i = 0; i < p->o->signs; i++)
        json_object_set_new(map, names[i], json_integer(i));
    char *text = json_dumps(map, JSON_INDENT(1)), *path = file_join(p->directory, SIGNS_FILE);
    int rc = file_write_atomic(path, text, strlen(text), e);
    free(path);
    free(text);
    json_decref(map);
    return rc;
}

static int write_index(const struct plan *p, const char *path, char (*names)[8], struct error *e)
{
    struct strbuf csv = {0};
    strbuf_printf(&csv, "path,participant_id,sequence_id,sign\n");
    for (int64_t i = 0; i < p->o->clips; i++) {
        char *clip = clip_path(p, i);
        strbuf_printf(&csv, "%s,%d,%lld,%s\n", clip, participant_id(clip_participant(p, i)), (long long)sequence_id(i),
                      names[clip_sign(p, i)]);
        free(clip);
    }
    int rc = file_write_atomic(path, csv.text, csv.length, e);
    free(csv.text);
    return rc;
}

static int check_options(const struct synth_options *o, struct error *e)
{
    if (o->signs < 1 || o->signs > SYNTH_MAX_SIGNS)
        return error_set(e, ERR_INVALID, "%d signs: 1..%d are possible", o->signs, (int)SYNTH_MAX_SIGNS);
    if (o->participants < 1 || o->participants > SYNTH_MAX_PARTICIPANTS)
        return error_set(e, ERR_INVALID, "%d participants: 1..%d are possible", o->participants,
                         (int)SYNTH_MAX_PARTICIPANTS);
    if (o->clips < 1 || o->clips > 100000000)
        return error_set(e, ERR_INVALID, "%lld clips: 1..100000000 are possible", (long long)o->clips);
    return 0;
}

static int write_files(struct plan *p, const char *index, struct error *e)
{
    char(*names)[8] = sorted_names(p->o->signs);
    int rc = make_directories(p, e);
    if (!rc) {
        int code = parallel_for(p->o->threads, (size_t)p->o->clips, write_clip, p);
        if (code == ERR_INTERRUPTED)
            rc = error_set(e, ERR_INTERRUPTED, "writing %s was interrupted", p->directory);
        else if (code)
            rc = error_set(e, p->error.code, "%s", p->error.text);
    }
    if (!rc)
        rc = write_signs(p, names, e) || write_index(p, index, names, e) ? -1 : 0;
    free(names);
    return rc;
}

int synth_write(const char *directory, const struct synth_options *o, struct error *e)
{
    if (check_options(o, e))
        return -1;
    char *index = file_join(directory, "train.csv");
    if (file_exists(index) && !o->replace) {
        error_set(e, ERR_INVALID, "%s exists already: give another directory, or ask for it to be replaced", index);
        free(index);
        return -1;
    }
    remove(index); // from here on the directory is no complete layout until it is written again
    struct plan p = {.o = o, .directory = directory, .lock = PTHREAD_MUTEX_INITIALIZER};
    size_t pairs = (size_t)o->participants * (size_t)o->signs;
    p.pairs = xcalloc(pairs, sizeof *p.pairs);
    for (size_t i = 0; i < pairs; i++)
        p.pairs[i] = (uint32_t)i;
    struct rng r = rng_make(o->seed, RNG_SYNTH, STREAM_PAIRS, 0, 0);
    rng_shuffle(&r, p.pairs, pairs);
    int rc = write_files(&p, index, e);
    free(p.pairs);
    free(index);
    return rc;
}
