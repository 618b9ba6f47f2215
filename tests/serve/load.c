// How much the server takes: durable submissions over many connections, metric points of one run, lists. A tool, not a
// test: islrd serve runs already.
//     load SOCKET submit CONNECTIONS COUNT
//     load SOCKET metrics MESSAGES RECORDS NAMES
//     load SOCKET list COUNT [WHERE]
//     load SOCKET sweep RUNS
//     load SOCKET follow CONNECTIONS RUN     follows until it is killed; says when all are there
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/rpc/call.h"
#include "core/spec/spec.h"

struct load {
    uv_loop_t loop;
    struct address address;
    Islr__JobSpec *job;
    struct link **links;
    int connections;
    long left, answered, failed;
    // metrics
    Islr__Records *records;
    long first_seq;
    size_t batch;
    uint64_t run;
    uint32_t attempt;
    double start;
};

static void finish(struct load *l)
{
    for (int i = 0; i < l->connections; i++)
        link_close(l->links[i]);
}

static void on_down(struct link *k, const struct error *why, int again_ms)
{
    (void)k;
    if (again_ms < 0)
        fprintf(stderr, "%s\n", why->text);
}

static void on_nothing(struct link *k, Islr__Envelope *m)
{
    (void)k;
    (void)m;
}

// ---- submissions ----------------------------------------------------------------------------------------------------

static void submit_one(struct load *l, struct peer *p);

static void submitted(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    struct load *l = context;
    if (!m && !l->failed++)
        fprintf(stderr, "%s\n", why->text);
    if (--l->answered == 0)
        finish(l);
    else if (l->left > 0)
        submit_one(l, p);
}

static void submit_one(struct load *l, struct peer *p)
{
    Islr__Submit s = ISLR__SUBMIT__INIT;
    Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
    l->left--;
    s.job = l->job;
    peer_request(p, &m, 0, submitted, l, NULL);
}

static void submit_up(struct link *k, struct peer *p, const Islr__Welcome *welcome)
{
    (void)welcome;
    submit_one(link_context(k), p);
}

// ---- metrics --------------------------------------------------------------------------------------------------------

static void send_records(struct load *l, struct peer *p)
{
    Islr__Envelope m = ENVELOPE(RECORDS, records, l->records);
    for (size_t i = 0; i < l->batch; i++) {
        Islr__Record *r = l->records->records[i];
        r->seq = (uint64_t)l->first_seq++;
        r->metric->step = r->seq;
        for (size_t k = 0; k < r->metric->n_values; k++)
            r->metric->values[k] = (double)(float)drand48();
    }
    l->left--;
    if (peer_send(p, &m, NULL))
        fprintf(stderr, "cannot send\n");
}

static void registered(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    (void)p;
    (void)context;
    if (!m)
        fprintf(stderr, "%s\n", why->text);
}

static void metrics_up(struct link *k, struct peer *p, const Islr__Welcome *welcome)
{
    Islr__Register r = ISLR__REGISTER__INIT;
    Islr__Envelope m = ENVELOPE(REGISTER, register_, &r);
    char world[40];
    (void)welcome;
    snprintf(world, sizeof world, "load-%d-%ld", (int)getpid(), (long)clock_wall_ms());
    r.world = world;
    r.host = (char *)"here";
    r.device = (char *)"cpu";
    r.has_size = 1;
    r.size = 1;
    peer_request(p, &m, 0, registered, link_context(k), NULL);
}

static void metrics_message(struct link *k, Islr__Envelope *m)
{
    struct load *l = link_context(k);
    struct peer *p = link_peer(k);
    if (m->body_case == ISLR__ENVELOPE__BODY_ASSIGN) {
        peer_reply_ok(p, m->id);
        l->records->run = l->run = m->assign->run;
        l->records->attempt = m->assign->attempt;
        l->start = clock_seconds();
        for (int i = 0; i < 4 && l->left; i++)
            send_records(l, p);
    } else if (m->body_case == ISLR__ENVELOPE__BODY_RECORDS_ACK) {
        if (l->left)
            send_records(l, p);
        else if ((long)m->records_ack->seq == l->first_seq - 1)
            finish(l);
    }
}

static void make_records(struct load *l, size_t batch, size_t names)
{
    Islr__Records *out = l->records = xcalloc(1, sizeof *out);
    islr__records__init(out);
    out->has_run = out->has_attempt = 1;
    out->n_records = l->batch = batch;
    out->records = xcalloc(batch, sizeof *out->records);
    for (size_t i = 0; i < batch; i++) {
        Islr__Record *r = out->records[i] = xcalloc(1, sizeof *r);
        islr__record__init(r);
        r->has_seq = r->has_time_ms = 1;
        r->what_case = ISLR__RECORD__WHAT_METRIC;
        Islr__MetricPoint *m = r->metric = xcalloc(1, sizeof *m);
        islr__metric_point__init(m);
        m->has_step = 1;
        m->n_names = m->n_values = names;
        m->names = xcalloc(names, sizeof *m->names);
        m->values = xcalloc(names, sizeof *m->values);
        for (size_t k = 0; k < names; k++)
            m->names[k] = xprintf("load/metric_%zu", k);
    }
}

// ---- followers ------------------------------------------------------------------------------------------------------

static void followed(struct peer *p, void *context, const Islr__Envelope *m, const struct error *why)
{
    (void)p;
    (void)context;
    if (!m && why->code != ERR_UNREACHABLE)
        fprintf(stderr, "%s\n", why->text);
}

static void follow_up(struct link *k, struct peer *p, const Islr__Welcome *welcome)
{
    struct load *l = link_context(k);
    Islr__Follow f = ISLR__FOLLOW__INIT;
    Islr__Envelope m = ENVELOPE(FOLLOW, follow, &f);
    (void)welcome;
    f.has_run = f.has_keep = f.has_logs = f.has_metrics = f.has_progress = 1;
    f.run = l->run;
    f.keep = f.logs = f.metrics = f.progress = 1;
    peer_request(p, &m, 0, followed, l, NULL);
    if (--l->left == 0) {
        printf("%d follow run %llu\n", l->connections, (unsigned long long)l->run);
        fflush(stdout);
    }
}

// ---- lists ----------------------------------------------------------------------------------------------------------

static int count_runs(void *context, const Islr__Envelope *m, struct error *e)
{
    (void)e;
    *(size_t *)context += m->run_list->n_runs;
    return 0;
}

static int list(const struct address *address, uint32_t limit, const char *where)
{
    struct error e;
    struct caller *c = caller_open(address, NULL, &e);
    if (!c) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    for (int i = 0; i < 5; i++) {
        Islr__ListRuns q = ISLR__LIST_RUNS__INIT;
        Islr__Envelope m = ENVELOPE(LIST_RUNS, list_runs, &q);
        size_t count = 0;
        q.has_limit = 1;
        q.limit = limit;
        q.where = (char *)where;
        double start = clock_seconds();
        if (rpc_stream(c, &m, 0, count_runs, &count, &e))
            fprintf(stderr, "%s\n", e.text);
        printf("%zu runs in %.1f ms\n", count, (clock_seconds() - start) * 1e3);
    }
    caller_close(c);
    return 0;
}

// ---- a sweep --------------------------------------------------------------------------------------------------------

// Seeds 1 to `runs` of a tiny job, five times: how long the server takes to acknowledge.
static int sweep(const struct address *address, size_t runs)
{
    static const char text[] = "preset: tiny\ndata: {path: /data/asl}\n";
    struct faults faults = {0};
    struct error e;
    Islr__Submit s = ISLR__SUBMIT__INIT;
    struct caller *c = caller_open(address, NULL, &e);
    if (!c || spec_read("load", text, sizeof text - 1, 0, NULL, 0, &s.job, &faults))
        return 1;
    Islr__Axis axis = ISLR__AXIS__INIT, *axes = &axis;
    axis.key = (char *)"train.seed";
    axis.has_first = axis.has_count = 1;
    axis.count = (uint32_t)runs;
    s.axes = &axes;
    s.n_axes = 1;
    for (int k = 0; k < 5; k++) {
        Islr__Envelope m = ENVELOPE(SUBMIT, submit, &s);
        axis.first = (uint64_t)clock_wall_ms() * 10000; // jobs of its own
        double start = clock_seconds();
        Islr__Envelope *answer = rpc_call(c, &m, ISLR__ENVELOPE__BODY_SUBMITTED, 0, &e);
        printf("%zu runs acknowledged in %.1f ms\n", runs, (clock_seconds() - start) * 1e3);
        envelope_free(answer);
    }
    caller_close(c);
    return 0;
}

// ---- main -----------------------------------------------------------------------------------------------------------

static double run(struct load *l, const struct link_events *events, int connections)
{
    struct link_options options = {.address = l->address};
    options.role = l->records ? ISLR__HELLO__ROLE__ROLE_WORKER : ISLR__HELLO__ROLE__ROLE_CLIENT;
    uv_loop_init(&l->loop);
    l->connections = connections;
    l->links = xcalloc((size_t)connections, sizeof *l->links);
    l->start = clock_seconds();
    for (int i = 0; i < connections; i++)
        l->links[i] = link_open(&l->loop, &options, events, l);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    return clock_seconds() - l->start;
}

int main(int argc, char **argv)
{
    static const struct link_events submit_events = {submit_up, on_nothing, NULL, on_down, NULL};
    static const struct link_events metrics_events = {metrics_up, metrics_message, NULL, on_down, NULL};
    static const struct link_events follow_events = {follow_up, on_nothing, NULL, on_down, NULL};
    struct load l = {0};
    struct error e;
    if (argc < 4 || address_parse(argv[1], &l.address, &e))
        return 2;
    if (!strcmp(argv[2], "list"))
        return list(&l.address, (uint32_t)atol(argv[3]), argc > 4 ? argv[4] : NULL);
    if (!strcmp(argv[2], "sweep"))
        return sweep(&l.address, (size_t)atol(argv[3]));
    if (!strcmp(argv[2], "submit") && argc == 5) {
        static const char text[] = "preset: tiny\ndata: {path: /data/asl}\n";
        struct faults faults = {0};
        if (spec_read("load", text, sizeof text - 1, 0, NULL, 0, &l.job, &faults))
            return 2;
        long count = l.left = l.answered = atol(argv[4]);
        double seconds = run(&l, &submit_events, atoi(argv[3]));
        printf("%ld submissions over %s connections in %.2f s: %.0f/s\n", count, argv[3], seconds,
               (double)count / seconds);
    } else if (!strcmp(argv[2], "metrics") && argc == 6) {
        long messages = l.left = atol(argv[3]);
        l.first_seq = 1;
        make_records(&l, (size_t)atol(argv[4]), (size_t)atol(argv[5]));
        double points = (double)messages * atof(argv[4]) * atof(argv[5]), seconds = run(&l, &metrics_events, 1);
        seconds = clock_seconds() - l.start;
        printf("%.0f points of run %llu in %.2f s: %.0f/s\n", points, (unsigned long long)l.run, seconds,
               points / seconds);
    } else if (!strcmp(argv[2], "follow") && argc == 5) {
        l.left = atol(argv[3]);
        l.run = strtoull(argv[4], NULL, 10);
        run(&l, &follow_events, atoi(argv[3]));
    } else {
        return 2;
    }
    return l.failed != 0;
}
