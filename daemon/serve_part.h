// The parts of the machine that a run can be given ranks of: the ranks of one world with one kind of device. Which ranks
// are taken, who holds the part, what may be done beside the holder. Private to the scheduler (serve_scheduler.h).
#ifndef ISLR_DAEMON_SERVE_PART_H
#define ISLR_DAEMON_SERVE_PART_H

#include "daemon/serve_scheduler.h"

// A run that has ranks of a part.
struct part_run {
    const struct scheduler_busy *busy; // NULL: it has only just been given them
    size_t ranks;
    int64_t left_ms; // it is sure to end within so long, -1: unknown
    int stopping;
};

struct part {
    uint32_t world;
    enum scheduler_device device;
    size_t total;
    size_t *free; // indices of free ranks, ascending
    size_t free_count;
    struct part_run *runs;
    size_t run_count;
    const struct scheduler_run *holder; // the run that waits for this part, NULL: none
    int64_t sure_ms;                    // the holder is sure to start within so long, -1: unknown
    size_t spare;                       // ranks that the holder will not need
};

struct parts {
    struct part *items;
    size_t count;
    size_t free; // of all
};

struct parts parts_make(const struct scheduler_input *in);
void parts_free(struct parts *parts);

// The largest number of ranks that the run can be given out of `available`, 0: none; and the smallest of all.
uint32_t part_most_ranks(const struct scheduler_run *r, size_t available);
uint32_t part_least_ranks(const struct scheduler_run *r); // 0: no number suits

int part_suits(const struct part *p, const struct scheduler_run *r); // its device

// How many free ranks the run may have here, beside the holder if there is one.
size_t part_open_ranks(const struct part *p, const struct scheduler_run *r);

// Takes n free ranks from as few hosts as possible, ascending.
void part_take(struct parts *parts, struct part *p, const struct scheduler_input *in, const struct scheduler_run *r,
               size_t n, size_t *out);

// Ranks that runs are giving back; whether the run can start as soon as they have.
size_t part_stopping_ranks(const struct part *p);
int part_is_room_coming(const struct part *p, const struct scheduler_run *r);

// The run waits for this part: finds out when it is sure to start and what it leaves to others.
void part_hold(struct part *p, const struct scheduler_run *r);
// Within how long the run would be sure to find its ranks here, -1: unknown.
int64_t part_sure_ms(const struct part *p, const struct scheduler_run *r);

#endif
