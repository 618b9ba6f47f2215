// Reading runs: lists with their filters, one run in full, what a server needs to know of runs when it starts.
// Everything returned lives in the pool.
#ifndef ISLR_STORE_RUN_READ_H
#define ISLR_STORE_RUN_READ_H

#include <stdint.h>

#include "core/store/pool.h"
#include "core/store/run.h"
#include "core/store/store.h"

enum { RUN_LIST_MAX = 1000000 }; // runs of one list

// Newest first unless `sort` says otherwise; limit 0: all. ERR_INVALID: the condition or the name to sort by is wrong.
int run_read_list(struct store_reader *reader, const Islr__ListRuns *filter, struct pool *pool, Islr__RunSummary ***out,
                  size_t *count, struct error *e);
// The same piece by piece, to be sent: what is read until the list is closed is one state of the database, and the reader
// and the filter stay with it. Here filter->first_of is heeded; `final` may be empty, its packed bytes then go along
// unseen (run_summary.h).
struct run_list;
struct run_list *run_list_open(struct store_reader *reader, const Islr__ListRuns *filter, struct error *e);
// Until there are `most` more of them, or they fill `bytes` of a message; 1: there may be others behind them, 0: these
// were the last, -1.
int run_list_next(struct run_list *l, size_t most, size_t bytes, struct pool *pool, Islr__RunSummary ***out,
                  size_t *count, struct error *e);
void run_list_close(struct run_list *l); // NULL is fine; before the reader is given back, unless it is parked
// For a break that may be long: which runs are still to come is put down by number, and the state of the database let
// go of, so that its log can be taken in. The reader may be given back; run_list_resume() before each piece from then
// on, whose runs come as they are then.
int run_list_park(struct run_list *l, struct error *e);
void run_list_resume(struct run_list *l, struct store_reader *reader);

// Everything about one run: summary, job, attempts, checkpoints, events. Of very many the newest, so that it is one
// message, and how many there are.
enum { RUN_DETAIL_MAX = 1 << 20 }; // bytes of it
int run_read_detail(struct store_reader *reader, uint64_t run, struct pool *pool, Islr__RunDetail **out,
                    struct error *e);

int run_read_summary(struct store_reader *reader, uint64_t run, struct pool *pool, Islr__RunSummary **out,
                     struct error *e);

// A run's state and what belongs to it. ERR_NOT_FOUND.
int run_read_now(struct store_reader *reader, uint64_t run, struct run_now *out, struct error *e);

// The newest run of a user, 0: none.
int run_read_newest(struct store_reader *reader, const char *user, uint64_t *run, struct error *e);

// The groups that do not have all their members yet, oldest first.
int run_read_expansions(struct store_reader *reader, struct pool *pool, struct run_expansion **out, size_t *count,
                        struct error *e);

struct run_counts {
    uint64_t of[8]; // by Islr__RunState
};
int run_read_counts(struct store_reader *reader, struct run_counts *out, struct error *e);

// A run that has not ended, as a server that starts finds it.
struct run_live {
    struct run_now now;
    char *user, *name;
    int after_any;
    uint64_t *after; // those it still waits for
    size_t after_count;
    int after_groups;         // some of them are groups
    uint64_t broken_after;    // one of them that can never do, 0: none
    const Islr__JobSpec *job; // NULL: what the database holds of it is damaged
    uint64_t *folds;          // of a group that joins its folds: their runs, fold 0 first
    size_t fold_count;
    // of the attempt under way
    char *world;
    uint32_t *gang; // world ranks, the first one reports
    size_t gang_count;
    int resumes; // there is a resume point:
    struct hash resume_hash;
    uint64_t resume_size;
    int64_t began_ms;    // when it was started, 0: none
    int64_t queued_ms;   // when it last became queued, 0: just now
    double ran_ms;       // in attempts that have ended, since it was submitted or retried
    uint32_t last_ranks; // how many ranks the last attempt had, 0: none yet
};
// One run, ended or not.
int run_read_live(struct store_reader *reader, uint64_t run, struct pool *pool, struct run_live **out, struct error *e);
// The numbers of all that have not ended, oldest first, malloc'ed.
int run_read_live_list(struct store_reader *reader, uint64_t **runs, size_t *count, struct error *e);

#endif
