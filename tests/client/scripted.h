// A server for the tests of islrctl: it speaks the real protocol over a real socket, from facts that a test writes
// down, and fails in the ways that a test asks for. And islrctl itself, run as a process.
#ifndef ISLR_TESTS_CLIENT_SCRIPTED_H
#define ISLR_TESTS_CLIENT_SCRIPTED_H

#include "tests/rpc/rig.h"

struct scripted_artifact {
    const char *what;
    uint32_t epoch;
    double accuracy; // 0: none
    uint8_t *data;
    size_t size;
    uint8_t sha256[32];
};

struct scripted {
    struct rig rig;
    // facts
    int runs;             // numbers 1..runs exist, all like run 1
    Islr__RunState state; // of all of them
    const char *reason;
    uint64_t records; // of a run: see scripted_record()
    struct scripted_artifact *artifacts;
    size_t artifact_count;
    uint64_t group; // this run is one, of `members` runs, which are the first ones
    int members;
    int left_out;     // earlier attempts, events and ranks of a run that its detail does not have
    uint64_t retried; // a member that fails in the middle of its records while the group is followed, then is retried
    // what was asked
    int submits, controls, follows, fetches, hellos, lists, watches, asks;
    Islr__Control__Verb verb;
    uint64_t targets[8];
    size_t target_count;
    int32_t priority;
    char submitted[4096]; // the job as JSON
    char key[64];
    char list_asked[256];
    uint64_t parent_asked;
    int children_asked;
    int variations;    // of the last submit
    char labels[2048]; // "label|train.lr,train.seed,preset;" of each
    // failures
    int drop_submits;      // so many submits are made durable and then not answered
    uint64_t break_follow; // hang up after so many records of one follow; 0: never
    int repeat_records;    // a follow begins that many records early: doubles for the client to drop
    int break_fetch;       // hang up at every n-th fetch; 0: never
    int break_ask;         // hang up at every n-th GetRun or ListRuns; 0: never
    int corrupt_fetch;     // a wrong byte in this many of the next chunks
    int end_after_follows; // FollowEnd and Wait answers only from this connection on
    int mute_hello;        // this connection, counted from 1, is taken and gets no answer, to Hello neither; 0: none
    int mute_get;          // GetRun is not answered
    int silent;            // follows get what there is, and no end
    int untold;            // Watch is not known, as to an older server
    int news;              // so many more are answered at once; the others never
    // private
    struct peer *group_peer; // where the group is followed
    uint64_t group_follow;   // by this request
    int retries;             // follows of the retried one
};

void scripted_open(struct scripted *s);
void scripted_close(struct scripted *s);

// Record `seq` of the scripted run: 1 the state running; then in turns of five a log line and step metrics, an
// evaluation every hundred; the last one the final state.
void scripted_add_artifact(struct scripted *s, const char *what, uint32_t epoch, double accuracy, size_t size);

struct outcome {
    int code;        // exit code, or 128 + signal
    char *out, *err; // NUL-terminated
};

// Runs islrctl (the environment's ISLRCTL) with these arguments, NULL at the end, and ISLR_SERVER at this server.
struct outcome scripted_run(struct scripted *s, const char *const *arguments);
#define RUN(s, ...) scripted_run(s, (const char *const[]){__VA_ARGS__, NULL})
void outcome_free(struct outcome *o);

// The same with its output on a terminal; when `until` says so (NULL: never) of what it has shown, it gets a SIGINT.
// Everything is in out.
struct outcome scripted_run_on_terminal(struct scripted *s, int (*until)(const struct scripted *s, const char *out),
                                        const char *const *arguments);

#endif
