// islrd bench: throughput of this machine. What its kinds share, and its command line; bench_train.c, bench_predict.c.
#include "daemon/bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/options.h"
#include "core/data/prepare.h"
#include "core/data/synth.h"
#include "core/spec/spec.h"
#include "daemon/command.h"
#include "daemon/console.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

json_t *bench_timing_json(struct timing t)
{
    qsort(t.ms, (size_t)t.count, sizeof *t.ms, by_value);
    return json_pack("{s:f, s:f, s:f}", "median", t.ms[t.count / 2], "min", t.ms[0], "max", t.ms[t.count - 1]);
}

double bench_peak_memory_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

int bench_stopped(struct error *e)
{
    return console_stopped() ? error_set(e, ERR_INTERRUPTED, "interrupted") : 0;
}

int bench_measure_peak(struct backend *b, enum dtype type, double *flops, struct error *e)
{
    enum { SIZE = 2048, TRIES = 5 };
    struct stream *s = b->op->stream_create(b, e);
    size_t bytes = (size_t)SIZE * SIZE * dtype_size(type);
    void *m[3] = {0};
    int rc = s ? 0 : -1;
    *flops = 0;
    for (int i = 0; i < 3 && !rc; i++)
        rc = (m[i] = b->op->allocate(b, bytes, e)) ? 0 : -1;
    for (int i = 0; i < TRIES && !rc; i++) {
        double began = clock_seconds();
        queue(s, linear_forward, .x = {m[0], type, SIZE, SIZE, SIZE}, .weight = {m[1], type, SIZE, SIZE, SIZE},
              .y = {m[2], type, SIZE, SIZE, SIZE});
        rc = s->op->synchronize(s, e);
        *flops = fmax(*flops, 2.0 * SIZE * SIZE * SIZE / (clock_seconds() - began));
    }
    for (int i = 0; i < 3; i++)
        if (m[i])
            b->op->release(b, m[i]);
    if (s)
        s->op->stream_destroy(s);
    return rc;
}

Islr__JobSpec *bench_job(const struct bench *b, const char *train, struct error *e)
{
    char *preset = xprintf("preset=%s", b->preset), *precision = xprintf("train.precision=%s", b->precision);
    const char *arguments[] = {preset, precision, "data={path: bench, fold: full}", train};
    Islr__JobSpec *job = NULL;
    struct faults faults = {0};
    spec_load(NULL, arguments, train ? 4 : 3, &job, &faults, e);
    faults_free(&faults);
    free(preset);
    free(precision);
    return job;
}

void bench_print(const struct bench *b, json_t *root, const char *format, ...)
{
    if (b->json) {
        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    } else {
        va_list args;
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
    }
    printf("\n");
    json_decref(root);
}

static bool is_stopped(void *context)
{
    (void)context;
    return console_stopped();
}

// Recordings are made up first, and their preparation timed.
static int bench_prepare(const struct bench *b, struct error *e)
{
    char *data = file_join(b->dir, "recordings"), *out = file_join(b->dir, "set.islr");
    struct synth_options synth = {.signs = 20,
                                  .participants = 4,
                                  .clips = b->clips,
                                  .seed = 1,
                                  .threads = (int)b->threads,
                                  .stopped = is_stopped};
    struct prepare_options o = {.max_len = strncmp(b->preset, "l80", 3) ? 25 : 80,
                                .threads = (int)b->threads,
                                .watch = {.stopped = is_stopped}};
    struct timing t = {xcalloc((size_t)b->steps, sizeof *t.ms), b->steps};
    int rc = synth_write(data, &synth, e);
    for (int64_t i = 0; i < b->steps && !rc; i++) {
        double began = clock_seconds();
        rc = prepare_set(data, out, &o, NULL, e);
        t.ms[i] = 1000 * (clock_seconds() - began);
    }
    if (!rc) {
        json_t *ms = bench_timing_json(t);
        double median = json_number_value(json_object_get(ms, "median")), rate = 1000 * (double)b->clips / median;
        bench_print(b,
                    json_pack("{s:s, s:i, s:I, s:f, s:o, s:f}", "bench", "prepare", "max_len", o.max_len, "clips",
                              (json_int_t)b->clips, "clips_per_second", rate, "step_ms", ms, "peak_memory_mib",
                              bench_peak_memory_mib()),
                    "prepare: %.0f clips/s (%lld clips in %.0f ms)", rate, (long long)b->clips, median);
    }
    free(t.ms);
    free(data);
    free(out);
    return rc;
}

static int bench(struct bench *b, struct error *e)
{
    static const struct {
        const char *name;
        int (*run)(const struct bench *b, struct error *e);
    } kinds[] = {{"train", bench_train}, {"predict", bench_predict}, {"prepare", bench_prepare}};
    int (*run)(const struct bench *, struct error *) = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].name, b->what))
            run = kinds[i].run;
    if (!run)
        return error_set(e, ERR_INVALID, "there is no bench '%s': train, predict or prepare", b->what);
    const char *base = getenv("TMPDIR");
    b->dir = file_join(base && *base ? base : "/tmp", "islr-bench-XXXXXX");
    int rc = mkdtemp(b->dir) ? 0 : error_set_errno(e, ERR_FAILED, "cannot make the directory %s", b->dir);
    if (!rc) {
        rc = console_catch_signals(e) || run(b, e) ? -1 : 0;
        rc = file_remove_tree(b->dir, rc ? NULL : e) || rc ? -1 : 0;
    }
    free(b->dir);
    return rc;
}

int command_bench(int argc, char **argv)
{
    struct bench b = {
        .preset = "l25", .precision = "auto", .device = "auto", .batch = 32, .steps = 10, .clips = 500, .fill = 1};
    const struct option_row options[] = {
        {0, "preset", "l25|l80|l25-code|l80-code|tiny", "sizes and recipe", OPTION_CHOICE, &b.preset},
        {0, "precision", "auto|fp32|bf16|fp16", "of the computation", OPTION_CHOICE, &b.precision},
        {0, "batch", "N", "clips at a time", OPTION_INT, &b.batch, .min = 1, .max = 65536},
        {0, "steps", "N", "repetitions that are timed", OPTION_INT, &b.steps, .min = 1, .max = 1000000},
        {0, "fill", "F", "mean share of real frames in a clip; 1: no padding", OPTION_FLOAT, &b.fill, .min = 0.05,
         .max = 1},
        {0, "clips", "N", "prepare: recordings", OPTION_INT, &b.clips, .min = 1, .max = 1000000},
        {0, "device", "auto|cpu|cuda", "what to compute on", OPTION_CHOICE, &b.device},
        {0, "threads", "N", "CPU threads; 0: all cores", OPTION_INT, &b.threads, .max = 4096},
        {0, "json", NULL, "one document: clips_per_second, step_ms {median, min, max}, ..", OPTION_FLAG, &b.json},
        {0}};
    const struct option_operand operands[] = {{"train|predict|prepare", "what to measure", .value = &b.what}, {0}};
    const struct usage usage = {"islrd bench", "throughput of this machine", options, operands,
                                "islrd bench train --preset l25 --precision bf16 --batch 32"};
    int code;
    if (!options_parse(&usage, argc, argv, &code))
        return code;
    struct error e = {0};
    int rc = bench(&b, &e);
    if (rc)
        fprintf(stderr, "islrd bench: %s\n", e.text);
    return rc ? (int)e.code : 0;
}
