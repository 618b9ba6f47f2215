// Sessions: see serve_session.h.
//
// On the unix socket the kernel says who is there (SO_PEERCRED): the server's own user and root are admins, whoever
// else may open the socket is a submitter by its login name. Over the network a token says it, and nothing else.
// Workers run other people's jobs, so they must be admins of this machine or have a worker's token.
#include "daemon/serve_session.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/rpc/protocol.h"
#include "core/store/text.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_pieces.h"
#include "daemon/serve_server.h"

enum { WAITING_MAX = 4 }; // messages of one connection that wait for the disk; then it is not read from

// Everything that a server can be asked for, the least role that may, and as what it must have greeted.
enum sender { ANYONE, RANK, REGISTERED };
static const struct handler {
    Islr__Envelope__BodyCase body;
    enum session_role role;
    enum sender sender;
    void (*handle)(struct session *session, Islr__Envelope *m);
} handlers[] = {
    {ISLR__ENVELOPE__BODY_SUBMIT, ROLE_SUBMITTER, ANYONE, handle_submit},
    {ISLR__ENVELOPE__BODY_LIST_RUNS, ROLE_VIEWER, ANYONE, handle_list_runs},
    {ISLR__ENVELOPE__BODY_GET_RUN, ROLE_VIEWER, ANYONE, handle_get_run},
    {ISLR__ENVELOPE__BODY_FOLLOW, ROLE_VIEWER, ANYONE, handle_follow},
    {ISLR__ENVELOPE__BODY_WAIT, ROLE_VIEWER, ANYONE, handle_wait},
    {ISLR__ENVELOPE__BODY_WATCH, ROLE_VIEWER, ANYONE, handle_watch},
    {ISLR__ENVELOPE__BODY_CONTROL, ROLE_SUBMITTER, ANYONE, handle_control},
    {ISLR__ENVELOPE__BODY_GET_LIMITS, ROLE_VIEWER, ANYONE, handle_get_limits},
    {ISLR__ENVELOPE__BODY_SET_LIMITS, ROLE_ADMIN, ANYONE, handle_set_limits},
    {ISLR__ENVELOPE__BODY_LIST_CHECKPOINTS, ROLE_WORKER, ANYONE, handle_list_checkpoints},
    {ISLR__ENVELOPE__BODY_FETCH, ROLE_WORKER, ANYONE, handle_fetch},
    {ISLR__ENVELOPE__BODY_COLLECT, ROLE_SUBMITTER, ANYONE, handle_collect},
    {ISLR__ENVELOPE__BODY_LIST_WORKERS, ROLE_VIEWER, ANYONE, handle_list_workers},
    {ISLR__ENVELOPE__BODY_GET_STATUS, ROLE_VIEWER, ANYONE, handle_get_status},
    {ISLR__ENVELOPE__BODY_CREATE_TOKEN, ROLE_ADMIN, ANYONE, handle_create_token},
    {ISLR__ENVELOPE__BODY_LIST_TOKENS, ROLE_ADMIN, ANYONE, handle_list_tokens},
    {ISLR__ENVELOPE__BODY_REVOKE_TOKENS, ROLE_ADMIN, ANYONE, handle_revoke_tokens},
    {ISLR__ENVELOPE__BODY_REGISTER, ROLE_WORKER, RANK, handle_register},
    {ISLR__ENVELOPE__BODY_RECORDS, ROLE_WORKER, REGISTERED, handle_records},
    {ISLR__ENVELOPE__BODY_PUT, ROLE_WORKER, REGISTERED, handle_put},
    {ISLR__ENVELOPE__BODY_ADD_CHECKPOINT, ROLE_WORKER, REGISTERED, handle_add_checkpoint},
    {ISLR__ENVELOPE__BODY_FINISHED, ROLE_WORKER, REGISTERED, handle_finished},
    {ISLR__ENVELOPE__BODY_PROGRESS, ROLE_WORKER, REGISTERED, handle_progress},
    {ISLR__ENVELOPE__BODY_PULSE, ROLE_WORKER, REGISTERED, handle_pulse},
    {ISLR__ENVELOPE__BODY_LEAVING, ROLE_WORKER, REGISTERED, handle_leaving},
};

static const char *const role_names[] = {"nobody", "worker", "viewer", "submitter", "admin"};

const char *session_role_name(enum session_role r)
{
    return role_names[r];
}

enum session_role session_role_parse(const char *name)
{
    for (int r = ROLE_ADMIN; r > ROLE_NOBODY; r--)
        if (!strcmp(role_names[r], name))
            return (enum session_role)r;
    return ROLE_NOBODY;
}

// ---- life -----------------------------------------------------------------------------------------------------------

struct session *session_hold(struct session *session)
{
    session->refs++;
    session_throttle(session);
    return session;
}

struct session *session_hold_standing(struct session *session)
{
    session->standing++;
    return session_hold(session);
}

void session_drop_standing(struct session *session)
{
    session->standing--;
    session_drop(session);
}

Islr__Envelope *session_keep_message(struct session *session)
{
    Islr__Envelope *m = peer_keep_message(session->peer);
    session->kept += envelope_cost(m);
    session_throttle(session);
    return m;
}

void session_free_message(struct session *session, Islr__Envelope *m)
{
    if (!m)
        return;
    session->kept -= envelope_cost(m);
    envelope_free(m);
    session_throttle(session);
}

void session_drop(struct session *session)
{
    if (--session->refs) {
        session_throttle(session);
        return;
    }
    struct server *s = session->server;
    if (session->previous)
        session->previous->next = session->next;
    else
        s->sessions.first = session->next;
    if (session->next)
        session->next->previous = session->previous;
    free(session->as.world);
    free(session);
    server_check_stopped(s);
}

static void on_close(struct peer *p, const struct error *why)
{
    struct session *session = peer_context(p);
    if (why->code != ERR_NONE)
        log_debug(session->server->log, "connection of %s: %s", *session->user ? session->user : "a stranger",
                  why->text);
    follow_forget(session);
    wait_forget(session);
    watch_forget(session);
    if (session->worker)
        worker_away(session->worker, (uint32_t)peer_silent_ms(p));
    session->peer = NULL;
    session->server->sessions.connected--;
    pieces_drained(session); // nobody is there for it any more
    session_drop(session);
}

// ---- sending --------------------------------------------------------------------------------------------------------

static int sent(struct session *session, int rc, const struct error *why)
{
    if (rc && why->code != ERR_UNREACHABLE) // else the connection is closing
        log_error(session->server->log, "for %s: %s", session->user, why->text);
    return rc;
}

int session_send(struct session *session, Islr__Envelope *m)
{
    struct error e;
    return session->peer ? sent(session, peer_send(session->peer, m, &e), &e) : -1;
}

int session_reply(struct session *session, uint64_t id, Islr__Envelope *m)
{
    struct error e;
    return session->peer ? sent(session, peer_reply(session->peer, id, m, &e), &e) : -1;
}

void session_reply_ok(struct session *session, uint64_t id)
{
    if (session->peer)
        peer_reply_ok(session->peer, id);
}

void session_reply_fault(struct session *session, uint64_t id, const struct error *why)
{
    if (session->peer)
        peer_reply_fault(session->peer, id, why);
}

void session_end(struct session *session, const struct error *why)
{
    if (session->peer)
        peer_end(session->peer, why);
}

void session_note_refused(struct session *session, const Islr__Envelope *m, const struct error *why)
{
    struct server *s = session->server;
    s->refused_reports++;
    if (!session->refused++)
        log_warn(s->log, "refused a message (%s) of %s: %s", envelope_name(m), session->user, why->text);
}

void session_refuse(struct session *session, const Islr__Envelope *m, const struct error *why)
{
    session_note_refused(session, m, why);
    if (m->id)
        session_reply_fault(session, m->id, why);
}

void session_throttle(struct session *session)
{
    unsigned under_way = session->refs - session->standing - 1; // while it is connected
    int wanted = session->records_waiting >= WAITING_MAX || session->puts_waiting >= WAITING_MAX ||
                 under_way >= RPC_UNDER_WAY_MAX || session->kept >= RPC_KEPT_MAX;
    if (session->peer && wanted != session->throttled)
        peer_throttle(session->peer, session->throttled = wanted);
}

// ---- greeting -------------------------------------------------------------------------------------------------------

static int identify_user(struct session *session, const struct peer_identity *who)
{
    text_fit(session->user, sizeof session->user, who->user);
    session->role = who->uid == geteuid() || who->uid == 0 ? ROLE_ADMIN : ROLE_SUBMITTER;
    return 0;
}

static int identify_token(struct session *session, const char *text, struct error *e)
{
    struct server *s = session->server;
    const char *from = peer_identity(session->peer)->address;
    if (!text || !*text)
        return error_set(e, ERR_DENIED, "a token is needed here: `islrctl token create` on the server makes one");
    const struct token_row *t = token_check(&s->tokens, text, server_now_ms(), e);
    if (!t) {
        log_warn(s->log, "refused a connection from %s: %s", from, e->text);
        peer_blame(session->peer);
        return -1;
    }
    text_fit(session->user, sizeof session->user, t->user);
    session->role = session_role_parse(t->role);
    session->token = t->id;
    session->expires_ms = t->expires_ms;
    return 0;
}

static int check_hello(struct session *session, const Islr__Hello *hello, struct error *e)
{
    const struct peer_identity *who = peer_identity(session->peer);
    if (hello->protocol != RPC_PROTOCOL)
        return error_set(e, ERR_INVALID,
                         "islr %s speaks protocol %u, this server (islrd %s) protocol %u: install the same version",
                         hello->version ? hello->version : "?", hello->protocol, ISLR_VERSION, RPC_PROTOCOL);
    if (hello->role == ISLR__HELLO__ROLE__ROLE_WORKER && (!hello->version || strcmp(hello->version, ISLR_VERSION)))
        return error_set(e, ERR_INVALID,
                         "this worker is islr %s, the server islrd %s: runs are worked on by the server's own version, "
                         "so install the same one",
                         hello->version ? hello->version : "?", ISLR_VERSION);
    if ((who->known ? identify_user(session, who) : identify_token(session, hello->token, e)))
        return -1;
    session->is_worker = hello->role == ISLR__HELLO__ROLE__ROLE_WORKER;
    if (session->is_worker && session->role != ROLE_ADMIN && session->role != ROLE_WORKER)
        return error_set(
            e, ERR_DENIED,
            "%s (%s) may not work here: workers run as the server's user or as root on its socket, or with "
            "a worker's token",
            session->user, session_role_name(session->role));
    return 0;
}

static void welcome(struct session *session, uint64_t id)
{
    struct server *s = session->server;
    Islr__Welcome w = ISLR__WELCOME__INIT;
    Islr__Envelope m = ENVELOPE(WELCOME, welcome, &w);
    w.has_protocol = w.has_time_ms = 1;
    w.protocol = RPC_PROTOCOL;
    w.version = ISLR_VERSION;
    w.server_id = s->id;
    w.user = session->user;
    w.role = session->is_worker ? "worker" : (char *)session_role_name(session->role);
    w.time_ms = server_now_ms();
    session_reply(session, id, &m);
}

static void greet(struct session *session, const Islr__Envelope *m)
{
    struct error e;
    if (session->role != ROLE_NOBODY) {
        error_set(&e, ERR_INVALID, "hello was said before");
        session_end(session, &e);
    } else if (check_hello(session, m->hello, &e)) {
        session->role = ROLE_NOBODY;
        session_reply_fault(session, m->id, &e);
        session_end(session, NULL);
    } else {
        peer_recognise(session->peer);
        welcome(session, m->id);
    }
}

// ---- messages -------------------------------------------------------------------------------------------------------

static const struct handler *find_handler(Islr__Envelope__BodyCase body)
{
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        if (handlers[i].body == body)
            return &handlers[i];
    return NULL;
}

static int check_message(const struct session *session, const struct handler *h, const Islr__Envelope *m,
                         struct error *e)
{
    if (!h)
        return error_set(e, ERR_INVALID, "a server takes no message of the kind %s", envelope_name(m));
    if (session->role < h->role)
        return error_set(e, ERR_DENIED, "%s (%s) may not do this: it takes the role %s", session->user,
                         session_role_name(session->role), session_role_name(h->role));
    if (h->sender != ANYONE && !session->is_worker)
        return error_set(e, ERR_DENIED, "only workers send %s", envelope_name(m));
    if (session->server->stopping)
        return error_set(e, ERR_UNREACHABLE, "the server is shutting down");
    return 0;
}

static void on_message(struct peer *p, Islr__Envelope *m)
{
    struct session *session = peer_context(p);
    struct error e;
    if (m->body_case == ISLR__ENVELOPE__BODY_HELLO) {
        greet(session, m);
        return;
    }
    const struct handler *h = find_handler(m->body_case);
    if (check_message(session, h, m, &e)) {
        if (m->id)
            session_reply_fault(session, m->id, &e);
        else
            session_end(session, &e);
    } else if (h->sender == REGISTERED && !session->as.world) {
        error_set(&e, ERR_DENIED, "a rank registers before it sends %s", envelope_name(m));
        session_refuse(session, m, &e);
        if (!m->id)
            session_end(session, &e);
    } else {
        h->handle(session, m);
    }
}

static void on_drained(struct peer *p)
{
    follow_drained(peer_context(p));
    wait_drained(peer_context(p));
    pieces_drained(peer_context(p));
}

void session_open(struct server *s, struct peer *p)
{
    static const struct peer_events events = {on_message, on_drained, on_close};
    struct session *session = xcalloc(1, sizeof *session);
    session->server = s;
    session->peer = p;
    session->refs = 1;
    session->next = s->sessions.first;
    if (session->next)
        session->next->previous = session;
    s->sessions.first = session;
    s->sessions.connected++;
    peer_start(p, &events, session);
}

void sessions_hang_up(struct sessions *all)
{
    for (struct session *session = all->first; session; session = session->next) {
        if (!session->peer)
            continue;
        if (peer_queued(session->peer))
            peer_end(session->peer, NULL);
        else
            peer_close(session->peer, NULL);
    }
}

void sessions_cut(struct sessions *all)
{
    for (struct session *session = all->first; session; session = session->next)
        if (session->peer)
            peer_close(session->peer, NULL);
}

static void end_for(struct session *session, const char *what)
{
    struct error why;
    error_set(&why, ERR_DENIED, "the token %llu of %s %s", (unsigned long long)session->token, session->user, what);
    session->role = ROLE_NOBODY; // also for what has arrived already
    session_end(session, &why);
}

void sessions_end_token(struct sessions *all, uint64_t token)
{
    for (struct session *session = all->first; session; session = session->next)
        if (session->token == token)
            end_for(session, "was revoked");
}

void sessions_tick(struct sessions *all, int64_t now_ms)
{
    for (struct session *session = all->first; session; session = session->next)
        if (session->expires_ms && now_ms >= session->expires_ms && session->role != ROLE_NOBODY)
            end_for(session, "has expired");
}
