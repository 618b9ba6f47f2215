// Control: cancel, hold, release, retry, priority, pin, unpin, drain, resume-scheduling. Each target is a request of
// its own; all are tried, and the answer comes when the last is durable: Ok, or what went wrong with which.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/checkpoint.h"
#include "core/store/run.h"
#include "core/store/setting.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

enum { TARGETS_MAX = 10000, PRIORITY_MAX = 1000000 };

// One request with all its targets.
struct control {
    struct session *session;
    Islr__Envelope *m;
    char *reason; // "cancelled by ann"
    size_t left;
    enum error_code code; // of the first target that failed
    struct strbuf faults;
};

struct target {
    union {
        struct store_op op;
        struct run_verb run;
        struct checkpoint_pin pin;
    } request;
    struct control *control;
    struct expand_waiter waiting;
};

static void finish(struct control *c)
{
    if (c->code) {
        struct error e;
        error_set(&e, c->code, "%s", c->faults.text);
        session_reply_fault(c->session, c->m->id, &e);
    } else {
        session_reply_ok(c->session, c->m->id);
    }
    session_free_message(c->session, c->m);
    session_drop(c->session);
    free(c->reason);
    free(c->faults.text);
    free(c);
}

static const struct {
    Islr__Control__Verb verb;
    enum run_verb_kind kind;
    const char *did; // for the event
} run_verbs[] = {
    {ISLR__CONTROL__VERB__VERB_CANCEL, RUN_STOP, "cancelled"},
    {ISLR__CONTROL__VERB__VERB_HOLD, RUN_HOLD, "held"},
    {ISLR__CONTROL__VERB__VERB_RELEASE, RUN_RELEASE, "released"},
    {ISLR__CONTROL__VERB__VERB_RETRY, RUN_RETRY, "retried"},
    {ISLR__CONTROL__VERB__VERB_SET_PRIORITY, RUN_PRIORITY, "set"},
};
enum { RUN_VERBS = sizeof run_verbs / sizeof *run_verbs };

static size_t find_run_verb(Islr__Control__Verb verb)
{
    size_t i = 0;
    while (i < RUN_VERBS && run_verbs[i].verb != verb)
        i++;
    return i;
}

static void target_done(struct store_op *op)
{
    struct target *t = (struct target *)op;
    struct control *c = t->control;
    struct server *s = c->session->server;
    Islr__Control__Verb verb = c->m->control->verb;
    if (op->status != STORE_DONE) {
        c->code = c->code ? c->code : op->error.code;
        strbuf_printf(&c->faults, "%s%s", c->faults.length ? "; " : "", op->error.text);
    } else if (verb != ISLR__CONTROL__VERB__VERB_PIN && verb != ISLR__CONTROL__VERB__VERB_UNPIN) {
        const struct run_verb *r = &t->request.run;
        void (*take)(struct server *, const struct run_now *) =
            verb == ISLR__CONTROL__VERB__VERB_CANCEL ? run_stopped : run_update;
        for (size_t i = 0; i < r->member_count; i++)
            take(s, &r->members[i]);
        take(s, &r->now);
    }
    if (find_run_verb(verb) < RUN_VERBS)
        free(t->request.run.members);
    free(t);
    if (!--c->left)
        finish(c);
    server_settled(s);
}

// ---- runs and checkpoints -------------------------------------------------------------------------------------------

static void prepare(struct target *t, const struct session *session, uint64_t id)
{
    const struct control *c = t->control;
    const Islr__Control *q = c->m->control;
    const char *as_user = session->role >= ROLE_ADMIN ? NULL : session->user;
    size_t i = find_run_verb(q->verb);
    if (i < RUN_VERBS) {
        t->request.run = (struct run_verb){.kind = run_verbs[i].kind,
                                           .run = id,
                                           .as_user = as_user,
                                           .reason = c->reason,
                                           .stop_why = ISLR__STOP__WHY__WHY_CANCEL,
                                           .priority = q->priority,
                                           .time_ms = server_now_ms()};
        run_verb_prepare(&t->request.run);
    } else {
        t->request.pin =
            (struct checkpoint_pin){.as_user = as_user, .id = id, .pinned = q->verb == ISLR__CONTROL__VERB__VERB_PIN};
        checkpoint_pin_prepare(&t->request.pin);
    }
    t->request.op.done = target_done;
}

static int check(const struct session *session, const Islr__Control *q, struct error *e)
{
    if (!q->n_targets || q->n_targets > TARGETS_MAX)
        return error_set(e, ERR_INVALID, "1 to %d runs or checkpoints can be named at a time", TARGETS_MAX);
    if (q->verb != ISLR__CONTROL__VERB__VERB_SET_PRIORITY)
        return 0;
    if (!q->has_priority || q->priority > PRIORITY_MAX || q->priority < -PRIORITY_MAX)
        return error_set(e, ERR_INVALID, "the priority must be from -%d to %d", PRIORITY_MAX, PRIORITY_MAX);
    if (q->priority > 0 && session->role < ROLE_ADMIN)
        return error_set(e, ERR_DENIED, "only admins may give a priority above 0");
    return 0;
}

static void queue(struct server *s, struct expand_waiter *w)
{
    struct target *t = (struct target *)((char *)w - offsetof(struct target, waiting));
    server_queue(s, &t->request.op);
}

static void control_targets(struct session *session, Islr__Envelope *m)
{
    const Islr__Control *q = m->control;
    struct error e;
    if (check(session, q, &e)) {
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct control *c = xcalloc(1, sizeof *c);
    size_t i = find_run_verb(q->verb);
    c->session = session_hold(session);
    c->m = session_keep_message(session);
    c->reason = xprintf("%s by %s", i < RUN_VERBS ? run_verbs[i].did : "pinned", session->user);
    c->left = q->n_targets;
    for (size_t k = 0; k < q->n_targets; k++) {
        struct target *t = xcalloc(1, sizeof *t);
        t->control = c;
        prepare(t, session, q->targets[k]);
        expand_wait(session->server, &t->waiting, &q->targets[k], find_run_verb(q->verb) < RUN_VERBS, queue);
    }
}

// ---- the server's scheduling ----------------------------------------------------------------------------------------

struct draining {
    struct setting_set request;
    struct session *session;
    uint64_t id;
    char *event;
    int now; // what runs is to stop
};

static void draining_done(struct store_op *op)
{
    struct draining *d = (struct draining *)op;
    struct server *s = d->session->server;
    if (op->status == STORE_DONE) {
        schedule_set_draining(&s->schedule, d->request.now);
        log_info(s->log, "%s", d->event);
        if (d->now)
            attempts_drain(s, d->event);
        schedule_soon(s);
        session_reply_ok(d->session, d->id);
    } else {
        session_reply_fault(d->session, d->id, &op->error);
    }
    session_drop(d->session);
    free(d->event);
    free(d);
    server_settled(s);
}

static void control_draining(struct session *session, const Islr__Envelope *m, int on)
{
    struct error e;
    if (session->role < ROLE_ADMIN) {
        error_set(&e, ERR_DENIED, "only admins may pause scheduling");
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct draining *d = xcalloc(1, sizeof *d);
    d->session = session_hold(session);
    d->id = m->id;
    d->now = on && m->control->now;
    d->event = xprintf(on ? "drained by %s" : "scheduling resumed by %s", session->user);
    d->request = (struct setting_set){
        .name = DRAINING_SETTING, .value = on ? d->event : "", .event = d->event, .time_ms = server_now_ms()};
    d->request.op.done = draining_done;
    setting_set_prepare(&d->request);
    server_queue(session->server, &d->request.op);
}

void handle_control(struct session *session, Islr__Envelope *m)
{
    struct error e;
    switch (m->control->verb) {
    case ISLR__CONTROL__VERB__VERB_CANCEL:
    case ISLR__CONTROL__VERB__VERB_HOLD:
    case ISLR__CONTROL__VERB__VERB_RELEASE:
    case ISLR__CONTROL__VERB__VERB_RETRY:
    case ISLR__CONTROL__VERB__VERB_SET_PRIORITY:
    case ISLR__CONTROL__VERB__VERB_PIN:
    case ISLR__CONTROL__VERB__VERB_UNPIN:
        control_targets(session, m);
        return;
    case ISLR__CONTROL__VERB__VERB_DRAIN:
        control_draining(session, m, 1);
        return;
    case ISLR__CONTROL__VERB__VERB_RESUME_SCHEDULING:
        control_draining(session, m, 0);
        return;
    default:
        error_set(&e, ERR_INVALID, "the server does not know how to do %d", (int)m->control->verb);
        session_reply_fault(session, m->id, &e);
    }
}
