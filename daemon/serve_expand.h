// Large groups of runs: acknowledged with one row, their members made right afterwards, some at a time between the other
// requests to the database (core/store/run.h: run_expand). A server that is killed in between goes on when it starts.
//
// Who asks for a group finds it with all its members: what names it or one of them - reading, a word to a run, a
// submission that waits for others - waits until it is whole, some tens of milliseconds for a thousand runs, and no
// member is started before. What names no run, lists above all, waits for the groups that were on their way to the
// database before it too, but not for long: one user's sweeps are not to stop everybody's screens. While the disk
// cannot be written nothing waits: what is there is shown, and the store refuses words to the group.
#ifndef ISLR_DAEMON_SERVE_EXPAND_H
#define ISLR_DAEMON_SERVE_EXPAND_H

#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct server;
struct error;
struct members;
struct run_submit;
struct store_reader;
struct expansion;

enum { EXPAND_FROM = 51 }; // groups of so many members are acknowledged first

struct expand_waiter {
    struct expand_waiter *next;
    uint64_t until;    // so many have ended
    uint64_t deadline; // loop time, 0: none
    void (*go)(struct server *s, struct expand_waiter *w);
};

struct expansions {
    struct expansion *first, *last;      // the first one is at work, or its group's row is being written
    uint64_t begun, ended;               // how many
    uint64_t highest;                    // number of a run that is known: announced ones have higher ones
    uv_timer_t timer;                    // rings at the first deadline of those that wait
    int stuck;                           // the disk cannot be written
    struct expand_waiter *waiting, *end; // oldest first
};

void expand_open(struct server *s);
void expand_close(struct server *s, uv_close_cb closed); // what has not been begun is left to the next start

// Calls go(s, w) when the groups are whole that these runs may belong to: at once, if they are.
void expand_wait(struct server *s, struct expand_waiter *w, const uint64_t *runs, size_t count,
                 void (*go)(struct server *s, struct expand_waiter *w));
// .. when all groups that have been announced are, or some 200 ms later.
void expand_wait_briefly(struct server *s, struct expand_waiter *w,
                         void (*go)(struct server *s, struct expand_waiter *w));

// A group's row is now on its way to the database; what comes after sees the group whole. One of the two follows.
struct expansion *expand_announce(struct server *s);
void expand_cancel(struct expansion *x); // no group was made
// The group `of` is there. What `of` points to stays with `owned`, which release(owned) frees in the end; the members are
// taken over.
void expand_begin(struct expansion *x, const struct run_submit *of, struct members *members, void *owned,
                  void (*release)(void *owned));

// Takes the members of a group that is whole into memory.
void expand_take_in(struct server *s, const struct run_submit *of, struct members *members);

// At the server's start: finds what the last one left unmade; and goes on with it, once the start cannot fail any more.
int expand_recover(struct server *s, struct store_reader *reader, struct error *e);
void expand_start(struct server *s);

#endif
