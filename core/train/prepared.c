// The prepared set of a job: see prepared.h.
#include "core/train/prepared.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/data/prepare.h"
#include "core/spec/spec.h"

struct watcher {
    const struct run_sink *sink;
    double told, began;
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
    if (now - w->told < 5 && done < total)
        return;
    w->told = now;
    sink_log(w->sink, LOG_INFO, "prepared %zu of %zu clips, %.0f a second", done, total,
             (double)done / (now - w->began));
}

static void watch_broken(void *context, const char *path, const char *reason)
{
    struct watcher *w = context;
    sink_log(w->sink, LOG_WARN, "left out: %s: %s", path, reason);
}

static bool watch_stopped(void *context)
{
    struct watcher *w = context;
    return w->sink->should_stop && w->sink->should_stop(w->sink->context);
}

// Calls prepare_set() or prepare_cached() for the job as one of its team.
static int prepare_together(const struct train_options *o, const char *out, char **path, struct error *e)
{
    const Islr__Data *data = o->job->data;
    struct watcher watcher = {.sink = o->sink, .began = clock_seconds()};
    int root = comm_rank(o->comm) == 0;
    struct prepare_options options = {.max_len = (int)o->job->model->max_len,
                                      .k = (int)data->k,
                                      .fold_seed = data->fold_seed,
                                      .fold_file = data->fold_file,
                                      .any_folds = spec_fold(o->job) == SPEC_FOLD_FULL,
                                      .strict = data->strict,
                                      .threads = o->threads,
                                      .watch = {.context = &watcher,
                                                .progress = root ? watch_progress : NULL,
                                                .broken = root ? watch_broken : NULL,
                                                .stopped = watch_stopped}};
    struct prepare_team team = {.context = o->comm,
                                .rank = comm_rank(o->comm),
                                .size = comm_size(o->comm),
                                .agree = team_agree,
                                .max = team_max};
    char *cache = o->cache ? NULL : prepare_default_cache();
    int rc = out ? prepare_set(data->path, out, &options, &team, e)
                 : prepare_cached(data->path, o->cache ? o->cache : cache, &options, &team, path, e);
    free(cache);
    return comm_agree(o->comm, rc, e);
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
