// The users as the scheduler knows them: what they have had of the machine, when they last had a run started.
//
// Usage is in rank-seconds and decays by half in SCHEDULER_HALF_LIFE_S, from the moment at which it came about. It
// follows from the attempts in the database: a server that starts adds them up again.
//
// Limits are numbers in the database's settings, each for one user or for everybody who has none of his own.
#ifndef ISLR_DAEMON_SERVE_USER_H
#define ISLR_DAEMON_SERVE_USER_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/serve_scheduler.h"

struct server;
struct error;

enum user_limit {
    LIMIT_RUNNING, // runs under way at a time; 0: any number
    LIMIT_RANKS,   // of all of them together; 0: any number
    LIMIT_QUEUED,  // runs that wait; 0: any number
    LIMIT_SHARE,   // of the machine, beside what others have
    USER_LIMITS
};

struct limit_row {
    const char *name;
    double least, most, usual; // `usual` where nothing is set
    int whole;
};
extern const struct limit_row user_limits[USER_LIMITS];
int user_limit_find(const char *name, enum user_limit *out, struct error *e);
#define LIMIT_SETTING "limit." // and the limit's name, a colon, the user's name or nothing

// A sum that decays. Times are in milliseconds of any clock.
struct usage {
    double sum; // as of at_ms
    int64_t at_ms;
};
double usage_at(const struct usage *u, int64_t now_ms);
void usage_add(struct usage *u, double amount, int64_t now_ms);

// The last start of a run of at most this priority; ascending in both.
struct user_start {
    int32_t priority;
    int64_t at_ms;
};

struct user {
    char *name;
    struct usage usage; // of attempts that have ended; loop time
    struct user_start *starts;
    size_t start_count;
    double own[USER_LIMITS]; // NAN: as everybody
    unsigned submitting;     // submissions on their way to the database
    uint32_t index;          // of the scheduler's pass under way
};

struct users {
    struct user **items; // by name
    size_t count, capacity;
    double everybody[USER_LIMITS]; // NAN: as usual
};

void users_open(struct users *all);
double user_limit(const struct users *all, const struct user *u, enum user_limit limit); // the one in force
// What the user's runs are doing now, as far as limits go.
struct scheduler_user user_standing(const struct server *s, const struct user *u, uint32_t *queued);

struct user *users_take(struct users *all, const char *name); // made when it is not there
void users_close(struct users *all);

void user_started(struct user *u, int32_t priority, int64_t at_ms);
// When the user last had a run started whose priority was not higher; INT64_MIN: never.
int64_t user_last_start(const struct user *u, int32_t priority);

int users_recover(struct server *s, struct error *e); // at the server's start

#endif
