// One connection to the server: who it is, what it may do, and the way from a message to its handler.
#ifndef ISLR_DAEMON_SERVE_SESSION_H
#define ISLR_DAEMON_SERVE_SESSION_H

#include <stdint.h>

#include "core/rpc/peer.h"
#include "core/store/reporter.h"
#include "daemon/serve_job.h"

struct server;
struct taking;
struct worker;

// Each may do what those before it may. A worker may read what its runs need (serve_permit.h), and do what only ranks do
// if it has greeted as one.
enum session_role { ROLE_NOBODY, ROLE_WORKER, ROLE_VIEWER, ROLE_SUBMITTER, ROLE_ADMIN };
const char *session_role_name(enum session_role r);
enum session_role session_role_parse(const char *name); // ROLE_NOBODY: there is no such role

struct session {
    struct server *server;
    struct peer *peer; // NULL: the connection is gone
    unsigned refs;     // the connection itself, and everything under way that will answer to it ..
    unsigned standing; // .. of which these may stand for long: follows, waits, a watch
    size_t kept;       // bytes of messages that are being dealt with
    struct server_jobs jobs;
    char user[64];
    enum session_role role;
    uint64_t token;         // its id; 0: none, the kernel said who it is
    int64_t expires_ms;     // the token does; 0: never
    int is_worker;          // greeted as one
    struct worker *worker;  // the rank that has registered here, NULL: none
    struct reporter as;     // .. as which it reports, from then on to the session's end
    struct taking *records; // its messages with records, the first one on its way to the database (serve_records.c)
    unsigned records_waiting, puts_waiting;
    int throttled;
    int refused;              // a report on what is not its
    unsigned follows;         // runs that are followed through it
    unsigned waits;           // requests that wait for runs to end
    uint64_t told_changed_at; // loop time of the last answer to Watch, 0: none yet
    struct session *next, *previous;
};

struct sessions {
    struct session *first;
    unsigned connected, most; // connections that are there, and that may be
};

// Starts a session on a new connection.
void session_open(struct server *s, struct peer *p);

// Whatever answers later holds the session. Of a connection with many requests under way, or much memory in them, no
// further ones are read until some are through.
struct session *session_hold(struct session *session);
void session_drop(struct session *session);
// The same for what may stand for long, and has a limit of its own.
struct session *session_hold_standing(struct session *session);
void session_drop_standing(struct session *session);
// In a handler: its message is kept until session_free_message() (NULL is fine), by somebody who holds the session.
Islr__Envelope *session_keep_message(struct session *session);
void session_free_message(struct session *session, Islr__Envelope *m);

// All of these do nothing when the connection is gone. -1: it is, or the message is larger than a frame, which who asked
// has been told then.
int session_send(struct session *session, Islr__Envelope *m); // nobody has asked for it
int session_reply(struct session *session, uint64_t id, Islr__Envelope *m);
void session_reply_ok(struct session *session, uint64_t id);
void session_reply_fault(struct session *session, uint64_t id, const struct error *why);
void session_end(struct session *session, const struct error *why); // a Fault without id, then the connection ends

// A report on a run that is not this rank's to report on, or reading what is not its to read: counted, logged (once a
// session), answered by a Fault where it has an id. The other one leaves the answer to the caller.
void session_refuse(struct session *session, const Islr__Envelope *m, const struct error *why);
void session_note_refused(struct session *session, const Islr__Envelope *m, const struct error *why);

// Stops reading from a connection that asks, or brings records or pieces of artifacts, faster than they are dealt with.
void session_throttle(struct session *session);

void sessions_hang_up(struct sessions *all);                   // of a server that stops: what is queued gets out ..
void sessions_cut(struct sessions *all);                       // .. or not
void sessions_end_token(struct sessions *all, uint64_t token); // it was revoked
void sessions_tick(struct sessions *all, int64_t now_ms);      // ends those whose token has expired

#endif
