// What the server's tests share: a server on the test's own loop, and actors that speak the protocol to it through
// core/rpc the way clients and ranks do, word by word as a test says.
#ifndef ISLR_TESTS_SERVE_RIG_H
#define ISLR_TESTS_SERVE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/hash.h"
#include "core/rpc/link.h"
#include "daemon/serve.h"

// However slow the machine is, no lease runs out, but where a test waits for that.
enum { RIG_LEASE_MS = 120000, RIG_HANG_MS = 120000 };
enum { RIG_PATIENCE_MS = 100000 }; // sanitizers on a machine with other things to do
#ifdef __SANITIZE_THREAD__         // everything takes many times as long
enum { RIG_BRIEF_LEASE_MS = 5000 };
#else
enum { RIG_BRIEF_LEASE_MS = 1000 };
#endif

struct rig {
    uv_loop_t loop;
    char directory[64];
    struct server *server;
    struct log log;
    uint32_t settle_ms;     // of server_options, from the next start on
    uint32_t lease_ms;      // likewise
    int listening;          // on the network too
    int keep_network;       // from the next start on at the same address
    struct address network; // then: where, and what it shows
    struct ear *ears;       // of the actors that are open
};

void rig_open(struct rig *rig); // ISLR_TEST_LOG=1 in the environment shows the server's log
void rig_open_with(struct rig *rig, int listening, uint32_t lease_ms);
void rig_open_listening(struct rig *rig);
void rig_stop_server(struct rig *rig);
void rig_start_server(struct rig *rig);
void rig_hang_up(struct rig *rig); // closes all actors, also those that a test that failed has left on its stack
void rig_close(struct rig *rig);   // and hangs up before

// Runs the loop until *flag is set; fails the test, saying what was waited for, after a long time.
void rig_until(struct rig *rig, const int *flag, const char *what);
void rig_for(struct rig *rig, unsigned ms);
// Runs it for a moment, between two looks at what cannot be told of; fails the test likewise. *waited_ms: 0 at first.
void rig_wait(struct rig *rig, unsigned *waited_ms, const char *what);

// ---- actors ---------------------------------------------------------------------------------------------------------

struct message {
    struct message *next;
    Islr__Envelope *m;
};

// What hears for an actor. It is not where the actor is: a test that fails leaves that on a stack that is gone.
struct ear {
    struct ear *next; // the rig's
    struct rig *rig;
    struct actor *actor; // NULL: gone
    struct link *link;
    struct message *inbox; // pushed messages, oldest first
    Islr__Envelope__BodyCase awaited;
    int come; // one of them is in the inbox
};

struct actor {
    struct rig *rig;
    struct ear *ear; // until it is closed
    struct link *link;
    int up, closed;
    int refused;      // it is down for good: `why` says why
    struct error why; // of the last time that it went down
    char role[16];    // as the server says
    // of a rank: what it registers with
    Islr__Register facts;
    char world[32];
    int registered;
};

void actor_open(struct actor *a, struct rig *rig, Islr__Hello__Role role); // connected when it returns
// The same over TLS with a token; returns before it is connected.
void actor_dial(struct actor *a, struct rig *rig, Islr__Hello__Role role, const char *token);
void actor_wait_refused(struct actor *a);
void actor_close(struct actor *a);
void actor_wait_up(struct actor *a);
struct peer *actor_peer(struct actor *a); // of one that is up

// Sends a request and waits for its last reply. The replies before it are put into the inbox. Fails the test on a
// Fault.
Islr__Envelope *actor_call(struct actor *a, Islr__Envelope *m, Islr__Envelope__BodyCase expect);
void actor_call_ok(struct actor *a, Islr__Envelope *m);
// The same where a Fault of this code is wanted; its text is left in the returned static buffer.
const char *actor_call_fault(struct actor *a, Islr__Envelope *m, enum error_code code);
// The same where either may come: ERR_NONE, or the Fault's code and text.
enum error_code actor_try(struct actor *a, Islr__Envelope *m, struct error *why);
void actor_send(struct actor *a, Islr__Envelope *m);
uint64_t actor_ask(struct actor *a, Islr__Envelope *m); // the replies all go to the inbox; returns the id

// The oldest message of this kind in the inbox, taken out; waits for it. envelope_free() it.
Islr__Envelope *actor_next(struct actor *a, Islr__Envelope__BodyCase kind);
int actor_has(struct actor *a, Islr__Envelope__BodyCase kind);

// ---- clients --------------------------------------------------------------------------------------------------------

// A job of the preset `tiny`; with its resources. To spec_free().
Islr__JobSpec *job_tiny(uint32_t ranks, uint32_t min_ranks);

uint64_t client_submit(struct actor *a, Islr__JobSpec *job); // frees the job
uint64_t client_submit_after(struct actor *a, uint64_t after, int any);
uint64_t client_sweep(struct actor *a, uint32_t count); // of seeds 1 to `count`; the group's number
void client_ask_sweep(struct actor *a, uint32_t count); // the same; the answer goes to the inbox
// How many runs the group has: they must have the numbers behind its own, without holes, and their seeds' names.
size_t client_count_members(struct actor *a, uint64_t group);
void client_control(struct actor *a, Islr__Control__Verb verb, uint64_t target);
Islr__Envelope *client_show(struct actor *a, uint64_t run); // run_detail
void client_wait_state(struct actor *a, uint64_t run, Islr__RunState state);
void client_wait_reason(struct actor *a, uint64_t run, const char *reason);

// ---- ranks ----------------------------------------------------------------------------------------------------------

void rank_introduce(struct actor *a, const char *world, uint32_t rank, uint32_t size); // registers one that is up
void rank_open(struct actor *a, struct rig *rig, const char *world, uint32_t rank, uint32_t size);
// Registers (again), in the middle of a run or idle (0); the answer.
Islr__Envelope *rank_register(struct actor *a, uint64_t run, uint32_t attempt);
// Waits for Assign and answers Ok (take 1) or with a Fault; returns the Assign.
Islr__Envelope *rank_take(struct actor *a, int take);
void rank_records(struct actor *a, uint64_t run, uint32_t attempt, uint64_t first,
                  size_t count); // and waits for the ack
void rank_finish(struct actor *a, uint64_t run, uint32_t attempt, Islr__Finished__Outcome outcome, int retryable);
struct hash rank_put(struct actor *a, const void *data, size_t size); // in pieces
// Uploads it and names it as the distilled model of an epoch, which collection may take.
struct hash rank_epoch(struct actor *a, uint64_t run, uint32_t attempt, uint32_t epoch, const void *data, size_t size);
// Names an uploaded file as one, with so many figures that a message has room for less than forty.
void rank_bulky_epoch(struct actor *a, uint64_t run, uint32_t attempt, uint32_t epoch, const struct hash *hash);
void rank_checkpoint(struct actor *a, uint64_t run, uint32_t attempt, const char *what, uint64_t step,
                     const struct hash *hash);

#endif
