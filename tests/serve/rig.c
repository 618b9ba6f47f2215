// What the server's tests share: see rig.h.
#include "tests/serve/rig.h"

#include <signal.h>
#include <stdio.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/spec/spec.h"

enum { PATIENCE_MS = 100000 }; // sanitizers on a machine with other things to do

// ---- the server -----------------------------------------------------------------------------------------------------

void rig_start_server(struct rig *rig)
{
    struct error e;
    char file[100], where[100] = "127.0.0.1:0";
    if (rig->keep_network)
        snprintf(where, sizeof where, "127.0.0.1:%s", rig->network.port);
    struct server_options options = {.directory = rig->directory,
                                     .log = &rig->log,
                                     .lease_ms = rig->lease_ms,
                                     .hang_ms = RIG_HANG_MS,
                                     .settle_ms = rig->settle_ms,
                                     .listen = rig->listening ? where : NULL};
    rig->server = server_open(&rig->loop, &options, &e);
    if (!rig->server)
        fail_msg("%s", e.text);
    if (!rig->listening)
        return;
    snprintf(file, sizeof file, "%s/tls.pem", rig->directory);
    if (address_parse(server_network_address(rig->server), &rig->network, &e) ||
        address_trust(&rig->network, NULL, file, &e))
        fail_msg("%s", e.text);
}

void rig_open_with(struct rig *rig, int listening, uint32_t lease_ms)
{
    signal(SIGPIPE, SIG_IGN); // as in a server and its clients
    memset(rig, 0, sizeof *rig);
    rig->listening = listening;
    rig->lease_ms = lease_ms;
    strcpy(rig->directory, "/tmp/islr-serve-XXXXXX");
    assert_non_null(mkdtemp(rig->directory));
    rig->log = (struct log){getenv("ISLR_TEST_LOG") ? stderr : NULL, LOG_DEBUG, NULL};
    uv_loop_init(&rig->loop);
    rig_start_server(rig);
}

void rig_open(struct rig *rig)
{
    rig_open_with(rig, 0, RIG_LEASE_MS);
}

void rig_open_listening(struct rig *rig)
{
    rig_open_with(rig, 1, RIG_LEASE_MS);
}

static void set_flag(void *context)
{
    *(int *)context = 1;
}

static int is_any_up(const struct rig *rig)
{
    for (const struct ear *i = rig->ears; i; i = i->next)
        if (i->actor && i->actor->up)
            return 1;
    return 0;
}

void rig_stop_server(struct rig *rig)
{
    int stopped = 0;
    server_stop(rig->server, set_flag, &stopped);
    rig_until(rig, &stopped, "the server's end");
    rig->server = NULL;
    for (unsigned ms = 0; is_any_up(rig);) // or one would be taken for connected to the next server
        rig_wait(rig, &ms, "the connections' end");
}

void rig_hang_up(struct rig *rig)
{
    for (struct ear *i = rig->ears; i; i = i->next) {
        i->actor = NULL;
        link_close(i->link);
    }
    for (unsigned ms = 0; rig->ears;)
        rig_wait(rig, &ms, "the connections' end");
}

void rig_close(struct rig *rig)
{
    rig_hang_up(rig);
    if (rig->server)
        rig_stop_server(rig);
    for (unsigned ms = 0; uv_loop_alive(&rig->loop);)
        rig_wait(rig, &ms, "the loop's end");
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    file_remove_tree(rig->directory, NULL);
}

static void ring(uv_timer_t *timer)
{
    *(int *)timer->data = 1;
    uv_stop(timer->loop); // or uv_run() would wait for something more
}

static void run_loop(struct rig *rig, const int *flag, const int *late)
{
    while (!*flag && !*late)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

static void with_timer(struct rig *rig, unsigned ms, const int *flag, int *late)
{
    uv_timer_t timer;
    uv_timer_init(&rig->loop, &timer);
    timer.data = late;
    uv_update_time(&rig->loop); // the test may have slept
    uv_timer_start(&timer, ring, ms, 0);
    run_loop(rig, flag, late);
    uv_close((uv_handle_t *)&timer, NULL);
    while (uv_is_active((uv_handle_t *)&timer))
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    uv_run(&rig->loop, UV_RUN_NOWAIT);
}

void rig_until(struct rig *rig, const int *flag, const char *what)
{
    int late = 0;
    with_timer(rig, PATIENCE_MS, flag, &late);
    if (!*flag)
        fail_msg("waited in vain for %s", what);
}

void rig_for(struct rig *rig, unsigned ms)
{
    int never = 0, late = 0;
    with_timer(rig, ms, &never, &late);
}

void rig_wait(struct rig *rig, unsigned *waited_ms, const char *what)
{
    if (*waited_ms >= PATIENCE_MS)
        fail_msg("waited in vain for %s", what);
    rig_for(rig, 2);
    *waited_ms += 2;
}

// ---- actors ---------------------------------------------------------------------------------------------------------

static void put_in_inbox(struct ear *ear, Islr__Envelope *m)
{
    struct message **last = &ear->inbox;
    while (*last)
        last = &(*last)->next;
    *last = xcalloc(1, sizeof **last);
    (*last)->m = m;
    ear->come |= m->body_case == ear->awaited;
}

static void on_up(struct link *l, struct peer *p, const Islr__Welcome *welcome)
{
    struct actor *a = ((struct ear *)link_context(l))->actor;
    (void)p;
    if (!a)
        return;
    snprintf(a->role, sizeof a->role, "%s", welcome->role);
    a->up = 1;
}

static void on_message(struct link *l, Islr__Envelope *m)
{
    (void)m;
    put_in_inbox(link_context(l), peer_keep_message(link_peer(l)));
}

static void on_down(struct link *l, const struct error *why, int again_ms)
{
    struct actor *a = ((struct ear *)link_context(l))->actor;
    if (!a)
        return;
    a->why = *why;
    a->refused = again_ms < 0;
    a->up = 0;
}

static void free_ear(struct ear *ear)
{
    struct ear **at = &ear->rig->ears;
    while (*at != ear)
        at = &(*at)->next;
    *at = ear->next;
    while (ear->inbox) {
        struct message *next = ear->inbox->next;
        envelope_free(ear->inbox->m);
        free(ear->inbox);
        ear->inbox = next;
    }
    free(ear);
}

static void on_closed(struct link *l)
{
    struct ear *ear = link_context(l);
    if (ear->actor)
        ear->actor->closed = 1;
    free_ear(ear);
}

static void open_link(struct actor *a, struct rig *rig, const struct link_options *options)
{
    static const struct link_events events = {on_up, on_message, NULL, on_down, on_closed};
    memset(a, 0, sizeof *a);
    a->rig = rig;
    a->ear = xcalloc(1, sizeof *a->ear);
    *a->ear = (struct ear){.next = rig->ears, .rig = rig, .actor = a};
    rig->ears = a->ear;
    a->ear->link = a->link = link_open(&rig->loop, options, &events, a->ear);
}

void actor_open(struct actor *a, struct rig *rig, Islr__Hello__Role role)
{
    struct link_options options = {.role = role, .reconnect = 1};
    struct error e;
    char text[300];
    snprintf(text, sizeof text, "unix:%s/islr.sock", rig->directory);
    assert_int_equal(address_parse(text, &options.address, &e), 0);
    open_link(a, rig, &options);
    actor_wait_up(a);
}

void actor_dial(struct actor *a, struct rig *rig, Islr__Hello__Role role, const char *token)
{
    struct link_options options = {.address = rig->network, .role = role, .token = token, .reconnect = 1};
    open_link(a, rig, &options);
}

void actor_wait_refused(struct actor *a)
{
    rig_until(a->rig, &a->refused, "a refusal");
}

void actor_wait_up(struct actor *a)
{
    rig_until(a->rig, &a->up, "a connection");
}

void actor_close(struct actor *a)
{
    link_close(a->link);
    rig_until(a->rig, &a->closed, "a connection's end");
}

static Islr__Envelope *copy(const Islr__Envelope *m)
{
    size_t size = islr__envelope__get_packed_size(m);
    uint8_t *bytes = xmalloc(size + 1);
    islr__envelope__pack(m, bytes);
    Islr__Envelope *out = islr__envelope__unpack(NULL, size, bytes);
    free(bytes);
    return out;
}

static struct peer *peer_of(struct actor *a)
{
    struct peer *p = link_peer(a->link);
    if (!p)
        fail_msg("the connection is gone: %s", *a->why.text ? a->why.text : "it was never there");
    return p;
}

struct call {
    struct ear *ear;
    int done;
    Islr__Envelope *last;
    struct error why;
};

static void on_reply(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct call *c = context;
    (void)p;
    if (!m)
        c->why = *why;
    else if (envelope_is_last_reply(m))
        c->last = copy(m);
    else
        put_in_inbox(c->ear, copy(m));
    c->done = !m || c->last;
    if (c->done && !c->ear->actor) { // whoever asked has failed meanwhile
        envelope_free(c->last);
        free(c);
    }
}

static struct call call(struct actor *a, Islr__Envelope *m)
{
    struct call *c = xcalloc(1, sizeof *c), result;
    struct error e;
    c->ear = a->ear;
    if (!peer_request(peer_of(a), m, 0, on_reply, c, &e))
        fail_msg("%s", e.text);
    rig_until(a->rig, &c->done, envelope_name(m));
    result = *c;
    free(c);
    return result;
}

Islr__Envelope *actor_call(struct actor *a, Islr__Envelope *m, Islr__Envelope__BodyCase expect)
{
    struct call c = call(a, m);
    if (!c.last)
        fail_msg("%s: %s", envelope_name(m), c.why.text);
    assert_int_equal(c.last->body_case, expect);
    return c.last;
}

void actor_call_ok(struct actor *a, Islr__Envelope *m)
{
    envelope_free(actor_call(a, m, ISLR__ENVELOPE__BODY_OK));
}

const char *actor_call_fault(struct actor *a, Islr__Envelope *m, enum error_code code)
{
    static struct error why;
    struct call c = call(a, m);
    if (c.last)
        fail_msg("%s should have been refused", envelope_name(m));
    why = c.why;
    if (why.code != code)
        fail_msg("code %d instead of %d: %s", (int)why.code, (int)code, why.text);
    return why.text;
}

enum error_code actor_try(struct actor *a, Islr__Envelope *m, struct error *why)
{
    struct call c = call(a, m);
    *why = c.why;
    if (c.last)
        why->code = ERR_NONE;
    envelope_free(c.last);
    return why->code;
}

void actor_send(struct actor *a, Islr__Envelope *m)
{
    struct error e;
    if (peer_send(peer_of(a), m, &e))
        fail_msg("%s", e.text);
}

// Everything to the inbox, a Fault as a Fault.
static void to_inbox(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct ear *ear = context;
    (void)p;
    if (m) {
        put_in_inbox(ear, copy(m));
        return;
    }
    Islr__Fault fault = ISLR__FAULT__INIT;
    Islr__Envelope envelope = ENVELOPE(FAULT, fault, &fault);
    fault.has_code = 1;
    fault.code = why->code;
    fault.text = (char *)why->text;
    put_in_inbox(ear, copy(&envelope));
}

uint64_t actor_ask(struct actor *a, Islr__Envelope *m)
{
    struct error e;
    uint64_t id = peer_request(peer_of(a), m, 0, to_inbox, a->ear, &e);
    if (!id)
        fail_msg("%s", e.text);
    return id;
}

int actor_has(struct actor *a, Islr__Envelope__BodyCase kind)
{
    for (struct message *i = a->ear->inbox; i; i = i->next)
        if (i->m->body_case == kind)
            return 1;
    return 0;
}

Islr__Envelope *actor_next(struct actor *a, Islr__Envelope__BodyCase kind)
{
    int late = 0;
    a->ear->awaited = kind;
    a->ear->come = actor_has(a, kind);
    if (!a->ear->come)
        with_timer(a->rig, PATIENCE_MS, &a->ear->come, &late);
    for (struct message **at = &a->ear->inbox; *at; at = &(*at)->next) {
        if ((*at)->m->body_case != kind)
            continue;
        struct message *found = *at;
        Islr__Envelope *m = found->m;
        *at = found->next;
        free(found);
        return m;
    }
    fail_msg("waited in vain for a message of the kind %d", (int)kind);
    return NULL;
}

// ---- clients --------------------------------------------------------------------------------------------------------

Islr__JobSpec *job_tiny(uint32_t ranks, uint32_t min_ranks)
{
    static const char text[] = "preset: tiny\ndata: {path: /data/asl}\n";
    struct faults faults = {0};
    Islr__JobSpec *job;
    assert_int_equal(spec_read("test", text, sizeof text - 1, 0, NULL, 0, &job, &faults), 0);
    job->train->group = 8; // 8 groups a batch
    job->resources->ranks = ranks;
    job->resources->min_ranks = min_ranks;
    return job;
}

static uint64_t submit(struct actor *a, Islr__Submit *submission)
{
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, submission);
    Islr__Envelope *reply = actor_call(a, &m, ISLR__ENVELOPE__BODY_SUBMITTED);
    uint64_t run = reply->submitted->run;
    envelope_free(reply);
    spec_free(submission->job);
    return run;
}

uint64_t client_submit(struct actor *a, Islr__JobSpec *job)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    s.job = job;
    return submit(a, &s);
}

uint64_t client_submit_after(struct actor *a, uint64_t after, int any)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    s.job = job_tiny(0, 1);
    s.after = &after;
    s.n_after = 1;
    s.has_after_any = 1;
    s.after_any = any;
    return submit(a, &s);
}

static void with_sweep(Islr__Submit *s, Islr__Axis *axis, Islr__Axis **axes, uint32_t count)
{
    islr__submit__init(s);
    islr__axis__init(axis);
    s->job = job_tiny(1, 1);
    s->axes = axes;
    s->n_axes = 1;
    *axes = axis;
    axis->key = (char *)"train.seed";
    axis->has_first = axis->has_count = 1;
    axis->first = 1;
    axis->count = count;
}

uint64_t client_sweep(struct actor *a, uint32_t count)
{
    Islr__Submit s;
    Islr__Axis axis, *axes;
    with_sweep(&s, &axis, &axes, count);
    return submit(a, &s);
}

void client_ask_sweep(struct actor *a, uint32_t count)
{
    Islr__Submit s;
    Islr__Axis axis, *axes;
    with_sweep(&s, &axis, &axes, count);
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    actor_ask(a, &m);
    spec_free(s.job);
}

size_t client_count_members(struct actor *a, uint64_t group)
{
    Islr__ListRuns q = ISLR__LIST_RUNS__INIT;
    Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &q);
    size_t count = 0;
    int more;
    q.has_parent = q.has_limit = 1;
    q.parent = group;
    q.limit = 100000;
    uint64_t id = actor_ask(a, &m);
    do {
        Islr__Envelope *part = actor_next(a, ISLR__ENVELOPE__BODY_RUN_LIST);
        assert_int_equal(part->id, id);
        for (size_t i = 0; i < part->run_list->n_runs; i++) {
            char name[64];
            snprintf(name, sizeof name, "tiny/train.seed=%zu", ++count);
            assert_int_equal(part->run_list->runs[i]->run, group + count);
            assert_string_equal(part->run_list->runs[i]->name, name);
        }
        more = part->run_list->more;
        envelope_free(part);
    } while (more);
    return count;
}

void client_control(struct actor *a, Islr__Control__Verb verb, uint64_t target)
{
    Islr__Control c = ISLR__CONTROL__INIT;
    Islr__Envelope m = ENVELOPE(CONTROL, control, &c);
    c.has_verb = 1;
    c.verb = verb;
    c.targets = &target;
    c.n_targets = target != 0;
    actor_call_ok(a, &m);
}

Islr__Envelope *client_show(struct actor *a, uint64_t run)
{
    Islr__GetRun get = ISLR__GET_RUN__INIT;
    Islr__Envelope m = ENVELOPE(GET_RUN, get_run, &get);
    get.has_run = 1;
    get.run = run;
    return actor_call(a, &m, ISLR__ENVELOPE__BODY_RUN_DETAIL);
}

void client_wait_reason(struct actor *a, uint64_t run, const char *reason)
{
    char said[300];
    unsigned ms = 0;
    for (;;) {
        Islr__Envelope *m = client_show(a, run);
        snprintf(said, sizeof said, "%s", m->run_detail->summary->reason);
        envelope_free(m);
        if (!strcmp(said, reason))
            return;
        if (ms >= PATIENCE_MS)
            fail_msg("run %d: '%s', not '%s'", (int)run, said, reason);
        rig_wait(a->rig, &ms, reason);
    }
}

void client_wait_state(struct actor *a, uint64_t run, Islr__RunState state)
{
    for (int waited = 0; waited < PATIENCE_MS; waited += 10) {
        Islr__Envelope *m = client_show(a, run);
        Islr__RunState now = m->run_detail->summary->state;
        if (waited + 10 >= PATIENCE_MS)
            fail_msg("run %d is in state %d (%s), not %d", (int)run, (int)now, m->run_detail->summary->reason,
                     (int)state);
        envelope_free(m);
        if (now == state)
            return;
        rig_for(a->rig, 10);
    }
}

// ---- ranks ----------------------------------------------------------------------------------------------------------

void rank_introduce(struct actor *a, const char *world, uint32_t rank, uint32_t size)
{
    islr__register__init(&a->facts);
    snprintf(a->world, sizeof a->world, "%s", world);
    a->facts.world = a->world;
    a->facts.has_rank = a->facts.has_size = a->facts.has_pid = 1;
    a->facts.rank = rank;
    a->facts.size = size;
    a->facts.pid = 1000 + rank;
    a->facts.host = (char *)"node1";
    a->facts.device = (char *)"cpu";
    envelope_free(rank_register(a, 0, 0));
}

void rank_open(struct actor *a, struct rig *rig, const char *world, uint32_t rank, uint32_t size)
{
    actor_open(a, rig, ISLR__HELLO__ROLE__ROLE_WORKER);
    rank_introduce(a, world, rank, size);
}

Islr__Envelope *rank_register(struct actor *a, uint64_t run, uint32_t attempt)
{
    Islr__Envelope m = ENVELOPE(REGISTER, register_, &a->facts);
    a->facts.has_run = a->facts.has_attempt = 1;
    a->facts.run = run;
    a->facts.attempt = attempt;
    Islr__Envelope *answer = actor_call(a, &m, ISLR__ENVELOPE__BODY_REGISTERED);
    peer_set_keepalive(peer_of(a), answer->registered->lease_ms / 3, 0);
    return answer;
}

Islr__Envelope *rank_take(struct actor *a, int take)
{
    Islr__Envelope *m = actor_next(a, ISLR__ENVELOPE__BODY_ASSIGN);
    struct error e;
    error_set(&e, ERR_FAILED, "the disk of this node is full");
    if (take)
        peer_reply_ok(peer_of(a), m->id);
    else
        peer_reply_fault(peer_of(a), m->id, &e);
    return m;
}

void rank_records(struct actor *a, uint64_t run, uint32_t attempt, uint64_t first, size_t count)
{
    Islr__Records records = ISLR__RECORDS__INIT;
    Islr__Envelope m = ENVELOPE(RECORDS, records, &records);
    Islr__Record *list = xcalloc(count, sizeof *list), **pointers = xcalloc(count, sizeof *pointers);
    Islr__MetricPoint *points = xcalloc(count, sizeof *points);
    static char *names[] = {"loss/student"}, line[] = "a line";
    static double value = 0.5;
    records.has_run = records.has_attempt = 1;
    records.run = run;
    records.attempt = attempt;
    records.records = pointers;
    records.n_records = count;
    for (size_t i = 0; i < count; i++) {
        Islr__Record *r = pointers[i] = &list[i];
        islr__record__init(r);
        r->has_seq = r->has_time_ms = 1;
        r->seq = first + i;
        r->time_ms = 1;
        if (r->seq % 2) {
            r->what_case = ISLR__RECORD__WHAT_LOG;
            r->log = line;
            continue;
        }
        islr__metric_point__init(&points[i]);
        points[i].has_step = 1;
        points[i].step = r->seq;
        points[i].names = names;
        points[i].n_names = points[i].n_values = 1;
        points[i].values = &value;
        r->what_case = ISLR__RECORD__WHAT_METRIC;
        r->metric = &points[i];
    }
    actor_send(a, &m);
    free(points);
    free(pointers);
    free(list);
    Islr__Envelope *ack;
    do {
        ack = actor_next(a, ISLR__ENVELOPE__BODY_RECORDS_ACK);
        count = ack->records_ack->seq >= first + count - 1 ? 0 : count;
        envelope_free(ack);
    } while (count);
}

void rank_finish(struct actor *a, uint64_t run, uint32_t attempt, Islr__Finished__Outcome outcome, int retryable)
{
    Islr__Finished f = ISLR__FINISHED__INIT;
    Islr__Envelope m = ENVELOPE(FINISHED, finished, &f);
    f.has_run = f.has_attempt = f.has_outcome = f.has_retryable = 1;
    f.run = run;
    f.attempt = attempt;
    f.outcome = outcome;
    f.retryable = retryable;
    f.reason = (char *)"as the test says";
    actor_call_ok(a, &m);
}

struct hash rank_put(struct actor *a, const void *data, size_t size)
{
    struct hash hash = hash_memory(data, size);
    Islr__Put put = ISLR__PUT__INIT;
    Islr__Envelope m = ENVELOPE(PUT, put, &put);
    int done = 0;
    put.has_sha256 = put.has_total = put.has_offset = 1;
    put.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    put.total = size;
    while (!done) {
        Islr__Envelope *reply = actor_call(a, &m, ISLR__ENVELOPE__BODY_PUT_STATE);
        done = reply->put_state->done;
        put.offset = reply->put_state->have;
        put.has_data = 1;
        put.data.data = (uint8_t *)data + put.offset;
        put.data.len = size - put.offset < 100000 ? size - put.offset : 100000;
        envelope_free(reply);
    }
    return hash;
}

static void add_checkpoint(struct actor *a, uint64_t run, uint32_t attempt, const char *what, uint32_t epoch,
                           uint64_t step, const struct hash *hash)
{
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    info.what = (char *)what;
    info.has_step = info.has_sha256 = info.has_epoch = 1;
    info.epoch = epoch;
    info.step = step;
    info.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    add.has_run = add.has_attempt = 1;
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    actor_call_ok(a, &m);
}

void rank_checkpoint(struct actor *a, uint64_t run, uint32_t attempt, const char *what, uint64_t step,
                     const struct hash *hash)
{
    add_checkpoint(a, run, attempt, what, 0, step, hash);
}

struct hash rank_epoch(struct actor *a, uint64_t run, uint32_t attempt, uint32_t epoch, const void *data, size_t size)
{
    struct hash hash = rank_put(a, data, size);
    add_checkpoint(a, run, attempt, "distilled", epoch, 10 * epoch, &hash);
    return hash;
}

void rank_bulky_epoch(struct actor *a, uint64_t run, uint32_t attempt, uint32_t epoch, const struct hash *hash)
{
    enum { FIGURES = 250 };
    static char names[FIGURES][110];
    Islr__CheckpointInfo info = ISLR__CHECKPOINT_INFO__INIT;
    Islr__AddCheckpoint add = ISLR__ADD_CHECKPOINT__INIT;
    Islr__Envelope m = ENVELOPE(ADD_CHECKPOINT, add_checkpoint, &add);
    Islr__Value values[FIGURES], *list[FIGURES];
    for (int i = 0; i < FIGURES; i++) {
        snprintf(names[i], sizeof names[i], "%0100d", i);
        islr__value__init(list[i] = &values[i]);
        values[i].name = names[i];
        values[i].has_value = 1;
        values[i].value = i;
    }
    info.what = (char *)"distilled";
    info.has_sha256 = info.has_epoch = add.has_run = add.has_attempt = 1;
    info.sha256 = (ProtobufCBinaryData){sizeof hash->bytes, (uint8_t *)hash->bytes};
    info.epoch = epoch;
    info.metrics = list;
    info.n_metrics = FIGURES;
    add.run = run;
    add.attempt = attempt;
    add.checkpoint = &info;
    actor_call_ok(a, &m);
}
