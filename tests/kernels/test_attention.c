// attention_forward and attention_backward against the formula and its derivative in double precision; the derivative
// against finite differences.
#include <math.h>
#include <string.h>

#include "tests/kernels/harness.h"

enum { STEP = 5, CLIPS = 4 };

static const struct shape {
    int frames, heads, size, odd;
    int held[CLIPS], length[CLIPS], tail;
    double p;
    double scale; // of queries, keys, values and relative rows; 0: 1
} shapes[] = {
    {6, 2, 3, 0, {6, 3, 5, 6}, {6, 3, 2, 0}, 3, 0.25}, // the one for finite differences
    {1, 2, 4, 0, {1, 1, 0, 1}, {1, 0, 0, 1}, 0, 0},
    {9, 3, 2, 1, {9, 9, 9, 9}, {9, 1, 5, 8}, 0, 0.5},
    {25, 2, 80, 0, {25, 25, 14, 20}, {25, 24, 14, 1}, 5, 0.1},
    {25, 2, 64, 1, {16, 17, 8, 25}, {16, 17, 8, 9}, 1, 0.1},
    {25, 1, 96, 0, {25, 2, 3, 4}, {25, 2, 3, 4}, 16, 0},
    {32, 2, 48, 0, {31, 32, 32, 7}, {31, 32, 15, 7}, 0, 0.05},
    {64, 1, 16, 0, {64, 33, 0, 2}, {64, 33, 0, 1}, 0, 0.1},
    {80, 2, 36, 0, {80, 61, 33, 80}, {80, 61, 32, 0}, 2, 0.1},
    {80, 1, 64, 0, {79, 80, 1, 48}, {79, 65, 1, 48}, 0, 0.2},
    {128, 1, 32, 0, {128, 100, 128, 0}, {127, 100, 64, 0}, 0, 0.1},
    {131, 1, 8, 0, {131, 5, 0, 130}, {131, 5, 0, 129}, 3, 0.1}, // beyond what the devices' fast ways take
    {7, 1, 104, 0, {7, 7, 3, 1}, {7, 6, 3, 1}, 0, 0.1},
    {512, 1, 4, 0, {512, 1, 0, 3}, {511, 1, 0, 2}, 0, 0.1}, // the most that job files allow
    // Scores far apart. Those of rows that are not real must not be taken for probabilities: fp16 does not hold them.
    {33, 2, 16, 0, {33, 25, 12, 33}, {32, 20, 9, 0}, 0, 0.1, 4},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

// DeBERTa's log bucket of distance r, bucket_size = max_position = L (reference section 3), and the slot of i-j.
static int bucket_of(int r, int frames)
{
    int mid = frames / 2, n = r < 0 ? -r : r, seen = n < mid ? mid - 1 : n;
    if (seen <= mid)
        return r;
    double place = ceil(log((double)n / mid) / log((double)(frames - 1) / mid) * (mid - 1)) + mid;
    return r < 0 ? -(int)place : (int)place;
}

static int slot_of(int distance, int frames)
{
    int slot = bucket_of(distance, frames) + frames;
    return slot < 0 ? 0 : slot > 2 * frames - 1 ? 2 * frames - 1 : slot;
}

// ---- reference ----------------------------------------------------------------------------------------------------

struct problem {
    const struct shape *shape;
    struct test_rows rows;
    int hidden, count;
    int32_t *slot;          // [2L-1]
    struct tensor qkv, rel; // [count, 3h], [2L, 3h]
    struct dropout dropout;
};

struct reference {
    double *context;            // [count, h]
    double *dqkv, *drel;        // as qkv, rel
    const double *dcontext;     // [count, h], or NULL: no gradients
    double *p, *kept, *dp, *ds; // [L]
};

static const double *at(const struct tensor *t, int row, int third, int head, int size)
{
    int hidden = t->mat.columns / 3;
    return t->value + (size_t)row * (size_t)t->mat.columns + (size_t)(third * hidden + head * size);
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void add(double *to, double factor, const double *from, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += factor * from[i];
}

// Probabilities of query i over the clip's n keys, to r->p, and the dropout factors, to r->kept.
static void probabilities(const struct problem *p, struct reference *r, int first, int i, int n, int head)
{
    int s = p->shape->size, frames = p->shape->frames;
    double sum = 0, max = -INFINITY;
    for (int j = 0; j < n; j++) {
        int slot = p->slot[i - j + frames - 1];
        const double *q = at(&p->qkv, first + i, 0, head, s), *k = at(&p->qkv, first + j, 1, head, s);
        r->p[j] = (dot(q, k, s) + dot(q, at(&p->rel, slot, 1, head, s), s) + dot(k, at(&p->rel, slot, 0, head, s), s)) /
                  sqrt(3.0 * s);
        max = fmax(max, r->p[j]);
    }
    for (int j = 0; j < n; j++)
        sum += r->p[j] = exp(r->p[j] - max);
    for (int j = 0; j < n; j++) {
        r->p[j] /= sum;
        r->kept[j] = dropout_factor(&p->dropout, STEP, p->rows.id[first + i], head * ((frames + 7) / 8 * 8) + j);
    }
}

static void backward_query(const struct problem *p, struct reference *r, int first, int i, int n, int head)
{
    int s = p->shape->size, frames = p->shape->frames, wide = 3 * p->hidden;
    const double *dcontext = r->dcontext + (size_t)(first + i) * (size_t)p->hidden + (size_t)(head * s);
    double mean = 0;
    for (int j = 0; j < n; j++) {
        r->dp[j] = dot(dcontext, at(&p->qkv, first + j, 2, head, s), s) * r->kept[j];
        mean += r->p[j] * r->dp[j];
        add(r->dqkv + (first + j) * wide + 2 * p->hidden + head * s, r->p[j] * r->kept[j], dcontext, s);
    }
    for (int j = 0; j < n; j++) {
        double ds = r->p[j] * (r->dp[j] - mean) / sqrt(3.0 * s);
        int slot = p->slot[i - j + frames - 1], query = head * s, key = p->hidden + head * s;
        const double *q = at(&p->qkv, first + i, 0, head, s), *k = at(&p->qkv, first + j, 1, head, s);
        add(r->dqkv + (first + i) * wide + query, ds, k, s);
        add(r->dqkv + (first + i) * wide + query, ds, at(&p->rel, slot, 1, head, s), s);
        add(r->dqkv + (first + j) * wide + key, ds, q, s);
        add(r->dqkv + (first + j) * wide + key, ds, at(&p->rel, slot, 0, head, s), s);
        add(r->drel + slot * wide + key, ds, q, s);
        add(r->drel + slot * wide + query, ds, k, s);
    }
}

static void run_reference(const struct problem *p, struct reference *r)
{
    int s = p->shape->size, wide = 3 * p->hidden;
    memset(r->context, 0, (size_t)(p->count * p->hidden) * sizeof *r->context);
    if (r->dcontext) {
        memset(r->dqkv, 0, (size_t)(p->count * wide) * sizeof *r->dqkv);
        memset(r->drel, 0, (size_t)(2 * p->shape->frames * wide) * sizeof *r->drel);
    }
    for (int b = 0; b < CLIPS; b++)
        for (int head = 0; head < p->shape->heads; head++)
            for (int i = 0; i < p->rows.length[b]; i++) {
                int first = p->rows.offset[b], n = p->rows.length[b];
                probabilities(p, r, first, i, n, head);
                double *context = r->context + (size_t)(first + i) * (size_t)p->hidden + (size_t)(head * s);
                for (int j = 0; j < n; j++)
                    add(context, r->p[j] * r->kept[j], at(&p->qkv, first + j, 2, head, s), s);
                if (r->dcontext)
                    backward_query(p, r, first, i, n, head);
            }
}

static struct problem make_problem(struct harness *h, enum dtype type, const struct shape *shape)
{
    h->odd = shape->odd;
    struct problem p = {.shape = shape, .hidden = shape->heads * shape->size};
    p.rows = test_rows_make(h, CLIPS, shape->frames, shape->held, shape->length, shape->tail, 3);
    p.count = p.rows.rows.count;
    double scale = shape->scale > 0 ? shape->scale : 1;
    p.qkv = tensor_normal(h, type, p.count, 3 * p.hidden, 1, scale);
    p.rel = tensor_normal(h, type, 2 * shape->frames, 3 * p.hidden, 2, scale);
    p.slot = harness_memory(h, (size_t)(2 * shape->frames - 1), sizeof *p.slot);
    for (int d = 1 - shape->frames; d < shape->frames; d++)
        p.slot[d + shape->frames - 1] = slot_of(d, shape->frames);
    struct step_scalars scalars = {.step = STEP};
    p.dropout = (struct dropout){(float)shape->p, 0xfedcba987654321u, device_scalars(h, &scalars), 2 << 8 | 17};
    return p;
}

static struct reference make_reference(struct harness *h, const struct problem *p, const double *dcontext)
{
    size_t frames = (size_t)p->shape->frames, wide = 3 * (size_t)p->hidden;
    return (struct reference){.context = harness_doubles(h, (size_t)(p->count * p->hidden)),
                              .dqkv = harness_doubles(h, (size_t)p->count * wide),
                              .drel = harness_doubles(h, 2 * frames * wide),
                              .dcontext = dcontext,
                              .p = harness_doubles(h, frames),
                              .kept = harness_doubles(h, frames),
                              .dp = harness_doubles(h, frames),
                              .ds = harness_doubles(h, frames)};
}

// ---- the device ---------------------------------------------------------------------------------------------------

struct kept {
    float *row_max, *row_sum; // on the device, or NULL
};

static struct tensor run_forward(struct harness *h, const struct problem *p, int keep, struct kept *kept)
{
    struct tensor context = tensor_output(h, p->qkv.mat.type, p->count, p->hidden);
    *kept = (struct kept){NULL, NULL};
    if (keep) {
        struct tensor max = tensor_output(h, DTYPE_F32, 1, p->count * p->shape->heads);
        struct tensor sum = tensor_output(h, DTYPE_F32, 1, p->count * p->shape->heads);
        *kept = (struct kept){tensor_floats(&max), tensor_floats(&sum)};
    }
    queue(h->stream, attention_forward, .rows = p->rows.rows, .heads = p->shape->heads, .qkv = p->qkv.mat,
          .rel = p->rel.mat, .slot = device_ints(h, p->slot, (size_t)(2 * p->shape->frames - 1)),
          .context = context.mat, .row_max = kept->row_max, .row_sum = kept->row_sum, .dropout = p->dropout);
    return context;
}

static double tolerance(enum dtype type)
{
    return type == DTYPE_F32 ? 4e-6 : type_tolerance(type);
}

static void check_forward(struct harness *h, enum dtype type, const struct shape *shape, int keep)
{
    struct problem p = make_problem(h, type, shape);
    struct reference r = make_reference(h, &p, NULL);
    struct kept kept;
    struct tensor context = run_forward(h, &p, keep, &kept);
    run_reference(&p, &r);
    tensor_check(h, "context", &context, r.context, tolerance(type));
}

static void check_backward(struct harness *h, enum dtype type, const struct shape *shape)
{
    struct problem p = make_problem(h, type, shape);
    struct kept kept;
    run_forward(h, &p, 1, &kept);
    struct tensor dcontext = tensor_normal(h, type, p.count, p.hidden, 3, 1);
    struct tensor dqkv = tensor_output(h, type, p.count, 3 * p.hidden);
    struct tensor drel = tensor_output(h, type, 2 * shape->frames, 3 * p.hidden);
    queue(h->stream, attention_backward, .rows = p.rows.rows, .heads = shape->heads, .qkv = p.qkv.mat, .rel = p.rel.mat,
          .slot = device_ints(h, p.slot, (size_t)(2 * shape->frames - 1)), .dcontext = dcontext.mat, .dqkv = dqkv.mat,
          .drel = drel.mat, .row_max = kept.row_max, .row_sum = kept.row_sum, .dropout = p.dropout);
    struct reference r = make_reference(h, &p, dcontext.value);
    run_reference(&p, &r);
    tensor_check(h, "dqkv", &dqkv, r.dqkv, tolerance(type));
    tensor_check(h, "drel", &drel, r.drel, tolerance(type));
}

// Types are tests of their own: devices have other kernels for them.
static void test_forward(struct harness *h, enum dtype type)
{
    for (int i = 0; i < SHAPES && harness_has_type(h, type); i++) {
        check_forward(h, type, &shapes[i], 0);
        check_forward(h, type, &shapes[i], 1);
    }
}

static void test_backward(struct harness *h, enum dtype type)
{
    for (int i = 0; i < SHAPES && harness_has_type(h, type); i++)
        check_backward(h, type, &shapes[i]);
}

static void test_forward_fp32(struct harness *h)
{
    test_forward(h, DTYPE_F32);
}

static void test_forward_bf16(struct harness *h)
{
    test_forward(h, DTYPE_BF16);
}

static void test_forward_fp16(struct harness *h)
{
    test_forward(h, DTYPE_F16);
}

static void test_backward_fp32(struct harness *h)
{
    test_backward(h, DTYPE_F32);
}

static void test_backward_bf16(struct harness *h)
{
    test_backward(h, DTYPE_BF16);
}

static void test_backward_fp16(struct harness *h)
{
    test_backward(h, DTYPE_F16);
}

// ---- the reference's own derivative -------------------------------------------------------------------------------

struct differentiated {
    struct problem *p;
    struct reference *r;
    const double *dcontext;
};

static double loss(void *context)
{
    const struct differentiated *d = context;
    run_reference(d->p, d->r);
    return dot(d->r->context, d->dcontext, d->p->count * d->p->hidden);
}

static void test_reference(struct harness *h)
{
    struct problem p = make_problem(h, DTYPE_F32, &shapes[0]);
    struct tensor dcontext = tensor_normal(h, DTYPE_F32, p.count, p.hidden, 3, 1);
    struct reference r = make_reference(h, &p, dcontext.value), plain = make_reference(h, &p, NULL);
    run_reference(&p, &r);
    struct differentiated d = {&p, &plain, dcontext.value};
    int wide = 3 * p.hidden, rel_rows = 2 * p.shape->frames;
    double *dqkv = harness_doubles(h, (size_t)(p.count * wide)), *drel = harness_doubles(h, (size_t)(rel_rows * wide));
    finite_difference(loss, &d, p.qkv.value, (size_t)(p.count * wide), 0, 1, dqkv);
    finite_difference(loss, &d, p.rel.value, (size_t)(rel_rows * wide), 0, 1, drel);
    values_check("dqkv of the reference", r.dqkv, dqkv, p.count, wide, 1e-7);
    values_check("drel of the reference", r.drel, drel, rel_rows, wide, 1e-7);
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_reference),     KERNEL_TEST(test_forward_fp32),  KERNEL_TEST(test_forward_bf16),
    KERNEL_TEST(test_forward_fp16),  KERNEL_TEST(test_backward_fp32), KERNEL_TEST(test_backward_bf16),
    KERNEL_TEST(test_backward_fp16),
};

int main(void)
{
    return harness_main("attention", tests, sizeof tests / sizeof *tests);
}
