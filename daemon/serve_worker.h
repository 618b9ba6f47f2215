// The ranks that are there: worlds (one mpirun each), their ranks, leases.
//
// A rank is known by its world's name and its number. It lives until its process has ended (seen at once for processes
// of this machine, through a pidfd) or until nothing was heard of it for the lease; a connection that is lost alone
// changes nothing: the rank comes back, says what it is in the middle of, and goes on.
#ifndef ISLR_DAEMON_SERVE_WORKER_H
#define ISLR_DAEMON_SERVE_WORKER_H

#include <stdint.h>
#include <uv.h>

#include "core/base/error.h"
#include "daemon/serve_health.h"
#include "proto/control.pb-c.h"

struct run;
struct server;
struct session;
struct world;

struct worker {
    struct server *server;
    struct world *world;
    struct session *session; // NULL: away
    uint64_t id;             // in this server's life
    uint64_t row;            // in the database, 0: not yet
    uint32_t rank;
    Islr__Register *facts; // as it registered
    char user[64];         // whose it is
    int64_t since_ms;
    uint64_t deadline;      // loop time at which it is given up, while away
    uv_poll_t *process;     // watches its process; NULL: it cannot be watched
    int dead;               // its process has ended
    int leaving;            // it has said that it is about to end
    uint64_t shunned_until; // loop time: its world gets no work before

    uint64_t run;     // what the server has given it, 0: idle
    int has_reported; // it was the first rank of a gang, some time
    uint32_t attempt;
    char doing[64]; // as it said last
    uint64_t step;
    struct health health;
};

struct world {
    struct world *next;
    uint32_t number; // in this server's life
    char *name;
    uint32_t size;
    struct worker **ranks;     // [size], NULL: not there
    uint32_t known;            // of them
    uint64_t incomplete_since; // loop time, 0: all are there
};

struct workers {
    struct world *first;
    uint64_t last_id;
    uint32_t last_world;
};

void workers_close(struct server *s);

// All its ranks are there, connected and willing: it can be given work.
int world_complete(const struct world *w);

// Its run was lost because ranks do not get on with each other: its world gets no work for a while, in which it may end.
void worker_shun(struct worker *w);

void worker_set_idle(struct worker *w);
void worker_away(struct worker *w, uint32_t silent_ms);  // its connection is gone, silent for so long before
void workers_tick(struct server *s);                     // leases
void workers_wait_longer(struct server *s, uint64_t ms); // for those that are away
struct worker *workers_find(struct server *s, const char *world, uint32_t rank);

// For serve_register.c: a rank that was not known; -1: it contradicts its world (another size, a rank beyond it).
struct worker *worker_add(struct server *s, const Islr__Register *facts, struct error *e);
void worker_connected(struct worker *w, struct session *session);
// Whether who registers as `w` is another process than the one that did before, or another user's: -1 and a sentence.
int worker_is_another(const struct worker *w, const Islr__Register *facts, const char *user, struct error *e);

// The run that it is the first rank of, NULL: none.
struct run *worker_reports_on(const struct worker *w);

#endif
