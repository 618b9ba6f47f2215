// Follows one run: asks the server for the records after the last one seen, and asks again after every break, so that
// none is lost and none comes twice. It ends with the run (or what there is), an error, or a signal. Of a group its runs
// can be followed with it, each from when it has begun to its end.
#ifndef ISLR_CLIENT_FOLLOWER_H
#define ISLR_CLIENT_FOLLOWER_H

#include <stdbool.h>

#include "client/server.h"

struct follower_options {
    uint64_t run;
    uint64_t after_seq;
    bool logs, metrics, progress;
    bool keep;       // until the run has ended; false: only what there is
    bool members;    // a group: what its runs say too
    bool patient;    // also the first connection is tried again and again
    int64_t seconds; // give up after so long with ERR_TIMEOUT; 0: never
};

// Any but `context` may be NULL.
struct follower_events {
    void *context;
    // member: the run of the group that says it, 0: the run itself. Non-zero: stop, the output is gone.
    int (*on_record)(void *context, uint64_t member, const Islr__Record *r);
    void (*on_batch)(void *context); // after the records of one message: flush here
    void (*on_progress)(void *context, const Islr__Progress *p);
    void (*on_tick)(void *context);                     // ten times a second
    void (*on_notice)(void *context, const char *text); // the server is away, is back
};

struct follow_result {
    Islr__RunState state; // where it stands; valid unless detached
    char reason[400];
    uint64_t last_seq;
    bool detached; // by SIGINT or SIGTERM: the run goes on
};

// 0, or -1: no such run (ERR_NOT_FOUND), no server at first (ERR_UNREACHABLE), refused, ..
int follower_run(const struct server *s, const struct follower_options *o, const struct follower_events *events,
                 struct follow_result *result, struct error *e);

#endif
