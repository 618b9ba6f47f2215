// Large groups of runs: acknowledged with one row, their members made right afterwards, some at a time between the other
// requests to the database (core/store/run.h: run_expand). A server that is killed in between goes on when it starts.
//
// To everybody a group is there with all its members or not at all: what could see the difference - reading, a word to a
// run, a submission that waits for others - waits until the groups are whole that were on their way to the database before
// it, some tens of milliseconds for a thousand runs, and no member is started before. While the disk cannot be written
// nothing waits: what is there is shown, and the store refuses words to the group.
#ifndef ISLR_DAEMON_SERVE_EXPAND_H
#define ISLR_DAEMON_SERVE_EXPAND_H

#include <stddef.h>
#include <stdint.h>

struct server;
struct error;
struct members;
struct run_submit;
struct store_reader;
struct expansion;

enum { EXPAND_FROM = 51 }; // groups of so many members are acknowledged first

struct expand_waiter {
    struct expand_waiter *next;
    uint64_t until;
    void (*go)(struct server *s, struct expand_waiter *w);
};

struct expansions {
    struct expansion *first, *last;      // the first one is at work, or its group's row is being written
    uint64_t begun, ended;               // how many
    int stuck;                           // the disk cannot be written
    struct expand_waiter *waiting, *end; // oldest first
};

// Calls go(s, w) when all groups that have been announced are whole: at once, if they are.
void expand_wait(struct server *s, struct expand_waiter *w, void (*go)(struct server *s, struct expand_waiter *w));

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
void expand_close(struct server *s); // of a server that has not come so far, or is through with all

#endif
