// Does a server that is used for long keep its size? Submits held runs, cancels them, follows them to their end, lists,
// and pulls pieces of a checkpoint, over and over, on connections that come and go; watches the server's memory meanwhile.
// A tool, not a test: tests/reliability/memory.sh uses it.
//     soak ADDRESS PID ROUNDS CONNECTIONS   with $ISLR_TOKEN, $ISLR_FINGERPRINT or $ISLR_CA for tls:
// Run 1 of the server has a soup. Exit status 1: something failed, or the server has grown.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/call.h"
#include "core/rpc/protocol.h"
#include "core/spec/spec.h"

enum { ROUNDS_A_CONNECTION = 50, REPORTS = 20, WARM = 8 }; // WARM: of the reports: caches are full by then
static const double GROWTH = 0.05;                         // allowed from then on, for what is kept of so many runs

struct soak {
    struct address address;
    const char *token;
    Islr__JobSpec *job;
    struct caller *caller;
    uint8_t sha256[32];
    uint64_t size; // of the soup
};

static void die(const char *what, const struct error *e)
{
    fprintf(stderr, "soak: %s: %s\n", what, e->text);
    exit(1);
}

static Islr__Envelope *call(struct soak *s, Islr__Envelope *m, Islr__Envelope__BodyCase expect)
{
    struct error e;
    Islr__Envelope *answer = rpc_call(s->caller, m, expect, RPC_DURABLE_MS, &e);
    if (!answer)
        die(envelope_name(m), &e);
    return answer;
}

static void connect_anew(struct soak *s)
{
    struct error e;
    caller_close(s->caller);
    s->caller = caller_open(&s->address, s->token, &e);
    if (!s->caller)
        die("cannot connect", &e);
}

static uint64_t submit(struct soak *s)
{
    Islr__Submit q = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &q);
    q.job = s->job;
    q.has_hold = q.hold = 1;
    Islr__Envelope *answer = call(s, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
    uint64_t run = answer->submitted->run;
    envelope_free(answer);
    return run;
}

static void cancel(struct soak *s, uint64_t run)
{
    Islr__Control q = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &q);
    q.has_verb = 1;
    q.verb = ISLR__CONTROL__VERB__VERB_CANCEL;
    q.targets = &run;
    q.n_targets = 1;
    envelope_free(call(s, &m, ISLR__ENVELOPE__BODY_OK));
}

static int ignore(void *context, const Islr__Envelope *m, struct error *e)
{
    (void)e;
    *(int *)context += m->body_case == ISLR__ENVELOPE__BODY_FOLLOW_END || m->body_case == ISLR__ENVELOPE__BODY_RUN_LIST;
    return 0;
}

static void stream(struct soak *s, Islr__Envelope *m)
{
    struct error e;
    int ends = 0;
    if (rpc_stream(s->caller, m, RPC_DURABLE_MS, ignore, &ends, &e) || !ends)
        die(envelope_name(m), &e);
}

static void follow(struct soak *s, uint64_t run)
{
    Islr__Follow q = ISLR__FOLLOW__INIT;
    Islr__Envelope m = ENVELOPE(FOLLOW, follow, &q);
    q.has_run = 1;
    q.run = run;
    stream(s, &m);
}

static void list(struct soak *s)
{
    Islr__ListRuns q = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &q);
    q.has_limit = 1;
    q.limit = 20;
    stream(s, &m);
}

static void find_soup(struct soak *s)
{
    Islr__ListCheckpoints q = ISLR__LIST_CHECKPOINTS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_CHECKPOINTS, list_checkpoints, &q);
    q.has_run = 1;
    q.run = 1;
    Islr__Envelope *answer = call(s, &m, ISLR__ENVELOPE__BODY_CHECKPOINT_LIST);
    for (size_t i = 0; i < answer->checkpoint_list->n_checkpoints; i++) {
        const Islr__CheckpointInfo *c = answer->checkpoint_list->checkpoints[i];
        if (strcmp(c->what, "soup") || c->sha256.len != sizeof s->sha256)
            continue;
        memcpy(s->sha256, c->sha256.data, sizeof s->sha256);
        s->size = c->size_bytes;
    }
    envelope_free(answer);
    if (!s->size) {
        fprintf(stderr, "soak: run 1 has no soup\n");
        exit(1);
    }
}

static void pull(struct soak *s)
{
    Islr__Fetch q = ISLR__FETCH__INIT;
    Islr__Envelope m = ENVELOPE(FETCH, fetch, &q);
    q.has_sha256 = q.has_offset = q.has_size = 1;
    q.sha256 = (ProtobufCBinaryData){sizeof s->sha256, s->sha256};
    q.offset = (uint64_t)random() % s->size;
    q.size = RPC_CHUNK_MAX;
    envelope_free(call(s, &m, ISLR__ENVELOPE__BODY_CHUNK));
}

static void work(struct soak *s, long rounds)
{
    for (long i = 0; i < rounds; i++) {
        if (i % ROUNDS_A_CONNECTION == 0)
            connect_anew(s);
        if (i == 0)
            find_soup(s);
        uint64_t run = submit(s);
        cancel(s, run);
        follow(s, run);
        pull(s);
        if (i % 10 == 0)
            list(s);
    }
    caller_close(s->caller);
    exit(0);
}

// ---- the server's size ----------------------------------------------------------------------------------------------

// What the server has beside SQLite's caches, which grow with the database up to their limits.
static long own_kib(struct soak *s, long *all_kib)
{
    Islr__GetStatus q = ISLR__GET_STATUS__INIT;
    Islr__Envelope m = ENVELOPE(GET_STATUS, get_status, &q);
    connect_anew(s);
    Islr__Envelope *answer = call(s, &m, ISLR__ENVELOPE__BODY_STATUS);
    *all_kib = (long)(answer->status->memory_bytes / 1024);
    long own = *all_kib - (long)(answer->status->database_bytes / 1024);
    envelope_free(answer);
    caller_close(s->caller);
    s->caller = NULL;
    return own;
}

static int descriptors(const char *pid)
{
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

// One part of the rounds by all connections; -1: one of them has failed.
static int part(struct soak *s, long rounds, int connections)
{
    int failed = 0, status;
    for (int i = 0; i < connections; i++) {
        if (fork() == 0) {
            srandom((unsigned)getpid());
            work(s, rounds / connections);
        }
    }
    while (wait(&status) > 0)
        failed |= status;
    return failed ? -1 : 0;
}

int main(int argc, char **argv)
{
    static const char text[] = "preset: tiny\ndata: {path: /data/asl}\n";
    struct soak s = {.token = getenv("ISLR_TOKEN")};
    struct faults faults = {0};
    struct error e;
    long warm = 0, now = 0, all = 0;
    if (argc != 5 || address_parse(argv[1], &s.address, &e) || address_trust(&s.address, NULL, NULL, &e) ||
        spec_read("soak", text, sizeof text - 1, 0, NULL, 0, &s.job, &faults))
        return 2;
    long rounds = atol(argv[3]);
    double start = clock_seconds();
    for (int i = 1; i <= REPORTS; i++) {
        if (part(&s, rounds / REPORTS, atoi(argv[4])))
            return 1;
        now = own_kib(&s, &all);
        warm = i == WARM ? now : warm;
        printf("%7ld rounds  %6.0f s  %6.1f MiB, %6.1f without the database's  %d descriptors\n", rounds / REPORTS * i,
               clock_seconds() - start, (double)all / 1024, (double)now / 1024, descriptors(argv[2]));
        fflush(stdout);
    }
    spec_free(s.job);
    if (!now || (double)now > (double)warm * (1 + GROWTH)) {
        printf("the server has grown from %ld to %ld KiB\n", warm, now);
        return 1;
    }
    return 0;
}
