// update_scale with sum_squares and adamw, against PyTorch's GradScaler over two optimizers (tests/golden/README.md,
// "scale"); and sum_ranks against the sum it promises, to the bit.
#include <math.h>
#include <string.h>

#include "core/base/memory.h"
#include "tests/kernels/golden_file.h"
#include "tests/kernels/harness.h"
#include "tests/nn/filler.h"

enum { STEPS = 30, COUNT = 32 };

static double setting(const struct golden_file *f, const char *key)
{
    json_t *value = golden_file_json(f, key);
    double x = json_number_value(value);
    json_decref(value);
    return x;
}

static void fill(double *out, const char *format, int model, int step)
{
    char *name = xprintf(format, model, step);
    for (int i = 0; i < COUNT; i++)
        out[i] = (double)filler_symmetric(filler_hash(name), (uint64_t)i, 1, 0);
    free(name);
}

static void *writable(struct harness *h, const void *bytes, size_t size)
{
    void *p = device_bytes(h, bytes, size);
    tensor_writable(h, &(struct tensor){.mat = {.data = p}});
    return p;
}

static void read_back(struct harness *h, void *to, const void *device, size_t size)
{
    struct error e = {0};
    h->stream->op->download(h->stream, to, device, size);
    if (h->stream->op->synchronize(h->stream, &e))
        fail_msg("%s", e.text);
}

struct rig {
    struct loss_scaler *scaler;
    struct step_scalars *scalars[SCALER_MODELS];
    double *square_norm[SCALER_MODELS], *partial;
    struct tensor weight[SCALER_MODELS], m[SCALER_MODELS], v[SCALER_MODELS];
    const uint8_t *decay;
    float clip, weight_decay;
    struct update_scale update;
};

static struct tensor flat(struct harness *h, const double *value)
{
    struct tensor t = tensor_from(h, DTYPE_F32, 1, COUNT, value);
    tensor_writable(h, &t);
    return t;
}

static void make_rig(struct harness *h, struct rig *r, const struct golden_file *f)
{
    static const uint8_t decays[COUNT / PARAMETER_ALIGN] = {1, 1};
    struct loss_scaler start = {.scale = 65536, .power1 = {1, 1}, .power2 = {1, 1}};
    double weight[COUNT], zero[COUNT] = {0};
    r->scaler = writable(h, &start, sizeof start);
    r->decay = device_bytes(h, decays, sizeof decays);
    r->partial = writable(h, zero, sizeof *r->partial);
    for (int m = 0; m < SCALER_MODELS; m++) {
        fill(weight, "scale/weight%d", m, 0);
        r->weight[m] = flat(h, weight);
        r->m[m] = flat(h, zero);
        r->v[m] = flat(h, zero);
        r->scalars[m] = writable(h, &(struct step_scalars){.loss_scale = 1}, sizeof *r->scalars[m]);
        r->square_norm[m] = writable(h, zero, sizeof *r->square_norm[m]);
    }
    r->clip = (float)setting(f, "clip");
    r->weight_decay = (float)setting(f, "decay");
    json_t *betas = golden_file_json(f, "betas");
    r->update = (struct update_scale){.scaler = r->scaler,
                                      .scalars = {r->scalars[0], r->scalars[1]},
                                      .square_norm = {r->square_norm[0], r->square_norm[1]},
                                      .growth = 2,
                                      .backoff = 0.5f,
                                      .interval = (uint32_t)setting(f, "interval"),
                                      .beta1 = json_number_value(json_array_get(betas, 0)),
                                      .beta2 = json_number_value(json_array_get(betas, 1)),
                                      .lr = setting(f, "lr"),
                                      .warmup = (uint32_t)setting(f, "warmup"),
                                      .steps = STEPS};
    json_decref(betas);
}

static void run_step(struct harness *h, struct rig *r, int step, double scale, const float found[SCALER_MODELS])
{
    struct tensor gradient[SCALER_MODELS];
    uint32_t number = (uint32_t)step;
    h->stream->op->upload(h->stream, &r->scalars[0]->step, &number, sizeof number);
    for (int m = 0; m < SCALER_MODELS; m++) {
        const double values[] = {0, INFINITY, -INFINITY, NAN};
        double g[COUNT];
        fill(g, "scale/gradient%d/%d", m, step);
        for (int i = 0; i < COUNT; i++)
            g[i] *= scale;
        if (found[m] > 0)
            g[step % COUNT] = values[(int)found[m]];
        gradient[m] = tensor_from(h, DTYPE_F32, 1, COUNT, g);
        h->stream->op->copy(h->stream, &r->scalars[m]->loss_scale, &r->scaler->scale, sizeof r->scaler->scale);
        queue(h->stream, sum_squares, .x = tensor_floats(&gradient[m]), .count = COUNT, .partial = r->partial);
        queue(h->stream, add_squares, .partial = r->partial, .count = 1, .out = r->square_norm[m]);
    }
    h->stream->op->update_scale(h->stream, &r->update);
    for (int m = 0; m < SCALER_MODELS; m++)
        queue(h->stream, adamw, .weight = tensor_floats(&r->weight[m]), .m = tensor_floats(&r->m[m]),
              .v = tensor_floats(&r->v[m]), .gradient = tensor_floats(&gradient[m]), .count = COUNT, .decay = r->decay,
              .beta1 = (float)r->update.beta1, .beta2 = (float)r->update.beta2, .eps = 1e-8f,
              .weight_decay = r->weight_decay, .clip = r->clip, .square_norm = r->square_norm[m],
              .scalars = r->scalars[m], .work_type = DTYPE_F32);
}

static void test_update_scale(struct harness *h)
{
    struct golden_file *f = golden_file_open("scale");
    struct rig r;
    size_t n;
    const float *scale = golden_file_values(f, &n, "scale"), *lr = golden_file_values(f, &n, "lr"),
                *taken = golden_file_values(f, &n, "taken"), *found = golden_file_values(f, &n, "found"),
                *weight = golden_file_values(f, &n, "weight");
    assert_int_equal(n, STEPS * SCALER_MODELS * COUNT);
    make_rig(h, &r, f);
    for (int s = 0; s < STEPS; s++) {
        struct loss_scaler scaler;
        struct step_scalars scalars;
        run_step(h, &r, s + 1, (double)scale[s], found + s * SCALER_MODELS);
        read_back(h, &scaler, r.scaler, sizeof scaler);
        read_back(h, &scalars, r.scalars[1], sizeof scalars);
        assert_true(scalars.loss_scale == scale[s]);
        assert_true(s + 1 == STEPS || scaler.scale == scale[s + 1]);
        assert_true(fabsf(scalars.lr - lr[s]) <= 1e-6f * lr[s]);
        for (int m = 0; m < SCALER_MODELS; m++) {
            double want[COUNT];
            assert_true((float)scaler.taken[m] == taken[s * SCALER_MODELS + m]);
            for (int i = 0; i < COUNT; i++)
                want[i] = (double)weight[(s * SCALER_MODELS + m) * COUNT + i];
            tensor_check(h, "weights", &r.weight[m], want, 2e-6);
        }
    }
    golden_file_close(f);
}

// One model, a scale that cannot grow any more, and one that falls below 1.
static void test_scale_limits(struct harness *h)
{
    struct loss_scaler start = {.scale = 0x1p127f, .good = 1, .power1 = {1, 1}, .power2 = {1, 1}}, now;
    struct loss_scaler *scaler = writable(h, &start, sizeof start);
    struct step_scalars *scalars = writable(h, &(struct step_scalars){.step = 1, .loss_scale = 1}, sizeof *scalars);
    double norms[] = {1, NAN};
    const double *good = device_bytes(h, &norms[0], sizeof norms[0]),
                 *bad = device_bytes(h, &norms[1], sizeof norms[1]);
    struct update_scale a = {.scaler = scaler,
                             .scalars = {scalars},
                             .square_norm = {good},
                             .growth = 2,
                             .backoff = 0.5f,
                             .interval = 2,
                             .beta1 = 0.9,
                             .beta2 = 0.99,
                             .lr = 1,
                             .steps = 9};
    h->stream->op->update_scale(h->stream, &a);
    read_back(h, &now, scaler, sizeof now);
    assert_true(now.scale == 0x1p127f && now.good == 0 && now.taken[0] == 1 && now.taken[1] == 0 && now.skipped == 0);
    a.square_norm[0] = bad;
    h->stream->op->update_scale(h->stream, &a);
    read_back(h, &now, scaler, sizeof now);
    assert_true(now.scale == 0x1p126f && now.taken[0] == 1 && now.skipped == 1);
}

static void test_sum_ranks(struct harness *h)
{
    int counts[] = {1, 7, 8, 250, 4099};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        for (int ranks = 1; ranks <= 5; ranks++) {
            int n = counts[k];
            struct tensor parts = tensor_normal(h, DTYPE_F32, ranks, n, (uint32_t)(ranks * 7 + n), 100);
            struct tensor out = tensor_output(h, DTYPE_F32, 1, n);
            double *want = harness_doubles(h, (size_t)n);
            for (int i = 0; i < n; i++) {
                double sum = 0;
                for (int r = 0; r < ranks; r++)
                    sum += parts.value[r * n + i];
                want[i] = (double)((float)sum / (float)ranks);
            }
            queue(h->stream, sum_ranks, .parts = tensor_floats(&parts), .stride = (size_t)parts.mat.stride,
                  .count = (size_t)n, .ranks = ranks, .divisor = (float)ranks, .out = tensor_floats(&out));
            tensor_check_equal(h, "sum over ranks", &out, want);
        }
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_update_scale),
    KERNEL_TEST(test_scale_limits),
    KERNEL_TEST(test_sum_ranks),
};

int main(void)
{
    return harness_main("scale", tests, sizeof tests / sizeof *tests);
}
