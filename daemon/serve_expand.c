// Members of large groups: see serve_expand.h.
#include "daemon/serve_expand.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "daemon/serve_members.h"
#include "daemon/serve_server.h"

enum {
    CHUNK = 100, // members of one request to the store: others wait a few milliseconds for it
    BRIEFLY_MS = 200
};

struct expansion {
    struct run_expand request;
    enum { ANNOUNCED, READY, CANCELLED } state;
    struct expansion *next;
    struct server *server;
    uint64_t place;               // in the order of all
    uint64_t first_run, last_run; // the group and its members; all that are not known yet, until its row is there
    struct run_submit of;         // its members: the chunk
    struct members members;
    struct user *user;
    unsigned runs; // that it adds to his queue
    uv_work_t work;
    struct run_member chunk[CHUNK];
    size_t made;
    void *owned;
    void (*release)(void *owned);
};

// ---- waiting --------------------------------------------------------------------------------------------------------

static void ring(uv_timer_t *timer);

static void wait(struct server *s, struct expand_waiter *w)
{
    struct expansions *all = &s->expansions;
    s->pending++; // it is under way
    w->next = NULL;
    if (all->waiting)
        all->end->next = w;
    else
        all->waiting = w;
    all->end = w;
    if (w->deadline && !uv_is_active((uv_handle_t *)&all->timer))
        uv_timer_start(&all->timer, ring, BRIEFLY_MS, 0);
}

// The last group that one of the runs may belong to, as its place in the order; 0: none.
static uint64_t last_of(const struct expansions *all, const uint64_t *runs, size_t count)
{
    uint64_t last = 0;
    for (const struct expansion *x = all->first; x; x = x->next)
        for (size_t i = 0; i < count && last != x->place; i++)
            if (x->state != CANCELLED && runs[i] >= x->first_run && runs[i] <= x->last_run)
                last = x->place;
    return last;
}

void expand_wait(struct server *s, struct expand_waiter *w, const uint64_t *runs, size_t count,
                 void (*go)(struct server *s, struct expand_waiter *w))
{
    struct expansions *all = &s->expansions;
    w->go = go;
    w->deadline = 0;
    w->until = all->stuck ? 0 : last_of(all, runs, count);
    if (w->until)
        wait(s, w);
    else
        go(s, w);
}

void expand_wait_briefly(struct server *s, struct expand_waiter *w,
                         void (*go)(struct server *s, struct expand_waiter *w))
{
    struct expansions *all = &s->expansions;
    w->go = go;
    w->until = all->begun;
    w->deadline = uv_now(s->loop) + BRIEFLY_MS;
    if (all->first && !all->stuck)
        wait(s, w);
    else
        go(s, w);
}

// Those that have waited long enough; all of them, when it may take long. They may have others wait.
static void let_go(struct server *s)
{
    struct expansions *all = &s->expansions;
    struct expand_waiter *w = all->waiting, *next;
    all->waiting = NULL;
    for (; w; w = next) {
        next = w->next;
        int over = w->until <= all->ended || all->stuck || (w->deadline && uv_now(s->loop) >= w->deadline);
        s->pending--;
        if (!over) {
            wait(s, w);
            continue;
        }
        w->go(s, w);
        server_check_stopped(s);
    }
}

static void ring(uv_timer_t *timer)
{
    struct server *s = timer->data;
    let_go(s);
    for (struct expand_waiter *w = s->expansions.waiting; w; w = w->next)
        if (w->deadline) { // the first of them: all wait as long
            uint64_t now = uv_now(s->loop);
            uv_timer_start(timer, ring, w->deadline > now ? w->deadline - now : 0, 0);
            return;
        }
}

// ---- the end --------------------------------------------------------------------------------------------------------

// A run that waits for nothing is known whole; what others wait for is read back from the database.
static void take_run(struct server *s, const struct run_submit *of, const struct run_now *now, const Islr__JobSpec *job)
{
    if (of->after_count) {
        run_fetch(s, now->run);
        return;
    }
    struct run_live live = {.now = *now, .user = (char *)of->user, .job = job};
    run_take(s, &live);
}

static void note_highest(struct expansions *all, uint64_t run)
{
    all->highest = run > all->highest ? run : all->highest;
}

void expand_take_in(struct server *s, const struct run_submit *of, struct members *members)
{
    if (!of->group)
        take_run(s, of, &of->now, members->submit->job);
    note_highest(&s->expansions, of->now.run + members->count);
    for (size_t i = 0; i < members->count; i++) {
        const Islr__JobSpec *job = members_job(members, i);
        struct run_now now = of->now; // its user, state and priority
        now.run = of->now.run + 1 + i;
        now.parent = of->now.run + (uint64_t)(members_parent(members, i) + 1);
        now.group = RUN_ALONE;
        now.max_attempts = job->retry->max_attempts ? job->retry->max_attempts : 1;
        *now.reason = 0;
        if (!members_group_of(job))
            take_run(s, of, &now, job);
    }
}

static void start(struct expansion *x);

// Takes the first one out, which is over, and those behind it that are so too; begins with the next.
static void drop_first(struct server *s)
{
    struct expansions *all = &s->expansions;
    do {
        struct expansion *x = all->first;
        all->first = x->next;
        all->last = all->first ? all->last : NULL;
        all->ended++;
        free(x);
    } while (all->first && all->first->state == CANCELLED);
    let_go(s);
    if (all->first && all->first->state == READY)
        start(all->first);
}

static void let_go_of(struct expansion *x)
{
    members_close(&x->members);
    if (x->release)
        x->release(x->owned);
}

// All its members are there, or it has to be left to the next start.
static void finish(struct expansion *x, int whole)
{
    x->user->submitting -= x->runs;
    if (whole)
        expand_take_in(x->server, &x->of, &x->members);
    let_go_of(x);
    drop_first(x->server);
}

// ---- one chunk after the other --------------------------------------------------------------------------------------

static void make(uv_work_t *w)
{
    struct expansion *x = w->data;
    members_take(&x->members, x->made, x->of.member_count, x->chunk);
}

static void expanded(struct store_op *op)
{
    struct expansion *x = (struct expansion *)op;
    struct server *s = x->server;
    s->expansions.stuck = op->status == STORE_TROUBLE;
    if (s->expansions.stuck)
        let_go(s);
    if (retry_later(s, op))
        return;
    members_put_back(x->chunk, x->of.member_count);
    x->made += x->of.member_count;
    if (op->status != STORE_DONE)
        log_error(s->log, "the runs of the group %llu cannot be made: %s", (unsigned long long)x->of.now.run,
                  op->error.text);
    if (op->status == STORE_DONE && x->made < x->members.count)
        start(x);
    else
        finish(x, op->status == STORE_DONE);
    server_settled(s);
}

static void made(uv_work_t *w, int status)
{
    struct expansion *x = w->data;
    (void)status; // only a cancel would set it, and nothing here cancels
    x->request.of = &x->of;
    x->request.first = x->made;
    x->request.op.done = expanded;
    run_expand_prepare(&x->request);
    server_queue(x->server, &x->request.op);
    server_settled(x->server);
}

static void start(struct expansion *x)
{
    size_t left = x->members.count - x->made;
    x->of.member_count = left < CHUNK ? left : CHUNK;
    x->server->pending++;
    uv_queue_work(x->server->loop, &x->work, make, made);
}

// ---- the beginning --------------------------------------------------------------------------------------------------

struct expansion *expand_announce(struct server *s)
{
    struct expansions *all = &s->expansions;
    struct expansion *x = xcalloc(1, sizeof *x);
    x->server = s;
    x->work.data = x;
    if (all->last)
        all->last->next = x;
    else
        all->first = x;
    all->last = x;
    x->place = ++all->begun;
    x->first_run = all->highest + 1;
    x->last_run = UINT64_MAX;
    return x;
}

void expand_cancel(struct expansion *x)
{
    x->state = CANCELLED;
    if (x->server->expansions.first == x)
        drop_first(x->server);
}

static void describe(struct expansion *x, const struct run_submit *of, struct members *members)
{
    x->state = READY;
    x->of = *of;
    x->of.members = x->chunk;
    x->members = *members;
    x->first_run = of->now.run;
    x->last_run = of->now.run + members->count;
    note_highest(&x->server->expansions, x->last_run);
    memset(members, 0, sizeof *members);
    x->user = users_take(&x->server->users, of->user);
    x->runs = (unsigned)members_runs(&x->members);
    x->user->submitting += x->runs;
}

void expand_begin(struct expansion *x, const struct run_submit *of, struct members *members, void *owned,
                  void (*release)(void *owned))
{
    describe(x, of, members);
    x->owned = owned;
    x->release = release;
    if (x->server->expansions.first == x)
        start(x);
}

// ---- after a crash --------------------------------------------------------------------------------------------------

// What an expansion stands on that the server before has left.
struct found {
    Islr__Submit *submit;
    char *user;
};

static void release_found(void *owned)
{
    struct found *f = owned;
    islr__submit__free_unpacked(f->submit, NULL);
    free(f->user);
    free(f);
}

static int resume(struct server *s, struct store_reader *reader, const struct run_expansion *row, struct error *e)
{
    struct found *f = xcalloc(1, sizeof *f);
    struct members members;
    struct run_submit of = {.time_ms = row->submitted_ms};
    f->submit = islr__submit__unpack(NULL, row->recipe_size, row->recipe);
    f->user = xstrdup(row->user);
    int rc = f->submit && f->submit->job ? 0 : error_set(e, ERR_DAMAGED, "what they are made from is damaged");
    if (!rc) {
        spec_complete(f->submit->job);
        rc = members_open(&members, f->submit, 1, e) || run_read_now(reader, row->run, &of.now, e);
    }
    if (!rc && members.count != row->members)
        rc = error_set(e, ERR_DAMAGED, "they would be %zu, not %zu", members.count, row->members);
    if (rc) {
        release_found(f);
        return -1;
    }
    members_describe(&members, &of);
    of.user = f->user;
    struct expansion *x = expand_announce(s);
    describe(x, &of, &members);
    x->made = row->made;
    x->owned = f;
    x->release = release_found;
    return 0;
}

int expand_recover(struct server *s, struct store_reader *reader, struct error *e)
{
    struct pool pool = {0};
    struct run_expansion *rows;
    size_t count;
    int rc = run_read_expansions(reader, &pool, &rows, &count, e);
    for (size_t i = 0; !rc && i < count; i++) {
        struct error why;
        if (resume(s, reader, &rows[i], &why))
            log_error(s->log, "the runs of the group %llu cannot be made: %s", (unsigned long long)rows[i].run,
                      why.text);
    }
    pool_free(&pool);
    return rc;
}

void expand_start(struct server *s)
{
    if (s->expansions.first)
        start(s->expansions.first);
}

void expand_open(struct server *s)
{
    uv_timer_init(s->loop, &s->expansions.timer);
    s->expansions.timer.data = s;
}

void expand_close(struct server *s, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&s->expansions.timer, closed);
    while (s->expansions.first) {
        struct expansion *x = s->expansions.first;
        s->expansions.first = x->next;
        let_go_of(x);
        free(x);
    }
}
