// The prepared set of a job: see prepared.h.
#include "core/train/prepared.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/data/set.h"
#include "core/spec/spec.h"

enum { BROKEN_NAMED = 50 }; // clips that a job's log names before "and 7 more"

struct watcher {
    const struct run_sink *sink;
    struct pulse *pulse;
    int root;
    double told, began;
    struct strbuf broken; // of this rank's part: lines, bounded
    size_t broken_count;
};

static int team_agree(void *context, int failed, struct error *e)
{
    return comm_agree(context, failed, e);
}

static int team_max(void *context, int64_t *value, struct error *e)
{
    return comm_max_i64(context, value, e);
}

static void watch_progress(void *context, size_t done, size_t total)
{
    struct watcher *w = context;
    double now = clock_seconds();
    pulse_beat(w->pulse);
    if (!w->root || (now - w->told < 5 && done < total))
        return;
    w->told = now;
    sink_log(w->sink, LOG_INFO, "prepared %zu of %zu clips, %.0f a second", done, total,
             (double)done / (now - w->began));
}

static void watch_broken(void *context, const char *path, const char *reason)
{
    struct watcher *w = context;
    if (w->broken_count++ < BROKEN_NAMED)
        strbuf_printf(&w->broken, "%s: %s\n", path, reason);
}

static void beat(void *context, size_t done, size_t total)
{
    (void)done, (void)total;
    pulse_beat(context);
}

static bool beat_on(void *context)
{
    pulse_beat(context);
    return false;
}

static bool watch_stopped(void *context)
{
    struct watcher *w = context;
    pulse_beat(w->pulse);
    return w->sink->should_stop && w->sink->should_stop(w->sink->context);
}

struct prepare_watch prepared_pulse_watch(struct pulse *pulse)
{
    return (struct prepare_watch){.context = pulse, .progress = beat, .stopped = beat_on};
}

// ---- clips that are left out ----------------------------------------------------------------------------------------

// Those of all ranks, though the set was made before, on rank 0.
static void tell_skipped(const struct train_options *o, const char *path)
{
    struct set *set = set_open(path, NULL); // whoever needs it will say what is wrong with it
    size_t count = set ? set_skipped_count(set) : 0;
    for (size_t i = 0; i < count && i < BROKEN_NAMED; i++)
        sink_log(o->sink, LOG_WARN, "left out: %s: %s", set_skipped(set, i)->path, set_skipped(set, i)->reason);
    if (count > BROKEN_NAMED)
        sink_log(o->sink, LOG_WARN, "left out: and %zu more (islrd inspect names them all)", count - BROKEN_NAMED);
    set_close(set);
}

// Those that this preparation found, when it has failed because of them. Collective.
static void tell_broken(const struct train_options *o, const struct watcher *w)
{
    void *all;
    size_t total, named = 0;
    double count = (double)w->broken_count;
    if (comm_sum_f64(o->comm, &count, 1, NULL) ||
        comm_gather_variable(o->comm, w->broken.text, w->broken.length, 0, &all, &total, NULL, NULL))
        return;
    for (char *line = all, *end; line && named < BROKEN_NAMED && (end = memchr(line, '\n', total)); line = end + 1) {
        *end = 0;
        total -= (size_t)(end + 1 - line);
        sink_log(o->sink, LOG_WARN, "broken: %s", line);
        named++;
    }
    if (w->root && (size_t)count > named)
        sink_log(o->sink, LOG_WARN, "broken: and %zu more", (size_t)count - named);
    free(all);
}

// Calls prepare_set() or prepare_cached() for the job as one of its team.
static int prepare_together(const struct train_options *o, const char *out, char **path, struct error *e)
{
    const Islr__Data *data = o->job->data;
    struct watcher watcher = {
        .sink = o->sink, .pulse = comm_pulse(o->comm), .root = comm_rank(o->comm) == 0, .began = clock_seconds()};
    double before = comm_timeout(o->comm);
    struct prepare_options options = {
        .max_len = (int)o->job->model->max_len,
        .k = (int)data->k,
        .fold_seed = data->fold_seed,
        .fold_file = data->fold_file,
        .any_folds = spec_fold(o->job) == SPEC_FOLD_FULL,
        .strict = data->strict,
        .threads = o->threads,
        .watch = {.context = &watcher, .progress = watch_progress, .broken = watch_broken, .stopped = watch_stopped}};
    struct prepare_team team = {.context = o->comm,
                                .rank = comm_rank(o->comm),
                                .size = comm_size(o->comm),
                                .agree = team_agree,
                                .max = team_max};
    // The others may have to wait for a rank whose disk is slower.
    pulse_doing(watcher.pulse, "prepare");
    comm_set_timeout(o->comm, COMM_LONG_SECONDS);
    char *cache = prepare_default_cache();
    int rc = out ? prepare_set(data->path, out, &options, &team, e)
                 : prepare_cached(data->path, cache, &options, &team, path, e);
    free(cache);
    rc = comm_agree(o->comm, rc, e);
    comm_set_timeout(o->comm, before);
    if (rc && e->code == ERR_INVALID) // data.strict: there is no set that names them
        tell_broken(o, &watcher);
    free(watcher.broken.text);
    if (!rc && watcher.root)
        tell_skipped(o, out ? out : *path);
    return rc;
}

int prepared_set(const struct train_options *o, char **path, struct error *e)
{
    return prepare_together(o, NULL, path, e);
}

int prepared_set_at(const struct train_options *o, const char *out, struct error *e)
{
    if (comm_agree(o->comm, comm_rank(o->comm) == 0 && file_make_dirs(o->dir, e), e))
        return -1;
    return prepare_together(o, out, NULL, e);
}
