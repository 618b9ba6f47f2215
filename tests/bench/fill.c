// A server's directory with a long history, made through the store as a server makes it: RUNS runs that have ended, each
// with POINTS metric values in records of ten, and a last one with LARGE. No server may run on it.
//     bench_fill DIR RUNS POINTS LARGE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/philox.h"
#include "core/spec/spec.h"
#include "core/store/record.h"
#include "core/store/run.h"
#include "core/store/setting.h"

enum { CHUNK = 500, NAMES = 10, MESSAGE = 200 }; // runs at a time, metrics of a record, records of a message

static const char *const names[NAMES] = {"loss/student",      "ce/student",          "consistency/student",
                                         "loss/distilled",    "ce/distilled",        "consistency/distilled",
                                         "grad_norm/student", "grad_norm/distilled", "lr",
                                         "clips_per_second"};
static const char *const evaluated[] = {"accuracy/student", "accuracy/teacher", "accuracy/distilled", "accuracy/soup",
                                        "loss/valid"};
enum { EVALUATED = sizeof evaluated / sizeof *evaluated };

struct fill {
    struct store *store;
    struct rng rng;
    int64_t now_ms;
    uint64_t seq; // of the last record of the run at hand
    uint8_t *spec;
    size_t spec_size;
    struct hash spec_hash;
    Islr__Record *steps[MESSAGE], *evaluation, *sent[MESSAGE];
    Islr__Records records; // of one message: those in `sent`
};

static void done(struct store_op *op)
{
    if (op->status != STORE_DONE) {
        fprintf(stderr, "%s\n", op->error.text);
        exit(1);
    }
}

// Requests are carried out in order: when the last one is, all are.
static void wait_for_all(struct fill *f)
{
    struct setting_set last = {.name = "filled", .value = "yes"};
    setting_set_prepare(&last);
    if (store_call(f->store, &last.op))
        exit(1);
    store_deliver(f->store);
}

static void queue(struct fill *f, struct store_op *op)
{
    op->done = done;
    store_queue(f->store, op);
}

// ---- records --------------------------------------------------------------------------------------------------------

static Islr__MetricPoint *make_point(const char *const *what, size_t count)
{
    Islr__MetricPoint *m = xcalloc(1, sizeof *m);
    islr__metric_point__init(m);
    m->has_step = m->has_epoch = m->has_evaluation = 1;
    m->n_names = m->n_values = count;
    m->names = (char **)what;
    m->values = xcalloc(count, sizeof *m->values);
    return m;
}

static Islr__Record *make_record(Islr__MetricPoint *m)
{
    Islr__Record *r = xcalloc(1, sizeof *r);
    islr__record__init(r);
    r->has_seq = r->has_time_ms = 1;
    r->what_case = ISLR__RECORD__WHAT_METRIC;
    r->metric = m;
    return r;
}

static void add_records(struct fill *f, uint64_t run, size_t count, int evaluation)
{
    if (f->records.run != run)
        f->seq = 0;
    f->records.run = run;
    f->records.attempt = 1;
    f->records.n_records = count;
    for (size_t i = 0; i < count; i++) {
        Islr__Record *r = evaluation ? f->evaluation : f->steps[i];
        r->seq = ++f->seq;
        r->time_ms = f->now_ms + (int64_t)f->seq * 100;
        r->metric->step = f->seq;
        r->metric->epoch = (double)f->seq / 100;
        r->metric->evaluation = evaluation;
        for (size_t k = 0; k < r->metric->n_values; k++)
            r->metric->values[k] = (double)(float)(rng_uniform_double(&f->rng) + 1.0 / (double)f->seq);
        f->sent[i] = r;
    }
    struct record_add request = {.records = &f->records};
    record_add_prepare(&request);
    if (store_call(f->store, &request.op))
        done(&request.op);
}

// ---- runs -----------------------------------------------------------------------------------------------------------

static void submit(struct fill *f, struct run_submit *r, char (*texts)[32], size_t count)
{
    static const char *const users[] = {"ann", "bob", "cem", "dia", "eli", "fay", "gil", "hue"};
    for (size_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "trial-%u", rng_below(&f->rng, 5000));
        r[i] = (struct run_submit){.user = users[rng_below(&f->rng, 8)],
                                   .name = texts[i],
                                   .kind = "train",
                                   .job_hash = f->spec_hash,
                                   .spec = f->spec,
                                   .spec_size = f->spec_size,
                                   .max_attempts = 5,
                                   .time_ms = f->now_ms += 1000};
        run_submit_prepare(&r[i]);
        queue(f, &r[i].op);
    }
    wait_for_all(f);
}

static void start(struct fill *f, const struct run_submit *s, struct run_start *r, size_t count)
{
    static const struct run_rank ranks[2] = {{0, "node1", "cpu", 100}, {1, "node1", "cpu", 101}};
    for (size_t i = 0; i < count; i++) {
        r[i] = (struct run_start){
            .run = s[i].now.run, .world = "w", .ranks = ranks, .rank_count = 2, .time_ms = f->now_ms};
        run_start_prepare(&r[i]);
        queue(f, &r[i].op);
    }
    wait_for_all(f);
    for (size_t i = 0; i < count; i++)
        free(r[i].spec);
}

static void end(struct fill *f, const struct run_submit *s, struct run_end *r, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int failed = rng_below(&f->rng, 10) == 0;
        r[i] = (struct run_end){.run = s[i].now.run,
                                .attempt = 1,
                                .outcome = failed ? ATTEMPT_FAILED : ATTEMPT_SUCCEEDED,
                                .reason = failed ? "the loss is not finite at step 17" : "",
                                .time_ms = f->now_ms + 100000};
        run_end_prepare(&r[i]);
        queue(f, &r[i].op);
    }
    wait_for_all(f);
}

static void fill(struct fill *f, size_t count, long points)
{
    struct run_submit *s = xcalloc(count, sizeof *s);
    struct run_start *b = xcalloc(count, sizeof *b);
    struct run_end *r = xcalloc(count, sizeof *r);
    char(*texts)[32] = xcalloc(count, sizeof *texts);
    submit(f, s, texts, count);
    start(f, s, b, count);
    for (size_t i = 0; i < count; i++) {
        for (long left = points / NAMES; left > 0; left -= MESSAGE)
            add_records(f, s[i].now.run, left < MESSAGE ? (size_t)left : MESSAGE, 0);
        add_records(f, s[i].now.run, 1, 1);
    }
    end(f, s, r, count);
    free(s);
    free(b);
    free(r);
    free(texts);
}

static int read_job(struct fill *f)
{
    static const char text[] = "preset: l25\ndata: {path: /data/asl-signs}\n";
    struct faults faults = {0};
    Islr__JobSpec *job;
    if (spec_read("fill", text, sizeof text - 1, 0, NULL, 0, &job, &faults))
        return -1;
    f->spec_size = islr__job_spec__get_packed_size(job);
    f->spec = xmalloc(f->spec_size);
    islr__job_spec__pack(job, f->spec);
    f->spec_hash = spec_hash(job);
    spec_free(job);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    struct store_options options = {.directory = argv[1]};
    struct fill f = {.rng = rng_make(1, RNG_BENCH, 0, 0, 0), .now_ms = 1700000000000};
    struct error e;
    size_t runs = (size_t)atol(argv[2]);
    f.store = store_open(&options, &e);
    if (!f.store || read_job(&f)) {
        fprintf(stderr, "%s\n", f.store ? "the job is wrong" : e.text);
        return 1;
    }
    islr__records__init(&f.records);
    f.records.records = f.sent;
    for (size_t i = 0; i < MESSAGE; i++)
        f.steps[i] = make_record(make_point(names, NAMES));
    f.evaluation = make_record(make_point(evaluated, EVALUATED));
    double began = clock_seconds();
    for (size_t at = 0; at < runs; at += CHUNK) {
        fill(&f, runs - at < CHUNK ? runs - at : CHUNK, atol(argv[3]));
        if (at % 10000 == 0)
            fprintf(stderr, "%zu runs, %.0f s\n", at, clock_seconds() - began);
    }
    fill(&f, 1, atol(argv[4]));
    store_close(f.store);
    fprintf(stderr, "%zu runs in %.0f s\n", runs + 1, clock_seconds() - began);
    return 0;
}
