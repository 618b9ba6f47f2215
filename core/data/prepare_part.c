// Preparing a part, and putting parts together: see prepare_plan.h. Threads take clips one by one in order; whoever
// finishes the clip that is next to be written writes it and those behind it that are done already. So the file has
// train.csv's order, nobody waits, and few clips are held in memory.
#include <pthread.h>
#include <stdlib.h>

#include "core/base/memory.h"
#include "core/base/parallel.h"
#include "core/data/clip.h"
#include "core/data/parquet.h"
#include "core/data/prepare_plan.h"

struct done { // a clip that waits to be written
    struct set_clip clip;
    float *frames;
    char *reason; // why there is no clip
};

struct part {
    const struct prepare_plan *plan;
    size_t first, count;             // rows of train.csv
    struct parquet_reader **readers; // one for each thread
    struct set_writer *writer;
    pthread_mutex_t lock;  // guards all that follows, and the writer
    struct done **waiting; // [count]
    size_t next;           // to be written
    size_t finished, broken;
    char *first_broken; // "PATH: REASON"
    struct error error; // what ended the work
};

static void free_done(struct done *d)
{
    if (!d)
        return;
    free(d->frames);
    free(d->reason);
    free(d);
}

// NULL if it cannot be read for another reason than what is in it: left out, it would stay so after that has gone,
// since the set would be taken for a whole one.
static struct done *prepare_one(struct parquet_reader *reader, const struct prepare_plan *plan, size_t row,
                                struct error *e)
{
    const struct recording *source = &plan->recordings->clips[row];
    struct done *d = xcalloc(1, sizeof *d);
    char *path = xprintf("%s/%s", plan->recordings->directory, source->path);
    const double *raw;
    int frames;
    if (parquet_read_clip(reader, path, &raw, &frames, e)) {
        d->reason = xstrdup(e->text);
    } else {
        int room = frames < plan->o.max_len ? frames : plan->o.max_len;
        d->frames = xcalloc((size_t)room * LANDMARKS * 3, sizeof *d->frames);
        d->clip = (struct set_clip){.data = d->frames,
                                    .frames = clip_prepare(raw, frames, plan->o.max_len, d->frames),
                                    .source_frames = frames,
                                    .label = source->label,
                                    .fold = plan->folds[row],
                                    .participant = source->participant,
                                    .sequence = source->sequence,
                                    .path = source->path};
        clip_count_missing(d->frames, d->clip.frames, &d->clip.left_missing, &d->clip.right_missing);
        d->clip.hash = hash_memory(d->frames, (size_t)d->clip.frames * LANDMARKS * 3 * sizeof *d->frames);
    }
    if (d->reason && e->code != ERR_DAMAGED) {
        error_prefix(e, "%s", path);
        free_done(d);
        d = NULL;
    }
    free(path);
    return d;
}

static int write_done(struct part *p, struct done *d)
{
    if (!d->reason)
        return set_writer_add(p->writer, &d->clip, &p->error);
    const char *path = p->plan->recordings->clips[p->first + p->next].path;
    const struct prepare_watch *watch = &p->plan->o.watch;
    set_writer_skip(p->writer, path, d->reason);
    if (!p->broken++)
        p->first_broken = xprintf("%s: %s", path, d->reason);
    if (watch->broken)
        watch->broken(watch->context, path, d->reason);
    return 0;
}

// Returns 0, or an enum error_code, which ends the work.
static int prepare_row(void *context, size_t i, int thread)
{
    struct part *p = context;
    const struct prepare_watch *watch = &p->plan->o.watch;
    if (watch->stopped && watch->stopped(watch->context))
        return ERR_INTERRUPTED;
    struct error e;
    struct done *d = prepare_one(p->readers[thread], p->plan, p->first + i, &e);
    int rc = d ? 0 : -1;
    pthread_mutex_lock(&p->lock);
    if (!d)
        p->error = e;
    p->waiting[i] = d;
    for (; !rc && p->next < p->count && p->waiting[p->next]; p->next++) {
        rc = write_done(p, p->waiting[p->next]);
        free_done(p->waiting[p->next]);
        p->waiting[p->next] = NULL;
    }
    p->finished++;
    if (watch->progress)
        watch->progress(watch->context, p->finished, p->count);
    pthread_mutex_unlock(&p->lock);
    return rc ? (int)p->error.code : 0;
}

static int run_part(struct part *p, struct error *e)
{
    int threads = p->plan->o.threads > 0 ? p->plan->o.threads : parallel_cores();
    if ((size_t)threads > p->count)
        threads = p->count ? (int)p->count : 1;
    p->readers = xcalloc((size_t)threads, sizeof *p->readers);
    for (int i = 0; i < threads; i++)
        p->readers[i] = parquet_reader_create();
    p->waiting = xcalloc(p->count + 1, sizeof *p->waiting);
    int rc = parallel_for(threads, p->count, prepare_row, p);
    for (size_t i = 0; i < p->count; i++)
        free_done(p->waiting[i]);
    free(p->waiting);
    for (int i = 0; i < threads; i++)
        parquet_reader_destroy(p->readers[i]);
    free(p->readers);
    if (rc == ERR_INTERRUPTED)
        return error_set(e, ERR_INTERRUPTED, "the preparation was interrupted");
    if (rc)
        return error_set(e, p->error.code, "%s", p->error.text);
    if (p->broken && p->plan->o.strict)
        return error_set(e, ERR_INVALID, "%zu of %zu clips are broken, the first: %s", p->broken, p->count,
                         p->first_broken);
    return 0;
}

int prepare_part(const struct prepare_plan *plan, int part, int parts, const char *out, struct error *e)
{
    struct part p = {.plan = plan, .lock = PTHREAD_MUTEX_INITIALIZER};
    prepare_plan_part(plan, part, parts, &p.first, &p.count);
    struct set_description d = prepare_plan_describe(plan, p.first);
    p.writer = set_writer_open(out, &d, e);
    if (!p.writer)
        return -1;
    int rc = run_part(&p, e);
    if (!rc && parts == 1 && p.broken == p.count)
        rc = error_set(e, ERR_INVALID, "none of the %zu clips can be prepared, the first: %s", p.count, p.first_broken);
    free(p.first_broken);
    if (!rc)
        return set_writer_commit(p.writer, e);
    set_writer_abandon(p.writer);
    return rc;
}

// Appends one part after checking that it is what comes next.
static int append_part(const struct prepare_plan *plan, struct set_writer *w, const char *path, uint64_t row,
                       uint64_t *next_row, uint64_t *clips, struct error *e)
{
    struct set *s = set_open_part(path, e);
    if (!s)
        return -1;
    int rc;
    if (!hash_equal(set_source_key(s), &plan->key))
        rc = error_set(e, ERR_FAILED, "%s was prepared from other files: the members do not see the same data", path);
    else if (set_first_row(s) != row)
        rc = error_set(e, ERR_FAILED, "%s starts at row %llu, not %llu", path, (unsigned long long)set_first_row(s),
                       (unsigned long long)row);
    else
        rc = set_writer_append(w, s, e);
    *next_row = row + set_row_count(s);
    *clips += set_count(s);
    set_close(s);
    return rc;
}

int prepare_merge(const struct prepare_plan *plan, int parts, char *const *paths, const char *out, struct error *e)
{
    struct set_description d = prepare_plan_describe(plan, 0);
    struct set_writer *w = set_writer_open(out, &d, e);
    if (!w)
        return -1;
    uint64_t row = 0, clips = 0;
    int rc = 0;
    for (int i = 0; !rc && i < parts; i++)
        rc = append_part(plan, w, paths[i], row, &row, &clips, e);
    if (!rc && row != plan->recordings->count)
        rc = error_set(e, ERR_FAILED, "the parts of %s cover %llu of %zu rows", out, (unsigned long long)row,
                       plan->recordings->count);
    if (!rc && !clips)
        rc = error_set(e, ERR_INVALID, "none of the %zu clips can be prepared", plan->recordings->count);
    if (!rc)
        return set_writer_commit(w, e);
    set_writer_abandon(w);
    return rc;
}
