// Whether ranks get anywhere: what they say of themselves (Pulse), what follows from it for their runs, and how it is
// told to people.
//
// A rank that is stuck says so itself (daemon/watchdog.h). One that has stopped altogether, or is cut off, is silent: its
// lease runs out (serve_worker.h). Where every rank of a gang waits for another one, none is stuck by itself and none is
// silent, yet none will go on: that is found here. In all cases the attempt is lost, with the rank's name in the reason.
#ifndef ISLR_DAEMON_SERVE_HEALTH_H
#define ISLR_DAEMON_SERVE_HEALTH_H

#include <stddef.h>
#include <stdint.h>

struct pool;
struct server;
struct worker;

// What a rank said last; all 0: nothing since it was given its run.
struct health {
    uint64_t told; // loop time, 0: never
    uint32_t quiet_ms;
    char waits[32]; // in which collective, "": it does not wait
    int waits_for;  // world rank, -1: not known
    uint32_t waits_more;
};

uint32_t health_quiet_ms(const struct worker *w); // by now
enum { HEALTH_TEXT = 320 };
const char *health_text(const struct worker *w, char text[HEALTH_TEXT]); // "ok", else what is wrong

// Sentences on worlds that cannot be given work because ranks are missing, and on ranks that get nowhere; a list of at
// most NOTES_MAX in the pool.
enum { NOTES_MAX = 20 };
char **health_notes(const struct server *s, struct pool *pool, size_t *count);

void health_tick(struct server *s);

#endif
