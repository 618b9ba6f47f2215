// Submit: checked whole, answered when the run is durable, a large group when its row and what its members are made from
// are (serve_expand.h). The server never opens what a job's paths name.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/rpc/reference.h"
#include "core/spec/spec.h"
#include "core/store/run.h"
#include "daemon/serve_expand.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_members.h"
#include "daemon/serve_server.h"

enum { KEY_MAX = 256, AFTER_MAX = 1000, PRIORITY_MAX = 1000000 };

struct submission {
    struct run_submit request;
    struct session *session; // held as long as there is the message, also while the members of a large group are made
    struct user *user;
    Islr__Envelope *m;
    uint8_t *spec, *recipe;
    struct run_named *named;
    size_t named_count;
    struct expansion *expansion; // of a large group, from when its row is on its way to the database
    struct members members;
    struct run_member *items; // of a small group
    struct server_job job;    // that makes them
    struct expand_waiter waiting;
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

// What the job takes from other runs. A worker would find out that there is no such run, but only when its turn comes.
static int note_named(struct submission *x, struct error *e)
{
    Islr__JobSpec *job = x->m->submit->job;
    char name[32], **field;
    x->named = xcalloc(3 + job->n_models, sizeof *x->named);
    for (size_t i = 0; (field = reference_field(job, i, name)); i++) {
        struct reference r;
        if (reference_parse(*field, &r, e))
            return error_prefix(e, "%s", name);
        if (r.kind != REFERENCE_RUN)
            continue;
        x->named[x->named_count].run = r.run;
        memcpy(x->named[x->named_count++].field, name, sizeof name);
    }
    return 0;
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

static void free_submission(void *submission)
{
    struct submission *x = submission;
    if (x->items)
        members_put_back(x->items, x->members.count);
    free(x->items);
    members_close(&x->members);
    free(x->spec);
    free(x->recipe);
    free(x->named);
    free(x->refusal);
    session_free_message(x->session, x->m);
    session_drop(x->session);
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

// A new run or group.
static void take_over(struct server *s, struct submission *x)
{
    if (x->recipe) {
        expand_begin(x->expansion, &x->request, &x->members, x, free_submission);
        return;
    }
    expand_take_in(s, &x->request, &x->members);
    free_submission(x);
}

static void done(struct store_op *op)
{
    struct submission *x = (struct submission *)op;
    struct session *session = x->session;
    struct server *s = session->server;
    x->user->submitting -= x->runs;
    if (op->status == STORE_DONE)
        reply_submitted(session, x->m->id, x->request.now.run, x->request.existed,
                        x->request.existed ? 0 : x->members.direct);
    else
        session_reply_fault(session, x->m->id, &op->error);
    int fresh = op->status == STORE_DONE && !x->request.existed;
    if (!fresh && x->expansion)
        expand_cancel(x->expansion);
    if (fresh)
        take_over(s, x);
    else
        free_submission(x);
    server_settled(s);
}

// The members, or what they will be made from.
static void add_members(struct submission *x)
{
    struct run_submit *r = &x->request;
    r->member_count = x->members.count;
    if (x->members.count < EXPAND_FROM) {
        r->members = x->items = xcalloc(x->members.count + 1, sizeof *x->items);
        members_take(&x->members, 0, x->members.count, x->items);
        return;
    }
    r->recipe_size = islr__submit__get_packed_size(x->m->submit);
    r->recipe = x->recipe = xmalloc(r->recipe_size);
    islr__submit__pack(x->m->submit, x->recipe);
}

static void queue(struct server *s, struct expand_waiter *w)
{
    struct submission *x = (struct submission *)((char *)w - offsetof(struct submission, waiting));
    if (x->recipe)
        x->expansion = expand_announce(s);
    server_queue(s, &x->request.op);
}

static void hand_over(struct submission *x)
{
    Islr__Submit *q = x->m->submit;
    struct server *s = x->session->server;
    x->user = users_take(&s->users, x->session->user);
    x->runs = (unsigned)members_runs(&x->members);
    x->refusal = find_refusal(s, x->user, x->runs);
    x->user->submitting += x->runs;
    size_t size = islr__job_spec__get_packed_size(q->job);
    x->spec = xmalloc(size ? size : 1);
    islr__job_spec__pack(q->job, x->spec);
    x->request = (struct run_submit){.user = x->user->name,
                                     .job_hash = spec_hash(q->job),
                                     .spec = x->spec,
                                     .spec_size = size,
                                     .refusal = x->refusal,
                                     .time_ms = server_now_ms()};
    x->request.named = x->named;
    x->request.named_count = x->named_count;
    members_describe(&x->members, &x->request);
    add_members(x);
    x->request.op.done = done;
    run_submit_prepare(&x->request);
    expand_wait(s, &x->waiting, q->after, q->n_after, queue); // runs of groups that are not whole yet
}

// ---- the group's runs: all but quick ones in the pool ----------------------------------------------------------------

static struct submission *submission_of(struct server_job *job)
{
    return (struct submission *)((char *)job - offsetof(struct submission, job));
}

static void make(struct server_job *job)
{
    struct submission *x = submission_of(job);
    x->failed = note_named(x, &x->error) || members_open(&x->members, x->m->submit, 0, &x->error);
}

static int made(struct server_job *job)
{
    struct submission *x = submission_of(job);
    struct session *session = x->session;
    if (!x->failed && !x->m->submit->dry_run) {
        hand_over(x);
    } else {
        if (x->failed)
            session_reply_fault(session, x->m->id, &x->error);
        else
            reply_submitted(session, x->m->id, 0, 0, x->members.direct);
        free_submission(x);
    }
    return 0;
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
    x->m = session_keep_message(session);
    x->job = (struct server_job){.server = session->server, .session = session, .run = make, .done = made};
    if (!members_are_quick(m->submit)) {
        server_job_start(&x->job);
    } else {
        make(&x->job);
        made(&x->job);
    }
}
