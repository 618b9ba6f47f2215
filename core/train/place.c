// A run's directory before the run begins: see place.h.
#include "core/train/place.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "core/train/state.h"

// summary.json first: without it a run has not ended.
static const char *const left_by_run[] = {"summary.json", "resume",          "metrics.jsonl",   "checkpoints",
                                          "final",        "fold-[0-9]*",     "predictions.npy", "predictions.csv",
                                          "job.yaml",     "not-finite-*.csv"};
// By these it is known.
static const char *const traces[] = {"job.yaml", "metrics.jsonl", "summary.json", "resume", "checkpoints", "fold-0"};

static int holds(const char *dir, const char *name)
{
    char *path = file_join(dir, name);
    int there = file_exists(path);
    free(path);
    return there;
}

static const char *find_trace(const char *dir)
{
    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++)
        if (holds(dir, traces[i]))
            return traces[i];
    return NULL;
}

// The job of the run in `dir`, to spec_free(). *job NULL and 0: it has none.
static int read_job(const char *dir, Islr__JobSpec **job, struct error *e)
{
    char *path = file_join(dir, "job.yaml"), *text = NULL;
    size_t size;
    struct faults faults = {0};
    int rc = 0;
    *job = NULL;
    if (file_exists(path)) {
        rc = file_read(path, (size_t)1 << 24, &text, &size, e);
        if (!rc && spec_read_resolved(path, text, size, 0, job, &faults))
            rc = error_set(e, ERR_INVALID, "%s is not a job that this version knows: give another --out, or --replace",
                           path);
    }
    faults_free(&faults);
    free(text);
    free(path);
    return rc;
}

static int same_settings(const Islr__JobSpec *a, const Islr__JobSpec *b)
{
    struct hash x = state_job_hash(a), y = state_job_hash(b);
    return hash_equal(&x, &y);
}

// ---- a run that has ended -------------------------------------------------------------------------------------------

static int files_are_whole(const char *dir, const json_t *hashes)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)hashes, name, value)
    {
        struct hash found;
        char hex[65] = "", *path = xprintf("%s/final/%s.safetensors", dir, name);
        if (!hash_file(path, &found, NULL))
            hash_to_hex(&found, hex);
        free(path);
        if (!json_is_string(value) || strcmp(hex, json_string_value(value)))
            return 0;
    }
    return json_object_size(hashes) > 0;
}

static int says_hash(const json_t *object, const char *key, const struct hash *wanted)
{
    struct hash found;
    const char *hex = json_string_value(json_object_get(object, key));
    return hex && !hash_from_hex(hex, &found) && hash_equal(&found, wanted);
}

static int fold_ended(const char *dir, const Islr__JobSpec *job, const struct hash *set)
{
    struct hash hash = state_job_hash(job);
    char *path = file_join(dir, "summary.json");
    json_t *summary = json_load_file(path, 0, NULL), *data = json_object_get(summary, "data");
    int predicts = json_integer_value(json_object_get(data, "held_out_clips")) > 0;
    int ended = says_hash(summary, "job_sha256", &hash) && (!set || says_hash(data, "set_sha256", set)) &&
                files_are_whole(dir, json_object_get(summary, "files_sha256")) &&
                (!predicts || (holds(dir, "predictions.npy") && holds(dir, "predictions.csv")));
    json_decref(summary);
    free(path);
    return ended;
}

static int folds_ended(const char *dir, const Islr__JobSpec *job)
{
    char *path = file_join(dir, "summary.json");
    json_t *summary = json_load_file(path, 0, NULL);
    size_t folds = json_array_size(json_object_get(summary, "folds"));
    int ended = folds > 0 && holds(dir, "predictions.npy") && holds(dir, "predictions.csv");
    for (size_t i = 0; i < folds && ended; i++) {
        char *fold = xprintf("%s/fold-%zu", dir, i);
        Islr__JobSpec *one = spec_copy(job);
        free(one->data->fold);
        one->data->fold = xprintf("%zu", i);
        ended = place_ended(fold, one, NULL);
        spec_free(one);
        free(fold);
    }
    json_decref(summary);
    free(path);
    return ended;
}

int place_ended(const char *dir, const Islr__JobSpec *job, const struct hash *set)
{
    Islr__JobSpec *before;
    if (read_job(dir, &before, NULL) || !before)
        return 0;
    int ended = same_settings(before, job) &&
                (spec_fold(job) == SPEC_FOLD_ALL ? folds_ended(dir, before) : fold_ended(dir, before, set));
    spec_free(before);
    return ended;
}

// ---- for commands ---------------------------------------------------------------------------------------------------

int place_check(const char *dir, const Islr__JobSpec *job, int resume, int *ended, struct error *e)
{
    const char *trace = find_trace(dir);
    Islr__JobSpec *before = NULL;
    *ended = 0;
    if (!trace)
        return 0;
    if (!resume)
        return error_set(e, ERR_INVALID,
                         "%s holds a run already (%s is there): give another --out, --resume to go on with it, or "
                         "--replace to begin anew in its place",
                         dir, trace);
    int rc = read_job(dir, &before, e);
    if (!rc && before && !same_settings(before, job))
        rc = error_set(e, ERR_INVALID,
                       "%s holds a run of another job (job.yaml is there): its settings differ from this one's; give "
                       "these, another --out, or --replace in place of --resume",
                       dir);
    spec_free(before);
    if (rc || !place_ended(dir, job, NULL))
        return rc;
    char *points = file_join(dir, "resume");
    *ended = 1;
    rc = file_remove_tree(points, e);
    free(points);
    return rc;
}

// Also what a kill has left of such a file under the name that it had until it was whole (core/base/file.h).
static int is_left(const char *name, const char *pattern)
{
    char *unfinished = xprintf("%s.tmp-????????", pattern);
    int left = !fnmatch(pattern, name, 0) || !fnmatch(unfinished, name, 0);
    free(unfinished);
    return left;
}

static int remove_left(const char *dir, const char *pattern, struct error *e)
{
    int rc = 0;
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : error_set_errno(e, file_error_code(errno), "cannot read the directory %s", dir);
    for (struct dirent *entry; !rc && (entry = readdir(d));) {
        if (!is_left(entry->d_name, pattern))
            continue;
        char *path = file_join(dir, entry->d_name);
        rc = file_remove_tree(path, e);
        free(path);
    }
    closedir(d);
    return rc;
}

int place_clear(const char *dir, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof left_by_run / sizeof *left_by_run && !rc; i++) {
        rc = remove_left(dir, left_by_run[i], e);
        if (i == 0 && !rc && file_exists(dir))
            rc = file_sync_dir(dir, e);
    }
    return rc;
}
