// Where a rank is: kept in memory for `workers`, `list` and live screens. Nothing of it is a record.
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/store/text.h"
#include "daemon/serve_attempt.h"
#include "daemon/serve_group.h"
#include "daemon/serve_handlers.h"
#include "daemon/serve_server.h"

// The number of steps is the one thing worth keeping: `list` shows it when the run has long ended.
struct keeping {
    struct run_steps request;
    struct server *server;
};

static void kept(struct store_op *op)
{
    struct keeping *k = (struct keeping *)op;
    struct server *s = k->server;
    struct run *r = runs_find(&s->runs, k->request.run);
    if (r && op->status == STORE_DONE)
        r->steps_stored = k->request.steps;
    free(k);
    server_settled(s);
}

static void keep_steps(struct server *s, const struct run *r)
{
    struct keeping *k = xcalloc(1, sizeof *k);
    k->server = s;
    k->request.run = r->id;
    k->request.steps = r->steps;
    k->request.op.done = kept;
    run_steps_prepare(&k->request);
    server_queue(s, &k->request.op);
}

void handle_progress(struct session *session, Islr__Envelope *m)
{
    const Islr__Progress *p = m->progress;
    struct server *s = session->server;
    struct worker *w = session->worker;
    if (!w || attempt_refuse_foreign(session, m, p->run, p->attempt))
        return;
    w->step = p->step;
    text_fit(w->doing, sizeof w->doing, p->doing ? p->doing : "");
    struct run *r = runs_find(&s->runs, p->run);
    if (!r || !r->gang_count || r->now.attempt != p->attempt || r->gang[0].worker != w)
        return;
    r->step = p->step;
    r->steps = p->steps;
    if (r->steps && r->steps != r->steps_stored && !r->now.group) { // a group's are its members'
        r->steps_stored = r->steps; // asked for once; again when that failed and they change
        keep_steps(s, r);
    }
    Islr__Progress told = *p; // to followers goes what is known here, and a text that is not longer than it should be
    told.base.n_unknown_fields = 0;
    told.doing = w->doing;
    follow_progress(s, r->id, &told);
    r->clips_per_second = p->clips_per_second;
    watch_changed(s, WATCH_PROGRESS);
    group_progressed(s, r);
}
