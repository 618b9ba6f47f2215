// Submit: checked whole, answered when the run is durable. The server never opens what a job's paths name.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/spec/spec.h"
#include "core/store/run.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_members.h"
#include "daemon/serve_server.h"

enum { KEY_MAX = 256, AFTER_MAX = 1000, PRIORITY_MAX = 1000000 };

struct submission {
    struct run_submit request;
    struct session *session;
    struct user *user;
    Islr__Envelope *m;
    uint8_t *spec;
    struct members members;
    uv_work_t work; // that makes them
    struct error error;
    int failed;
    char *refusal;
    unsigned runs; // that this one would add to the queue
};

// The job, with a newer client's unknown fields refused, and what comes with it.
static int check(const struct session *session, Islr__Submit *q, struct error *e)
{
    struct faults faults = {0};
    if (!q->job)
        return error_set(e, ERR_INVALID, "there is no job in the submission");
    if (q->n_variations > RUN_MEMBERS_MAX)
        return error_set(e, ERR_INVALID, "a group can have at most %d runs", RUN_MEMBERS_MAX);
    if (q->key && strlen(q->key) > KEY_MAX)
        return error_set(e, ERR_INVALID, "the key is longer than %d bytes", KEY_MAX);
    if (q->n_after > AFTER_MAX)
        return error_set(e, ERR_INVALID, "a run can wait for at most %d others", AFTER_MAX);
    if (q->priority > PRIORITY_MAX || q->priority < -PRIORITY_MAX)
        return error_set(e, ERR_INVALID, "the priority must be from -%d to %d", PRIORITY_MAX, PRIORITY_MAX);
    if (q->priority > 0 && session->role < ROLE_ADMIN)
        return error_set(e, ERR_DENIED, "only admins may give a priority above 0");
    int rc = spec_check_wire(q->job, &faults);
    if (rc)
        faults_to_error(&faults, e);
    faults_free(&faults);
    return rc;
}

static void reply_submitted(struct session *session, uint64_t id, uint64_t run, int existed, size_t runs)
{
    Islr__Submitted r = ISLR__SUBMITTED__INIT;
    Islr__Envelope m = ENVELOPE(SUBMITTED, submitted, &r);
    r.has_run = r.has_existed = 1;
    r.run = run;
    r.existed = existed;
    r.has_runs = runs > 0;
    r.runs = (uint32_t)runs;
    session_reply(session, id, &m);
}

// A run that waits for nothing is known whole; what others wait for is read back from the database.
static void take_run(struct server *s, const struct submission *x, const struct run_now *now, const Islr__JobSpec *job)
{
    if (x->request.after_count) {
        run_fetch(s, now->run);
        return;
    }
    struct run_live live = {.now = *now, .user = (char *)x->request.user, .job = job};
    run_take(s, &live);
}

static void take_in(struct server *s, const struct submission *x)
{
    if (!x->request.group)
        take_run(s, x, &x->request.now, x->m->submit->job);
    for (size_t i = 0; i < x->members.count; i++) {
        const struct run_member *m = &x->members.items[i];
        struct run_now now = x->request.now; // its user, state and priority
        now.run = m->run;
        now.parent = m->parent < 0 ? x->request.now.run : x->members.items[m->parent].run;
        now.group = RUN_ALONE;
        now.max_attempts = m->max_attempts;
        *now.reason = 0;
        if (!m->group)
            take_run(s, x, &now, x->members.jobs[i]);
    }
}

static void free_submission(struct submission *x)
{
    members_free(&x->members);
    envelope_free(x->m);
    free(x->spec);
    free(x->refusal);
    free(x);
}

// Why this user may have no more runs waiting; NULL: he may. Only the database knows whether the key makes it a run that
// there is already.
static char *find_refusal(struct server *s, const struct user *u, unsigned runs)
{
    double most = user_limit(&s->users, u, LIMIT_QUEUED);
    uint32_t queued;
    if (most <= 0)
        return NULL;
    user_standing(s, u, &queued);
    return queued + runs <= most ? NULL
                                 : xprintf("%s has %u runs waiting, these would be %u more, and the limit is %.0f "
                                           "(islrctl limits)",
                                           u->name, queued, runs, most);
}

static void done(struct store_op *op)
{
    struct submission *x = (struct submission *)op;
    struct session *session = x->session;
    struct server *s = session->server;
    x->user->submitting -= x->runs;
    if (op->status == STORE_DONE) {
        reply_submitted(session, x->m->id, x->request.now.run, x->request.existed,
                        x->request.existed ? 0 : x->members.direct);
        if (!x->request.existed)
            take_in(s, x);
    } else {
        session_reply_fault(session, x->m->id, &op->error);
    }
    free_submission(x);
    session_drop(session);
    server_settled(s);
}

static unsigned count_runs(const struct submission *x)
{
    unsigned runs = !x->members.count;
    for (size_t i = 0; i < x->members.count; i++)
        runs += !x->members.items[i].group;
    return runs;
}

static void hand_over(struct submission *x)
{
    Islr__Submit *q = x->m->submit;
    x->user = users_take(&x->session->server->users, x->session->user);
    x->runs = count_runs(x);
    x->refusal = find_refusal(x->session->server, x->user, x->runs);
    x->user->submitting += x->runs;
    size_t size = islr__job_spec__get_packed_size(q->job);
    x->spec = xmalloc(size ? size : 1);
    islr__job_spec__pack(q->job, x->spec);
    x->request = (struct run_submit){.user = x->session->user,
                                     .name = q->job->name,
                                     .kind = spec_kind_name(q->job->kind),
                                     .key = q->key,
                                     .job_hash = spec_hash(q->job),
                                     .spec = x->spec,
                                     .spec_size = size,
                                     .priority = q->priority,
                                     .hold = q->hold,
                                     .after = q->after,
                                     .after_count = q->n_after,
                                     .after_any = q->after_any,
                                     .max_attempts = q->job->retry->max_attempts ? q->job->retry->max_attempts : 1,
                                     .group = x->members.group,
                                     .members = x->members.items,
                                     .member_count = x->members.count,
                                     .refusal = x->refusal,
                                     .time_ms = server_now_ms()};
    x->request.op.done = done;
    run_submit_prepare(&x->request);
    server_queue(x->session->server, &x->request.op);
}

// ---- the group's runs, in the pool ----------------------------------------------------------------------------------

static void make(uv_work_t *w)
{
    struct submission *x = w->data;
    x->failed = members_make(x->m->submit, &x->members, &x->error) != 0;
}

static void made(uv_work_t *w, int status)
{
    struct submission *x = w->data;
    struct session *session = x->session;
    struct server *s = session->server;
    (void)status;
    if (!x->failed && !x->m->submit->dry_run) {
        hand_over(x);
    } else {
        if (x->failed)
            session_reply_fault(session, x->m->id, &x->error);
        else
            reply_submitted(session, x->m->id, 0, 0, x->members.direct);
        free_submission(x);
        session_drop(session);
    }
    server_settled(s);
}

void handle_submit(struct session *session, Islr__Envelope *m)
{
    struct error e;
    if (check(session, m->submit, &e)) {
        session_reply_fault(session, m->id, &e);
        return;
    }
    struct submission *x = xcalloc(1, sizeof *x);
    x->session = session_hold(session);
    x->m = peer_keep_message(session->peer);
    x->work.data = x;
    session->server->pending++;
    if (m->submit->n_variations) {
        uv_queue_work(session->server->loop, &x->work, make, made);
    } else {
        make(&x->work);
        made(&x->work, 0);
    }
}
