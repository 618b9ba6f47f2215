// Preparation, alone or in a team: see prepare.h. Member 0 leads: it holds the lock on the output, tidies up, puts the
// parts together and removes them. Between the steps the members agree on how they went.
#include "core/data/prepare.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/lock.h"
#include "core/base/memory.h"
#include "core/data/folds.h"
#include "core/data/prepare_plan.h"

struct job {
    const struct prepare_plan *plan;
    const struct prepare_team *team; // NULL: alone
    const char *out;
    bool cached;           // an `out` made from the same files will do, and one being made is waited for
    struct file_lock lock; // the leader's
};

static bool is_leader(const struct prepare_team *team)
{
    return !team || team->rank == 0;
}

// How a step went here (rc of it, *e filled if it failed) -> how it went for the team.
static int agree(const struct prepare_team *team, int rc, struct error *e)
{
    return team ? team->agree(team->context, rc, e) : rc;
}

static char *part_path(const char *out, int part)
{
    return xprintf("%s.part-%05d", out, part);
}

// Removes the temporary files of `out`: parts, and what is not committed. The caller holds the lock.
static void remove_temporaries(const char *out)
{
    const char *slash = strrchr(out, '/'), *name = slash ? slash + 1 : out;
    char *directory = slash ? slash == out ? xstrdup("/") : xprintf("%.*s", (int)(slash - out), out) : xstrdup(".");
    size_t length = strlen(name);
    DIR *d = opendir(directory);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        const char *n = entry->d_name;
        if (strncmp(n, name, length) || (strncmp(n + length, ".part-", 6) && strncmp(n + length, ".tmp-", 5)))
            continue;
        char *path = file_join(directory, n);
        unlink(path);
        free(path);
    }
    if (d)
        closedir(d);
    free(directory);
}

static int check_strict(const struct set *s, const char *path, bool strict, struct error *e)
{
    if (!strict || !set_skipped_count(s))
        return 0;
    return error_set(e, ERR_INVALID, "%s lacks %zu broken clips, the first: %s: %s", path, set_skipped_count(s),
                     set_skipped(s, 0)->path, set_skipped(s, 0)->reason);
}

// Whether the frames of this member's share of the set are whole. In pieces: a slow disk takes its time over a large
// one.
static int verify(const struct set *s, const char *path, const struct prepare_options *o,
                  const struct prepare_team *team, struct error *e)
{
    const size_t piece = 2048;
    size_t count = set_count(s), ranks = team ? (size_t)team->size : 1, rank = team ? (size_t)team->rank : 0;
    for (size_t at = count * rank / ranks, end = count * (rank + 1) / ranks; at < end; at += piece) {
        if (o->watch.stopped && o->watch.stopped(o->watch.context))
            return error_set(e, ERR_INTERRUPTED, "the preparation was interrupted");
        if (set_verify_clips(s, at, end - at < piece ? end - at : piece, o->threads, e))
            return error_prefix(e, "%s", path);
    }
    return 0;
}

// 1 if `out` is what would come out, 0 if not, -1 if it is but has broken clips, which `strict` forbids; also when it
// was interrupted.
static int is_prepared(const struct job *j, struct error *e)
{
    struct set *s = set_open(j->out, NULL); // a damaged one is prepared again
    if (!s)
        return 0;
    int rc = hash_equal(set_source_key(s), &j->plan->key);
    struct error why;
    if (rc && verify(s, j->out, &j->plan->o, NULL, &why))
        rc = why.code == ERR_DAMAGED ? 0 : error_set(e, why.code, "%s", why.text);
    if (rc > 0 && check_strict(s, j->out, j->plan->o.strict, e))
        rc = -1;
    set_close(s);
    return rc;
}

enum { BUSY = 1, HELD, READY }; // another process has the lock; we have it; there is nothing to do

// One try of the leader to begin: one of the above, or -1.
static int try_begin(struct job *j, struct error *e)
{
    int ready = j->cached ? is_prepared(j, e) : 0;
    if (ready)
        return ready < 0 ? -1 : READY;
    char *lock_path = xprintf("%s.lock", j->out);
    int rc = file_lock_try(&j->lock, lock_path, e);
    free(lock_path);
    if (rc > 0 && !j->cached)
        return error_set(e, ERR_FAILED, "another preparation is writing %s now", j->out);
    if (rc)
        return rc < 0 ? -1 : BUSY;
    remove_temporaries(j->out);
    ready = j->cached ? is_prepared(j, e) : 0; // whoever had the lock before may have finished it
    return ready < 0 ? -1 : ready ? READY : HELD;
}

// The leader's beginning; the others learn how it went. Returns HELD, READY or -1.
static int begin(struct job *j, struct error *e)
{
    const struct prepare_watch *watch = &j->plan->o.watch;
    for (;;) {
        int64_t state = is_leader(j->team) ? try_begin(j, e) : 0;
        bool stopped = watch->stopped && watch->stopped(watch->context);
        int rc = state < 0 ? -1 : 0;
        if (!rc && stopped)
            rc = error_set(e, ERR_INTERRUPTED, "the preparation was interrupted");
        if (agree(j->team, rc, e) || (j->team && j->team->max(j->team->context, &state, e)))
            return -1;
        if (state != BUSY)
            return (int)state;
        clock_sleep(0.1);
    }
}

static int merge(const struct job *j, struct error *e)
{
    int parts = j->team->size;
    char **paths = xcalloc((size_t)parts, sizeof *paths);
    for (int i = 0; i < parts; i++)
        paths[i] = part_path(j->out, i);
    int rc = prepare_merge(j->plan, parts, paths, j->out, e);
    for (int i = 0; i < parts; i++)
        free(paths[i]);
    free(paths);
    return rc;
}

// Prepares and merges. All members get here together.
static int work(struct job *j, struct error *e)
{
    if (!j->team || j->team->size == 1)
        return prepare_part(j->plan, 0, 1, j->out, e);
    char *mine = part_path(j->out, j->team->rank);
    int rc = agree(j->team, prepare_part(j->plan, j->team->rank, j->team->size, mine, e), e);
    free(mine);
    if (rc)
        return rc;
    return agree(j->team, j->team->rank == 0 ? merge(j, e) : 0, e);
}

static int run_job(struct job *j, struct error *e)
{
    int state = begin(j, e);
    int rc = state == HELD ? work(j, e) : state < 0 ? -1 : 0;
    if (j->lock.path)
        remove_temporaries(j->out);
    file_lock_release(&j->lock);
    return rc;
}

int prepare_set(const char *directory, const char *out, const struct prepare_options *o,
                const struct prepare_team *team, struct error *e)
{
    struct error own;
    struct stat st;
    e = e ? e : &own;
    struct prepare_plan *plan = prepare_plan_open(directory, o, e);
    int rc = plan ? 0 : -1;
    if (!rc && !stat(out, &st) && !S_ISREG(st.st_mode)) // found out now rather than at the end
        rc = error_set(e, ERR_INVALID, "%s exists and is no file", out);
    rc = agree(team, rc, e);
    if (!rc) {
        struct job j = {.plan = plan, .team = team, .out = out, .lock = {.fd = -1}};
        rc = run_job(&j, e);
    }
    prepare_plan_close(plan);
    return rc;
}

static int prepare_into_cache(const char *directory, const char *cache, const struct prepare_options *o,
                              const struct prepare_team *team, char **path, struct error *e)
{
    struct prepare_plan *plan = prepare_plan_open(directory, o, e);
    int rc = plan ? file_make_dirs(cache, e) : -1;
    rc = agree(team, rc, e);
    if (!rc) {
        char hex[65];
        hash_to_hex(&plan->key, hex);
        char *out = xprintf("%s/%s.islr", cache, hex);
        struct job j = {.plan = plan, .team = team, .out = out, .cached = true, .lock = {.fd = -1}};
        rc = run_job(&j, e);
        if (rc)
            free(out);
        else
            *path = out;
    }
    prepare_plan_close(plan);
    return rc;
}

// The folds of a fold file against those of a set.
static int check_given_folds(const struct set *s, const char *path, const struct prepare_options *o, struct error *e)
{
    size_t count = set_count(s);
    struct recording *clips = xcalloc(count, sizeof *clips);
    int *folds = xcalloc(count, sizeof *folds), k = o->k;
    for (size_t i = 0; i < count; i++)
        clips[i] = (struct recording){.participant = set_clip(s, i)->participant, .sequence = set_clip(s, i)->sequence};
    struct hash hash;
    int rc = folds_read(clips, count, o->fold_file, &k, folds, &hash, e);
    for (size_t i = 0; !rc && i < count; i++)
        if (folds[i] != set_clip(s, i)->fold)
            rc = error_set(e, ERR_INVALID, "%s was prepared with other folds than those in %s: prepare it again", path,
                           o->fold_file);
    free(clips);
    free(folds);
    return rc;
}

static int check_set(const char *path, const struct prepare_options *o, const struct prepare_team *team,
                     struct error *e)
{
    struct set *s = set_open(path, e);
    if (!s)
        return -1;
    int rc = 0;
    if (set_max_len(s) != o->max_len)
        rc = error_set(e, ERR_INVALID, "%s was prepared for max_len %d, not %d", path, set_max_len(s), o->max_len);
    else if (!o->any_folds && o->fold_file && *o->fold_file)
        rc = check_given_folds(s, path, o, e);
    else if (!o->any_folds && o->k >= 2 && set_fold_count(s) != o->k)
        rc = error_set(e, ERR_INVALID, "%s was prepared with %d folds, not %d", path, set_fold_count(s), o->k);
    else if (!o->any_folds && o->k >= 2 && !set_folds_given(s) && set_fold_seed(s) != o->fold_seed)
        rc = error_set(e, ERR_INVALID, "%s was prepared with the fold seed %llu, not %llu", path,
                       (unsigned long long)set_fold_seed(s), (unsigned long long)o->fold_seed);
    else
        rc = check_strict(s, path, o->strict, e) || verify(s, path, o, team, e) ? -1 : 0;
    set_close(s);
    return rc;
}

int prepare_cached(const char *data, const char *cache, const struct prepare_options *o,
                   const struct prepare_team *team, char **path, struct error *e)
{
    struct error own;
    struct stat st;
    e = e ? e : &own;
    int rc = 0;
    if (stat(data, &st))
        rc = error_set_errno(e, file_error_code(errno), "cannot open %s", data);
    if (agree(team, rc, e))
        return -1;
    bool directory = S_ISDIR(st.st_mode);
    int64_t some_do = directory, some_do_not = !directory; // all must go the same way, or they would wait in vain
    if (team && (team->max(team->context, &some_do, e) || team->max(team->context, &some_do_not, e)))
        return -1;
    if (some_do && some_do_not)
        return error_set(e, ERR_FAILED, "%s is a directory for some members of the team and a file for others", data);
    if (directory)
        return prepare_into_cache(data, cache, o, team, path, e);
    if (agree(team, check_set(data, o, team, e), e))
        return -1;
    *path = xstrdup(data);
    return 0;
}

char *prepare_default_cache(void)
{
    const char *own = getenv("ISLR_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && *own)
        return xstrdup(own);
    if (cache && *cache)
        return xprintf("%s/islr", cache);
    return xprintf("%s/.cache/islr", home && *home ? home : "/tmp");
}
