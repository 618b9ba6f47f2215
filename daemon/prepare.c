// islrd prepare: competition layout -> prepared set. Under mpirun the ranks share the work.
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/options.h"
#include "core/base/progress.h"
#include "core/comm/comm.h"
#include "core/data/prepare.h"
#include "core/data/set.h"
#include "daemon/command.h"
#include "daemon/name_json.h"

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

struct run {
    struct comm *comm;
    struct log log;
    struct progress progress;
    bool started;
};

static void show_progress(void *context, size_t done, size_t total)
{
    struct run *run = context;
    if (comm_rank(run->comm))
        return;
    if (!run->started)
        progress_start(&run->progress, stderr, comm_size(run->comm) > 1 ? "prepare (rank 0)" : "prepare", "clips",
                       total);
    run->started = true;
    progress_update(&run->progress, done);
}

static void show_broken(void *context, const char *path, const char *reason)
{
    struct run *run = context;
    progress_clear(&run->progress);
    log_warn(&run->log, "broken clip %s: %s", path, reason);
}

static bool is_stopped(void *context)
{
    (void)context;
    return stop_signal != 0;
}

static int team_agree(void *context, int failed, struct error *e)
{
    return comm_agree(context, failed, e);
}

static int team_max(void *context, int64_t *value, struct error *e)
{
    return comm_max_i64(context, value, e);
}

static int prepare(struct run *run, const char *data, const char *out, struct prepare_options *o, struct error *e)
{
    o->watch = (struct prepare_watch){run, show_progress, show_broken, is_stopped};
    struct prepare_team team = {run->comm, comm_rank(run->comm), comm_size(run->comm), team_agree, team_max};
    // The others may have to wait for a rank whose disk is slower.
    comm_set_timeout(run->comm, COMM_LONG_SECONDS);
    int rc = prepare_set(data, out, o, team.size > 1 ? &team : NULL, e);
    if (rc)
        progress_clear(&run->progress);
    else if (run->started)
        progress_finish(&run->progress);
    return rc;
}

// The result, to stdout.
static int report(const char *out, double seconds, bool json, struct error *e)
{
    struct set *s = set_open(out, e);
    if (!s)
        return -1;
    char hex[65];
    hash_to_hex(set_hash(s), hex);
    if (json) {
        json_t *root = json_pack("{s:o, s:I, s:I, s:I, s:i, s:i, s:i, s:s, s:f}", "file", name_json(out), "clips",
                                 (json_int_t)set_count(s), "skipped", (json_int_t)set_skipped_count(s), "frames",
                                 (json_int_t)set_frame_count(s), "signs", set_sign_count(s), "folds", set_fold_count(s),
                                 "max_len", set_max_len(s), "hash", hex, "seconds", seconds);
        json_dumpf(root, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(root);
    } else {
        printf("%s: %zu clips, %llu frames, %d signs, %d folds; %zu clips skipped\nhash %s\n", out, set_count(s),
               (unsigned long long)set_frame_count(s), set_sign_count(s), set_fold_count(s), set_skipped_count(s), hex);
    }
    set_close(s);
    return 0;
}

static int run_prepare(const char *data, const char *out, struct prepare_options *o, bool json)
{
    struct error e = {0};
    struct run run = {.comm = comm_open_world(&e), .log = {stderr, LOG_INFO, NULL}};
    if (!run.comm) {
        fprintf(stderr, "islrd prepare: %s\n", e.text);
        return e.code;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    double start = clock_seconds();
    int rc = prepare(&run, data, out, o, &e);
    if (!rc && !comm_rank(run.comm))
        rc = report(out, clock_seconds() - start, json, &e);
    if (rc && !comm_rank(run.comm)) // the ranks have agreed: one of them speaks
        fprintf(stderr, "islrd prepare: %s\n", e.text);
    comm_close(run.comm);
    return rc ? (int)e.code : 0;
}

int command_prepare(int argc, char **argv)
{
    const char *data = NULL, *out = NULL, *fold_file = "";
    int64_t max_len = 0, k = -1, fold_seed = 42, threads = 0;
    bool strict = false, json = false;
    const struct option_row options[] = {
        {0, "data", "DIR", "the recordings, in the competition's layout", OPTION_STRING, &data, .path = true},
        {'o', "out", "FILE.islr", "the prepared set to write", OPTION_STRING, &out, .path = true},
        {0, "max-len", "N", "frames at most in a clip: 25 or 80 in the published models", OPTION_INT, &max_len, 1,
         65536, ""},
        {0, "k", "K",
         "folds, grouped by participant and stratified on sign; 0: none (default 4, or as many as CSV names)",
         OPTION_INT, &k, 0, 1000, ""},
        {0, "fold-seed", "S", "seed of the folds", OPTION_INT, &fold_seed, 0, 9007199254740992.0},
        {0, "fold-file", "CSV", "folds from this file (participant_id, sequence_id, fold) instead", OPTION_STRING,
         &fold_file, .path = true},
        {0, "strict", NULL, "a broken clip is an error instead of being left out", OPTION_FLAG, &strict},
        {0, "threads", "N", "threads of this process; 0: one for each core", OPTION_INT, &threads, 0, 4096},
        {0, "json", NULL, "the result as JSON: file, clips, skipped, frames, signs, folds, max_len, hash, seconds",
         OPTION_FLAG, &json},
        {0}};
    const struct usage usage = {
        "islrd prepare",
        "recordings in the competition's layout become a prepared set",
        options,
        NULL,
        "islrd prepare --data /data/asl-signs --out asl-25.islr --max-len 25\n"
        "mpirun -np 8 islrd prepare --data /data/asl-signs --out asl-25.islr --max-len 25",
        "Broken clips are named on stderr with the reason and left out; a file that cannot be read at all "
        "ends the preparation. Ctrl-C leaves no file behind."};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    if (!data || !out || !max_len) {
        fprintf(stderr, "islrd prepare: %s is needed (see islrd prepare --help)\n",
                !data  ? "--data DIR"
                : !out ? "--out FILE.islr"
                       : "--max-len N");
        return ERR_INVALID;
    }
    struct prepare_options o = {.max_len = (int)max_len,
                                .k = k >= 0       ? (int)k
                                     : *fold_file ? 0
                                                  : 4,
                                .fold_seed = (uint64_t)fold_seed,
                                .fold_file = fold_file,
                                .strict = strict,
                                .threads = (int)threads};
    return run_prepare(data, out, &o, json);
}
