// islrd synth: synthetic recordings in the competition's layout.
#include <signal.h>
#include <stdio.h>

#include "core/base/options.h"
#include "core/base/progress.h"
#include "core/data/synth.h"
#include "daemon/command.h"

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

static void show_progress(void *context, size_t done, size_t total)
{
    struct progress *p = context;
    p->total = total;
    progress_update(p, done);
}

static bool is_stopped(void *context)
{
    (void)context;
    return stop_signal != 0;
}

static int run_synth(const char *out, struct synth_options *o)
{
    struct progress progress;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    progress_start(&progress, stderr, "synth", "clips", (size_t)o->clips);
    o->context = &progress;
    o->progress = show_progress;
    o->stopped = is_stopped;
    struct error e = {0};
    int rc = synth_write(out, o, &e);
    if (!rc) {
        progress_finish(&progress);
        printf("%s: %lld clips of %d signs by %d participants\n", out, (long long)o->clips, o->signs, o->participants);
        return 0;
    }
    progress_clear(&progress);
    fprintf(stderr, "islrd synth: %s%s\n", e.text, e.code == ERR_INVALID && !o->replace ? " (--replace)" : "");
    return e.code;
}

int command_synth(int argc, char **argv)
{
    const char *out = NULL;
    int64_t signs = 0, participants = 0, clips = 0, seed = 1, jobs = 0;
    bool replace = false;
    const struct option_row options[] = {
        {'o', "out", "DIR", "where to write train.csv, the sign map and the recordings", OPTION_PATH, &out},
        {0, "signs", "N", "signs", OPTION_INT, &signs, 1, SYNTH_MAX_SIGNS, ""},
        {0, "participants", "N", "signers", OPTION_INT, &participants, 1, SYNTH_MAX_PARTICIPANTS, ""},
        {0, "clips", "N", "recordings in all, spread evenly over signers and signs", OPTION_INT, &clips, 1, 1e8, ""},
        {0, "seed", "S", "the same seed gives the same recordings", OPTION_INT, &seed, 0, 9007199254740992.0},
        {'j', "jobs", "N", "threads; 0: one for each core", OPTION_INT, &jobs, 0, 4096},
        {0, "replace", NULL, "write over the recordings that DIR holds", OPTION_FLAG, &replace},
        {0}};
    const struct usage usage = {"islrd synth",
                                "synthetic recordings in the competition's layout",
                                options,
                                NULL,
                                "islrd synth --out /tmp/signs --signs 20 --participants 10 --clips 1000",
                                "A clip takes about 130 kB and a millisecond of one core."};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    if (!out || !signs || !participants || !clips) {
        fprintf(stderr, "islrd synth: %s is needed (see islrd synth --help)\n",
                !out            ? "--out DIR"
                : !signs        ? "--signs N"
                : !participants ? "--participants N"
                                : "--clips N");
        return ERR_INVALID;
    }
    struct synth_options o = {.signs = (int)signs,
                              .participants = (int)participants,
                              .clips = clips,
                              .seed = (uint64_t)seed,
                              .threads = (int)jobs,
                              .replace = replace};
    return run_synth(out, &o);
}
