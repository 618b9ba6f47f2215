// How fast the backend's operations are at the sizes of the L=25 student (T=1536, D=512), 32 clips without padding: best
// of several runs each, with what a step of student and teacher takes of it. Not a test.
//
//     kernels [fp32|bf16] [threads] [part of an operation's name]
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/random.h"
#include "kernels/backend.h"

enum { CLIPS = 32, FRAMES = 25, ROWS = CLIPS * FRAMES, HEADS = 16, RELATIVE = 2 * FRAMES, DENSE = 512 };
enum { PARAMETERS = 35143040 };
static const int widths[] = {1024, 1280, 1536, 1536};

struct bench {
    struct backend *backend;
    struct stream *stream;
    enum dtype type;
    const char *filter;
    const struct step_scalars *scalars;
    struct rows rows;
    double total_ms; // of a step
};

// ---- operands -----------------------------------------------------------------------------------------------------

static void *device(struct bench *b, const void *host, size_t size)
{
    struct error e;
    void *p = b->backend->op->allocate(b->backend, size, &e);
    if (!p) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    if (host) {
        b->stream->op->upload(b->stream, p, host, size);
        b->stream->op->synchronize(b->stream, &e);
    }
    return p;
}

static struct mat matrix(struct bench *b, enum dtype type, int rows, int columns)
{
    size_t count = (size_t)rows * (size_t)columns;
    float *value = xcalloc(count, sizeof *value);
    struct rng rng = rng_make(1, RNG_BENCH, 0, (uint32_t)rows, (uint32_t)columns);
    for (size_t i = 0; i < count; i++)
        value[i] = rng_uniform(&rng) * 2 - 1;
    struct mat m = {NULL, type, rows, columns, columns};
    float *plain = device(b, value, count * sizeof *value);
    m.data = device(b, NULL, count * dtype_size(type));
    queue(b->stream, convert, .x = plain, .y = m.data, .from = DTYPE_F32, .to = type, .count = count);
    b->stream->op->synchronize(b->stream, NULL);
    b->backend->op->release(b->backend, plain);
    free(value);
    return m;
}

static float *vector(struct bench *b, size_t count, float value)
{
    float *host = xcalloc(count, sizeof *host);
    for (size_t i = 0; i < count; i++)
        host[i] = value;
    float *p = device(b, host, count * sizeof *host);
    free(host);
    return p;
}

static struct dropout dropout(const struct bench *b, float p)
{
    return (struct dropout){p, 42, b->scalars, 1};
}

// ---- measuring ----------------------------------------------------------------------------------------------------

static int wanted(const struct bench *b, const char *name)
{
    return !b->filter || strstr(name, b->filter);
}

// One line: `call` is run until a third of a second has gone by, and the fastest run counts. `calls` of it make a step.
#define MEASURE(b, name, calls, flops, bytes, call)                                                                    \
    do {                                                                                                               \
        double best_ = INFINITY, end_ = clock_seconds() + 0.3;                                                         \
        for (int runs_ = 0; runs_ < 5 || clock_seconds() < end_; runs_++) {                                            \
            double from_ = clock_seconds();                                                                            \
            call;                                                                                                      \
            (b)->stream->op->synchronize((b)->stream, NULL);                                                           \
            best_ = fmin(best_, clock_seconds() - from_);                                                              \
        }                                                                                                              \
        report(b, name, calls, flops, bytes, best_);                                                                   \
    } while (0)

static void report(struct bench *b, const char *name, double calls, double flops, double bytes, double seconds)
{
    printf("%-38s %9.3f ms %7.0f GFLOP/s %6.1f GB/s  %2.0f a step: %7.2f ms\n", name, seconds * 1e3,
           flops / seconds * 1e-9, bytes / seconds * 1e-9, calls, calls * seconds * 1e3);
    fflush(stdout);
    b->total_ms += calls * seconds * 1e3;
}

static double mat_bytes(struct mat m)
{
    return (double)m.rows * m.columns * (double)dtype_size(m.type);
}

// ---- operations ---------------------------------------------------------------------------------------------------

static void bench_linear(struct bench *b, const char *what, int rows, int in, int out, double calls)
{
    char name[64];
    struct mat x = matrix(b, b->type, rows, in), weight = matrix(b, b->type, out, in),
               y = matrix(b, b->type, rows, out);
    struct mat bias = matrix(b, b->type, 1, out);
    float *dweight = vector(b, (size_t)in * (size_t)out, 0), *dbias = vector(b, (size_t)out, 0);
    double flops = 2.0 * rows * in * out, bytes = mat_bytes(x) + mat_bytes(weight) + mat_bytes(y);
    snprintf(name, sizeof name, "linear %s %d>%d", what, in, out);
    if (wanted(b, name))
        MEASURE(b, name, 2 * calls, flops, bytes,
                queue(b->stream, linear_forward, .x = x, .weight = weight, .y = y, .bias = bias.data));
    snprintf(name, sizeof name, "linear %s %d>%d packed", what, in, out);
    if (wanted(b, name))
        MEASURE(b, name, 0, flops, bytes,
                queue(b->stream, linear_forward, .x = x, .weight = weight, .y = y, .bias = bias.data, .constant = 1));
    b->backend->op->forget(b->backend);
    snprintf(name, sizeof name, "linear %s %d>%d backward input", what, in, out);
    if (wanted(b, name))
        MEASURE(b, name, calls, flops, bytes,
                queue(b->stream, linear_backward_input, .dy = y, .weight = weight, .dx = x));
    snprintf(name, sizeof name, "linear %s %d>%d backward weight", what, in, out);
    if (wanted(b, name))
        MEASURE(b, name, calls, flops, bytes + mat_bytes(weight),
                queue(b->stream, linear_backward_weight, .dy = y, .x = x, .dweight = dweight, .dbias = dbias));
    void *all[] = {x.data, weight.data, y.data, bias.data, dweight, dbias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        b->backend->op->release(b->backend, all[i]);
}

static void bench_linears(struct bench *b)
{
    bench_linear(b, "full", ROWS, 1600, DENSE, 1);
    bench_linear(b, "hands, lips", ROWS, 336, DENSE, 3);
    bench_linear(b, "face", ROWS, 400, DENSE, 1);
    bench_linear(b, "landmark", ROWS, 4 * DENSE, widths[0], 1);
    for (int i = 0; i < 3; i++) {
        int h = widths[i], o = widths[i + 1];
        bench_linear(b, "qkv", RELATIVE + ROWS, h, 3 * h, 1);
        bench_linear(b, "attention, intermediate", ROWS, h, h, 2);
        bench_linear(b, "output", ROWS, h, o, 1);
    }
    bench_linear(b, "logits", CLIPS, widths[3], 250, 1);
}

static int32_t *slots(struct bench *b)
{
    int32_t slot[2 * FRAMES - 1];
    for (int d = 1 - FRAMES; d < FRAMES; d++)
        slot[d + FRAMES - 1] = d + FRAMES;
    return device(b, slot, sizeof slot);
}

static void bench_attention(struct bench *b, int h)
{
    char name[64];
    int s = h / HEADS;
    struct mat qkv = matrix(b, b->type, ROWS, 3 * h), rel = matrix(b, b->type, RELATIVE, 3 * h);
    struct mat context = matrix(b, b->type, ROWS, h), dqkv = matrix(b, b->type, ROWS, 3 * h);
    struct mat drel = matrix(b, b->type, RELATIVE, 3 * h);
    float *row_max = vector(b, ROWS * HEADS, 0), *row_sum = vector(b, ROWS * HEADS, 1);
    int32_t *slot = slots(b);
    // Two products of the tile and two with as many relative rows as there are distances.
    double flops = 2.0 * CLIPS * HEADS * s * FRAMES * (2 * FRAMES + 2 * (2 * FRAMES - 1));
    snprintf(name, sizeof name, "attention %d", h);
    if (wanted(b, name))
        MEASURE(b, name, 2, flops, mat_bytes(qkv) + mat_bytes(context),
                queue(b->stream, attention_forward, .rows = b->rows, .heads = HEADS, .qkv = qkv, .rel = rel,
                      .slot = slot, .context = context, .row_max = row_max, .row_sum = row_sum,
                      .dropout = dropout(b, 0.1f)));
    snprintf(name, sizeof name, "attention %d backward", h);
    if (wanted(b, name))
        MEASURE(b, name, 1, 2.75 * flops, 2 * mat_bytes(qkv) + mat_bytes(context),
                queue(b->stream, attention_backward, .rows = b->rows, .heads = HEADS, .qkv = qkv, .rel = rel,
                      .slot = slot, .dcontext = context, .dqkv = dqkv, .drel = drel, .row_max = row_max,
                      .row_sum = row_sum, .dropout = dropout(b, 0.1f)));
    void *all[] = {qkv.data, rel.data, context.data, dqkv.data, drel.data, row_max, row_sum, slot};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        b->backend->op->release(b->backend, all[i]);
}

static void bench_rowwise(struct bench *b, int h)
{
    char name[64];
    struct mat x = matrix(b, b->type, ROWS, h), y = matrix(b, b->type, ROWS, h), z = matrix(b, b->type, ROWS, h);
    struct mat residual = matrix(b, b->type, ROWS, h);
    float *weight = vector(b, (size_t)h, 1), *bias = vector(b, (size_t)h, 0), *mean = vector(b, ROWS, 0);
    float *rstd = vector(b, ROWS, 1), *dweight = vector(b, (size_t)h, 0), *dbias = vector(b, (size_t)h, 0);
    double bytes = mat_bytes(x);
    snprintf(name, sizeof name, "layernorm %d", h);
    if (wanted(b, name))
        MEASURE(b, name, 4, 0, 4 * bytes,
                queue(b->stream, layernorm_forward, .x = x, .residual = residual, .sum = z, .y = y, .weight = weight,
                      .bias = bias, .eps = 1e-7f, .mean = mean, .rstd = rstd, .dropout_in = dropout(b, 0.1f),
                      .id = b->rows.id));
    snprintf(name, sizeof name, "layernorm %d backward", h);
    if (wanted(b, name))
        MEASURE(b, name, 2, 0, 4 * bytes,
                queue(b->stream, layernorm_backward, .dy = y, .sum = z, .dsum = residual, .dx = x, .weight = weight,
                      .mean = mean, .rstd = rstd, .dweight = dweight, .dbias = dbias, .dropout_in = dropout(b, 0.1f),
                      .id = b->rows.id));
    snprintf(name, sizeof name, "mish %d", h);
    if (wanted(b, name))
        MEASURE(b, name, 2, 0, 3 * bytes, queue(b->stream, mish_forward, .z = z, .residual = residual, .y = y));
    snprintf(name, sizeof name, "mish %d backward", h);
    if (wanted(b, name))
        MEASURE(b, name, 1, 0, 3 * bytes, queue(b->stream, mish_backward, .z = z, .dy = y, .dz = x));
    void *all[] = {x.data, y.data, z.data, residual.data, weight, bias, mean, rstd, dweight, dbias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        b->backend->op->release(b->backend, all[i]);
}

static void bench_batchnorm(struct bench *b, int columns, double calls)
{
    char name[64];
    struct mat z = matrix(b, b->type, ROWS, columns), y = matrix(b, b->type, ROWS, columns);
    float *weight = vector(b, (size_t)columns, 1), *bias = vector(b, (size_t)columns, 0);
    float *mean = vector(b, (size_t)columns, 0), *rstd = vector(b, (size_t)columns, 1);
    double bytes = mat_bytes(z);
    snprintf(name, sizeof name, "batchnorm %d", columns);
    if (wanted(b, name))
        MEASURE(b, name, 2 * calls, 0, 2 * bytes,
                queue(b->stream, batchnorm_forward, .z = z, .y = y, .group_rows = ROWS, .weight = weight, .bias = bias,
                      .running_mean = vector(b, (size_t)columns, 0), .running_var = vector(b, (size_t)columns, 1),
                      .momentum = 0.1f, .eps = 1e-5f, .mean = mean, .rstd = rstd, .dropout = dropout(b, 0.25f),
                      .frames = FRAMES));
    snprintf(name, sizeof name, "batchnorm %d backward", columns);
    if (wanted(b, name))
        MEASURE(b, name, calls, 0, 3 * bytes,
                queue(b->stream, batchnorm_backward, .z = z, .dy = y, .dz = y, .group_rows = ROWS, .weight = weight,
                      .bias = bias, .mean = mean, .rstd = rstd, .dweight = vector(b, (size_t)columns, 0),
                      .dbias = vector(b, (size_t)columns, 0), .dropout = dropout(b, 0.25f), .frames = FRAMES));
}

static void bench_optimizer(struct bench *b)
{
    enum dtype work_type = b->type;
    size_t n = PARAMETERS;
    float *weight = vector(b, n, 0.1f), *m = vector(b, n, 0), *v = vector(b, n, 0), *gradient = vector(b, n, 0.01f);
    float *ema = vector(b, n, 0.1f);
    int work = work_type != DTYPE_F32;
    void *copy = work ? device(b, NULL, n * 2) : NULL, *ema_copy = work ? device(b, NULL, n * 2) : NULL;
    uint8_t *decay = device(b, NULL, n / PARAMETER_ALIGN);
    size_t spans = (n + SQUARES_SPAN - 1) / SQUARES_SPAN;
    double one = 1, *norm = device(b, &one, sizeof one), *partial = device(b, NULL, spans * sizeof *partial);
    if (wanted(b, "sum_squares"))
        MEASURE(b, "sum_squares", 1, 0, 4.0 * (double)n,
                queue(b->stream, sum_squares, .x = gradient, .count = n, .partial = partial);
                queue(b->stream, add_squares, .partial = partial, .count = spans, .out = norm));
    if (wanted(b, "adamw"))
        MEASURE(b, "adamw", 1, 0, (double)n * (work ? 40 : 36),
                queue(b->stream, adamw, .weight = weight, .m = m, .v = v, .gradient = gradient, .count = n,
                      .decay = decay, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .weight_decay = 0.4f, .clip = 10,
                      .square_norm = norm, .scalars = b->scalars, .work_type = work_type, .work = copy, .ema = ema,
                      .ema_work = ema_copy));
    if (wanted(b, "convert"))
        MEASURE(b, "convert", 0, 0, 6.0 * (double)n,
                queue(b->stream, convert, .x = weight, .y = m, .from = DTYPE_F32, .to = DTYPE_BF16, .count = n));
}

// ---- main ---------------------------------------------------------------------------------------------------------

static struct rows padded_rows(struct bench *b)
{
    int32_t offset[CLIPS + 1], length[CLIPS], id[ROWS];
    for (int i = 0; i <= CLIPS; i++)
        offset[i] = i * FRAMES;
    for (int i = 0; i < CLIPS; i++)
        length[i] = FRAMES;
    for (int i = 0; i < ROWS; i++)
        id[i] = i;
    return (struct rows){CLIPS,
                         FRAMES,
                         ROWS,
                         device(b, offset, sizeof offset),
                         device(b, length, sizeof length),
                         device(b, id, sizeof id)};
}

int main(int argc, char **argv)
{
    struct error e;
    struct bench b = {.type = argc > 1 && !strcmp(argv[1], "fp32") ? DTYPE_F32 : DTYPE_BF16,
                      .filter = argc > 3 ? argv[3] : NULL};
    b.backend = backend_cpu_open(argc > 2 ? atoi(argv[2]) : 0, &e);
    b.stream = b.backend ? b.backend->op->stream_create(b.backend, &e) : NULL;
    if (!b.stream) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    struct device_info info;
    b.backend->op->describe(b.backend, &info);
    printf("%s, %d threads, %s, %s\n", info.name, info.threads, info.detail, b.type == DTYPE_F32 ? "fp32" : "bf16");
    struct step_scalars scalars = {
        .step = 3, .lr = 1e-4f, .bias1 = 0.27f, .bias2 = 0.003f, .ema_alpha = 0.97f, .loss_scale = 1};
    b.scalars = device(&b, &scalars, sizeof scalars);
    b.rows = padded_rows(&b);
    bench_linears(&b);
    for (int i = 0; i < 3; i++) {
        bench_attention(&b, widths[i]);
        bench_rowwise(&b, widths[i]);
    }
    bench_batchnorm(&b, DENSE, 5);
    bench_batchnorm(&b, widths[0], 1);
    bench_optimizer(&b);
    printf("student forward and backward, teacher forward, update: %.1f ms\n", b.total_ms);
    b.stream->op->stream_destroy(b.stream);
    b.backend->op->close(b.backend);
    return 0;
}
