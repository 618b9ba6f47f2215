// A workbench for worker ranks: one runs in a thread with a job that the test scripts, against a server that the test
// scripts too, in this thread; under mpirun other processes are the other ranks of its world. What the server takes it remembers as a real one would: records by number, artifacts by
// hash, checkpoints, the end - and only what it has remembered does it acknowledge.
#ifndef ISLR_TESTS_WORK_BENCH_H
#define ISLR_TESTS_WORK_BENCH_H

#include "core/base/hash.h"
#include "daemon/work.h"
#include "tests/rpc/rig.h"

enum { BENCH_RANKS = 4, BENCH_ARTIFACTS = 64, BENCH_CHECKPOINTS = 64, BENCH_ALONE_MS = 2000, BENCH_RETRY_MS = 50 };

struct bench_artifact {
    struct hash sha256;
    uint8_t *data;
    uint64_t have, total;
};

struct bench_checkpoint {
    char what[32];
    uint32_t epoch;
    uint64_t step;
    struct hash sha256;
    uint64_t records; // that the server had when it was named
    size_t members, figures;
    struct hash member[8];
};

struct bench {
    struct rig rig;
    char scratch[96];
    uv_thread_t thread;
    struct comm *world, *alone; // alone: the bench's own, without mpirun
    int rc;                     // of work_serve()
    atomic_int ended;
    struct error why;

    // the job
    int (*job)(struct bench *b, const struct work_job *j, struct error *e);
    atomic_int running, jobs; // in it now; begun so far
    atomic_int go_on;         // for jobs that wait for the test

    // what the server knows
    struct peer *rank[BENCH_RANKS]; // their connections, NULL: away
    int registered;                 // so often
    char world_name[33];
    uint64_t claim_run;
    uint32_t claim_attempt;
    uint64_t records_run; // the attempt that the next three are of: the last one that was assigned
    uint32_t records_attempt;
    uint64_t records;     // 1 to this are durable
    double *first_values; // of metric records, [records]
    char **lines;         // of log records, [records], else NULL
    struct bench_artifact artifacts[BENCH_ARTIFACTS];
    int artifact_count;
    struct bench_checkpoint checkpoints[BENCH_CHECKPOINTS];
    int checkpoint_count;
    int finished; // Finished was taken
    Islr__Finished__Outcome outcome;
    char reason[500];
    int retryable;
    uint64_t last_seq;
    int assign_ok, assign_fault, progress;
    uint64_t progress_step;
    uint64_t spool_max;          // of the rank; set before bench_open()
    uint32_t alone_ms;           // likewise; 0: BENCH_ALONE_MS
    struct work_allowed allowed; // of work_options, from the start
    const char *init_student;    // of the job that is assigned; NULL: ""
    const char *job_name;        // likewise
    // its moods
    unsigned hang_up_every; // at every n-th message of these kinds, before or after it was made durable in turns
    unsigned messages;
    int refused;                 // Hellos, at the end
    int abandon;                 // says so to Register
    const char *refuse_what;     // AddCheckpoint of this kind is ..; NULL: none is
    enum error_code refuse_code; // .. this; ERR_NONE: ERR_INVALID
    int refused_files;           // so often
    int deaf;                    // takes no records until they are sent again
    uint64_t passed_over;        // records, meanwhile
    int refuse_files;            // so many AddCheckpoint and Put fail with "the disk is full"
};

void bench_open(struct bench *b, int (*job)(struct bench *b, const struct work_job *j, struct error *e));
// The same on rank 0 of `world`, which stays the caller's. Its other ranks join, and return when the bench is closed.
void bench_open_in(struct bench *b, struct comm *world,
                   int (*job)(struct bench *b, const struct work_job *j, struct error *e));
void bench_join(struct bench *b, struct comm *world,
                int (*job)(struct bench *b, const struct work_job *j, struct error *e));
void bench_close(struct bench *b); // ends the ranks; nothing may be left
// To all ranks of the world.
void bench_assign(struct bench *b, uint64_t run, uint32_t attempt, const struct hash *resume, uint64_t resume_size);
void bench_stop(struct bench *b, uint64_t run, uint32_t attempt, Islr__Stop__Why why);
void bench_add_artifact(struct bench *b, const void *data, size_t size, struct hash *sha256);
void bench_add_checkpoint(struct bench *b, const char *what, uint32_t epoch, uint64_t step, const struct hash *sha256);
void bench_settle(struct bench *b); // until the directory of run 1 is unlocked
char *bench_directory(const struct bench *b, uint64_t run);

#endif
