// sum_squares, adamw, packing and convert against their formulas in double precision.
#include <math.h>
#include <string.h>

#include "tests/kernels/harness.h"

// ---- sum of squares -----------------------------------------------------------------------------------------------

// What the two operations make of `count` values, into device memory `out`; the first in parts of whole spans of so
// many values, or all at once.
static void queue_squares(struct harness *h, const struct tensor *x, int count, int part, double *out)
{
    size_t spans = ((size_t)count + SQUARES_SPAN - 1) / SQUARES_SPAN;
    double *partial = device_bytes(h, harness_doubles(h, spans), spans * sizeof *partial);
    tensor_writable(h, &(struct tensor){.mat = {.data = partial}});
    for (int at = 0; at < count; at += part)
        queue(h->stream, sum_squares, .x = tensor_floats(x) + at,
              .count = (size_t)(count - at < part ? count - at : part), .partial = partial + at / SQUARES_SPAN);
    queue(h->stream, add_squares, .partial = partial, .count = spans, .out = out);
}

static void test_sum_squares(struct harness *h)
{
    int counts[] = {1, 16, 37, 8192, 8193, 50000, 4300001};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct tensor x = tensor_normal(h, DTYPE_F32, 1, counts[i], 1, 3);
        double *out = harness_doubles(h, 1), *device = device_bytes(h, out, sizeof *out), want, got, parts;
        tensor_writable(h, &(struct tensor){.mat = {.data = device}});
        queue_squares(h, &x, counts[i], 3 * SQUARES_SPAN, device);
        h->stream->op->download(h->stream, &parts, device, sizeof parts);
        queue_squares(h, &x, counts[i], counts[i], device);
        h->stream->op->download(h->stream, &got, device, sizeof got);
        h->stream->op->synchronize(h->stream, NULL);
        assert_true(parts == got); // to the bit
        long double sum = 0;       // one after the other, millions of doubles lose more than is allowed
        for (int k = 0; k < counts[i]; k++)
            sum += x.value[k] * x.value[k];
        want = (double)sum;
        values_check("sum of squares", &got, &want, 1, 1, 1e-13);
        h->digest ^= (uint64_t)(got * 1e6);
    }
}

// ---- AdamW --------------------------------------------------------------------------------------------------------

struct state {
    double *weight, *m, *v, *ema; // [count]
};

struct setting {
    double lr, beta1, beta2, eps, weight_decay, clip, alpha, loss_scale;
};

// torch.optim.AdamW's step behind torch.nn.utils.clip_grad_norm_; then the teacher's average.
static void step_reference(const struct setting *s, struct state *state, const double *gradient, const uint8_t *decay,
                           int count, int step)
{
    double norm = 0;
    for (int i = 0; i < count; i++)
        norm += gradient[i] / s->loss_scale * (gradient[i] / s->loss_scale);
    norm = sqrt(norm);
    double scale = s->clip > 0 ? fmin(1, s->clip / (norm + 1e-6)) : 1;
    for (int i = 0; i < count; i++) {
        double g = gradient[i] / s->loss_scale * scale;
        if (decay[i / PARAMETER_ALIGN])
            state->weight[i] -= s->lr * s->weight_decay * state->weight[i];
        state->m[i] = s->beta1 * state->m[i] + (1 - s->beta1) * g;
        state->v[i] = s->beta2 * state->v[i] + (1 - s->beta2) * g * g;
        double m = state->m[i] / (1 - pow(s->beta1, step)), v = state->v[i] / (1 - pow(s->beta2, step));
        state->weight[i] -= s->lr * m / (sqrt(v) + s->eps);
        state->ema[i] = s->alpha * state->ema[i] + (1 - s->alpha) * state->weight[i];
    }
}

static struct step_scalars *scalars_of(struct harness *h, const struct setting *s, int step)
{
    return device_scalars(h, &(struct step_scalars){.step = (uint32_t)step,
                                                    .lr = (float)s->lr,
                                                    .bias1 = (float)(1 - pow(s->beta1, step)),
                                                    .bias2 = (float)(1 - pow(s->beta2, step)),
                                                    .ema_alpha = (float)s->alpha,
                                                    .loss_scale = (float)s->loss_scale});
}

struct optimizer_case {
    int count;
    struct setting setting;
    enum dtype work_type;
    struct tensor weight, m, v, ema, work, ema_work;
    uint8_t *decay; // on the device
    struct state state;
};

static struct tensor flat(struct harness *h, int count, uint32_t seed, double scale, double **value)
{
    struct tensor t = tensor_normal(h, DTYPE_F32, 1, count, seed, scale);
    tensor_writable(h, &t);
    *value = harness_doubles(h, (size_t)count);
    memcpy(*value, t.value, (size_t)count * sizeof **value);
    return t;
}

static void optimizer_step(struct harness *h, struct optimizer_case *c, const struct tensor *gradient,
                           const double *square_norm, int step)
{
    const struct setting *s = &c->setting;
    int work = c->work_type != DTYPE_F32;
    queue(h->stream, adamw, .weight = tensor_floats(&c->weight), .m = tensor_floats(&c->m), .v = tensor_floats(&c->v),
          .gradient = tensor_floats(gradient), .count = (size_t)c->count, .decay = c->decay, .beta1 = (float)s->beta1,
          .beta2 = (float)s->beta2, .eps = (float)s->eps, .weight_decay = (float)s->weight_decay,
          .clip = (float)s->clip, .square_norm = square_norm, .scalars = scalars_of(h, s, step),
          .work_type = c->work_type, .work = work ? c->work.mat.data : NULL, .ema = tensor_floats(&c->ema),
          .ema_work = work ? c->ema_work.mat.data : NULL);
}

// Values are checked against the size of the steps, not of the weights.
static void check_change(struct harness *h, const char *what, struct tensor *t, const double *want,
                         const double *before, double tolerance)
{
    int n = t->mat.columns;
    double *change = harness_doubles(h, (size_t)n), *wanted = harness_doubles(h, (size_t)n);
    tensor_read(h, t);
    for (int i = 0; i < n; i++) {
        change[i] = t->value[i] - before[i];
        wanted[i] = want[i] - before[i];
    }
    values_check(what, change, wanted, 1, n, tolerance);
}

static void check_optimizer(struct harness *h, int count, struct setting setting, enum dtype work_type)
{
    setting.beta1 = (double)(float)setting.beta1; // as the interface carries them: 1 - beta2 depends on it
    setting.beta2 = (double)(float)setting.beta2;
    struct optimizer_case c = {.count = count, .setting = setting, .work_type = work_type};
    uint8_t *decay = harness_memory(h, (size_t)count / PARAMETER_ALIGN, 1);
    for (int i = 0; i < count / PARAMETER_ALIGN; i++)
        decay[i] = i % 3 != 1;
    c.decay = device_bytes(h, decay, (size_t)count / PARAMETER_ALIGN);
    c.weight = flat(h, count, 1, 0.05, &c.state.weight);
    c.ema = flat(h, count, 2, 0.05, &c.state.ema);
    c.m = flat(h, count, 3, 0, &c.state.m);
    c.v = flat(h, count, 4, 0, &c.state.v);
    c.work = tensor_output(h, work_type, 1, count);
    c.ema_work = tensor_output(h, work_type, 1, count);
    double *weight0 = harness_doubles(h, (size_t)count), *ema0 = harness_doubles(h, (size_t)count);
    memcpy(weight0, c.weight.value, (size_t)count * sizeof *weight0);
    memcpy(ema0, c.ema.value, (size_t)count * sizeof *ema0);
    double *norm = device_bytes(h, &(double){0}, sizeof *norm);
    tensor_writable(h, &(struct tensor){.mat = {.data = norm}});
    for (int step = 1; step <= 3; step++) {
        struct tensor gradient = tensor_normal(h, DTYPE_F32, 1, count, (uint32_t)(10 + step), 0.2 * setting.loss_scale);
        queue_squares(h, &gradient, count, count, norm);
        optimizer_step(h, &c, &gradient, norm, step);
        step_reference(&setting, &c.state, gradient.value, decay, count, step);
    }
    check_change(h, "weight", &c.weight, c.state.weight, weight0, 2e-5);
    check_change(h, "ema", &c.ema, c.state.ema, ema0, 2e-5);
    tensor_check(h, "m", &c.m, c.state.m, 2e-6);
    tensor_check(h, "v", &c.v, c.state.v, 2e-6);
    for (int i = 0; work_type != DTYPE_F32 && i < count; i++) {
        c.state.weight[i] = type_round(work_type, c.weight.value[i]);
        c.state.ema[i] = type_round(work_type, c.ema.value[i]);
    }
    if (work_type != DTYPE_F32) {
        tensor_check_equal(h, "work copy", &c.work, c.state.weight);
        tensor_check_equal(h, "work copy of the EMA", &c.ema_work, c.state.ema);
    }
}

static void test_adamw(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types), counts[] = {16, 48, 8192 + 16, 30000 / 16 * 16};
    struct setting settings[] = {
        {3e-4, 0.9, 0.999, 1e-8, 0.4, 10, 0.97, 1},     // clipped for the long ones
        {3e-3, 0.9, 0.99, 1e-3, 0.1, 0, 0.5, 1},        // no clipping
        {3e-4, 0.9, 0.999, 1e-8, 0.4, 0.5, 0.97, 1024}, // scaled loss
    };
    for (int t = 0; t < n; t++)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            for (size_t k = 0; k < sizeof settings / sizeof *settings; k++)
                check_optimizer(h, counts[i], settings[k], types[t]);
}

// Without an EMA and without a work copy; and nothing moves when the gradient is not finite.
static void test_adamw_without(struct harness *h)
{
    enum { COUNT = 64 };
    uint8_t decay[COUNT / PARAMETER_ALIGN] = {1, 1, 1, 1};
    struct setting s = {1e-3, 0.9, 0.999, 1e-8, 0.1, 10, 0.97, 1};
    double *weight, *m, *v, norms[] = {INFINITY, NAN, 1};
    struct tensor tw = flat(h, COUNT, 1, 1, &weight), tm = flat(h, COUNT, 2, 0, &m), tv = flat(h, COUNT, 3, 0, &v);
    struct tensor gradient = tensor_normal(h, DTYPE_F32, 1, COUNT, 4, 1);
    for (int i = 0; i < 3; i++) {
        queue(h->stream, adamw, .weight = tensor_floats(&tw), .m = tensor_floats(&tm), .v = tensor_floats(&tv),
              .gradient = tensor_floats(&gradient), .count = COUNT, .decay = device_bytes(h, decay, sizeof decay),
              .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .weight_decay = 0.1f, .clip = 10,
              .square_norm = device_bytes(h, &norms[i], sizeof norms[i]), .scalars = scalars_of(h, &s, 1),
              .work_type = DTYPE_F32);
        if (i < 2) {
            tensor_check_equal(h, "weight", &tw, weight);
            tensor_check_equal(h, "m", &tm, m);
        }
    }
    tensor_read(h, &tw);
    for (int i = 0; i < COUNT; i++)
        assert_true(tw.value[i] != weight[i]);
}

// ---- packing ------------------------------------------------------------------------------------------------------

// Blocks out of a buffer and back into another, with gaps in the list.
static void test_blocks(struct harness *h)
{
    enum { BLOCKS = 700, LISTED = 300 };
    struct tensor flat = tensor_normal(h, DTYPE_F32, 1, BLOCKS * PARAMETER_ALIGN, 1, 1);
    struct tensor packed = tensor_output(h, DTYPE_F32, 1, LISTED * PARAMETER_ALIGN);
    struct tensor back = tensor_normal(h, DTYPE_F32, 1, BLOCKS * PARAMETER_ALIGN, 2, 1);
    double *want_packed = harness_doubles(h, LISTED * PARAMETER_ALIGN);
    double *want_back = harness_doubles(h, BLOCKS * PARAMETER_ALIGN);
    int32_t block[LISTED];
    tensor_writable(h, &back);
    memcpy(want_back, back.value, BLOCKS * PARAMETER_ALIGN * sizeof *want_back);
    for (int i = 0; i < LISTED; i++) {
        block[i] = i % 7 == 3 ? -1 : (i * 211 + 5) % BLOCKS; // 211 and 700 share no factor: none twice
        for (int k = 0; k < PARAMETER_ALIGN && block[i] >= 0; k++) {
            double v = flat.value[block[i] * PARAMETER_ALIGN + k];
            want_packed[i * PARAMETER_ALIGN + k] = want_back[block[i] * PARAMETER_ALIGN + k] = v;
        }
    }
    const int32_t *list = device_bytes(h, block, sizeof block);
    queue(h->stream, pack_blocks, .flat = tensor_floats(&flat), .block = list, .count = LISTED,
          .packed = tensor_floats(&packed));
    queue(h->stream, unpack_blocks, .packed = tensor_floats(&packed), .block = list, .count = LISTED,
          .flat = tensor_floats(&back));
    tensor_check_equal(h, "flat", &back, want_back);
    tensor_read(h, &packed);
    for (int i = 0; i < LISTED; i++)
        for (int k = 0; k < PARAMETER_ALIGN; k++) {
            double got = packed.value[i * PARAMETER_ALIGN + k];
            assert_true(block[i] < 0 ? isnan(got) : got == want_packed[i * PARAMETER_ALIGN + k]);
        }
}

// ---- conversion ---------------------------------------------------------------------------------------------------

static void test_convert(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types), counts[] = {1, 37, 8192, 20001};
    for (int from = 0; from < n; from++)
        for (int to = 0; to < n; to++)
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                struct tensor x = tensor_normal(h, types[from], 1, counts[i], 1, 10);
                struct tensor y = tensor_output(h, types[to], 1, counts[i]);
                queue(h->stream, convert, .x = x.mat.data, .y = y.mat.data, .from = types[from], .to = types[to],
                      .count = (size_t)counts[i]);
                for (int k = 0; k < counts[i]; k++)
                    x.value[k] = type_round(types[to], x.value[k]);
                tensor_check_equal(h, "y", &y, x.value);
            }
}

// Ties go to the even neighbour; infinities stay, values beyond the largest become infinite, NaN stays NaN.
static void test_convert_rounding(struct harness *h)
{
    double x[] = {1 + 0x1p-8, 1 + 0x1p-8 + 0x1p-20, 1 + 3 * 0x1p-8, -1 - 0x1p-8, 3.4028234e38, INFINITY, -INFINITY, 0};
    double want[] = {1, 1 + 0x1p-7, 1 + 0x1p-6, -1, INFINITY, INFINITY, -INFINITY, 0};
    enum { COUNT = sizeof x / sizeof *x };
    struct tensor from = tensor_from(h, DTYPE_F32, 1, COUNT, x), to = tensor_output(h, DTYPE_BF16, 1, COUNT);
    queue(h->stream, convert, .x = from.mat.data, .y = to.mat.data, .from = DTYPE_F32, .to = DTYPE_BF16,
          .count = COUNT);
    tensor_check_equal(h, "bf16", &to, want);
    double nan = NAN;
    from = tensor_from(h, DTYPE_F32, 1, 1, &nan);
    to = tensor_output(h, DTYPE_BF16, 1, 1);
    queue(h->stream, convert, .x = from.mat.data, .y = to.mat.data, .from = DTYPE_F32, .to = DTYPE_BF16, .count = 1);
    tensor_read(h, &to);
    assert_true(isnan(to.value[0]));
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_sum_squares),      KERNEL_TEST(test_adamw),
    KERNEL_TEST(test_adamw_without),    KERNEL_TEST(test_convert),
    KERNEL_TEST(test_convert_rounding), KERNEL_TEST(test_blocks),
};

int main(void)
{
    return harness_main("optimizer", tests, sizeof tests / sizeof *tests);
}
