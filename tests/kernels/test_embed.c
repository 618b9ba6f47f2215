// embed_forward and embed_backward against the uncollapsed stage in double, and against the one in PyTorch
// (tests/golden/embed.safetensors).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/random.h"
#include "tests/kernels/embed_reference.h"
#include "tests/kernels/golden_file.h"
#include "tests/kernels/harness.h"
#include "tests/nn/filler.h"

// The last: more clips than the devices have shares for.
static const struct shape {
    int clips, frames, odd;
} shapes[] = {{3, 9, 0}, {2, 1, 0}, {2, 2, 1},  {3, 3, 0},  {3, 4, 0},
              {3, 5, 1}, {2, 6, 0}, {4, 25, 0}, {37, 5, 0}, {514, 1, 0}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static const char *const output_names[] = {"full", "left", "right", "lips", "face"};

struct fixture {
    struct embed_reference r;
    int rows;
    int32_t *device_length;
    float *x, *collapsed; // device
    struct tensor value[EMBED_TENSORS], gradient[EMBED_TENSORS];
    struct embed_parameters parameters, gradients;                   // device
    struct tensor output[1 + EMBED_PARTS], doutput[1 + EMBED_PARTS]; // full, then the parts
};

static int output_columns(int output)
{
    return EMBED_DIM * (output ? embed_part_points[output - 1] : LANDMARKS);
}

// Clips of all lengths from none to all frames; x is zero in padding frames, and some of it is missing.
static double *make_input(struct harness *h, const struct shape *s, int32_t *length)
{
    size_t clip = (size_t)(s->frames * LANDMARKS * 3);
    double *x = harness_doubles(h, clip * (size_t)s->clips);
    struct rng rng = rng_make(9, RNG_BENCH, 4, (uint32_t)s->frames, 0);
    for (int b = 0; b < s->clips; b++) {
        length[b] = b == 0 ? s->frames : (b - 1) * 3 % (s->frames + 1);
        for (int i = 0; i < length[b] * LANDMARKS * 3; i++)
            if (rng_below(&rng, 10))
                x[(size_t)b * clip + (size_t)i] = type_round(DTYPE_F32, rng_normal(&rng));
    }
    return x;
}

static struct fixture make_fixture(struct harness *h, enum dtype type, const struct shape *s)
{
    struct fixture f = {.r = embed_reference_make(s->clips, s->frames, 5), .rows = s->clips * s->frames};
    int32_t *length = harness_memory(h, (size_t)s->clips, sizeof *length);
    double *x = make_input(h, s, length);
    h->odd = 0; // x and the parameters are no matrices
    f.r.x = x;
    f.r.length = length;
    f.device_length = device_ints(h, length, (size_t)s->clips);
    struct tensor input = tensor_from(h, DTYPE_F32, 1, f.rows * LANDMARKS * 3, x);
    struct tensor collapsed = tensor_output(h, DTYPE_F32, 1, EMBED_COLLAPSED_SIZE);
    f.x = tensor_floats(&input);
    f.collapsed = tensor_floats(&collapsed);
    for (int t = 0; t < EMBED_TENSORS; t++) {
        f.value[t] = tensor_from(h, DTYPE_F32, 1, embed_tensor_size(t), f.r.value[t]);
        f.gradient[t] = tensor_output(h, DTYPE_F32, 1, embed_tensor_size(t));
        *embed_parameter(&f.parameters, t) = tensor_floats(&f.value[t]);
        *embed_parameter(&f.gradients, t) = tensor_floats(&f.gradient[t]);
    }
    h->odd = s->odd;
    for (int i = 0; i < 1 + EMBED_PARTS; i++) {
        f.output[i] = tensor_output(h, type, f.rows, output_columns(i));
        f.doutput[i] = tensor_normal(h, type, f.rows, output_columns(i), 20 + (uint32_t)i, 1);
    }
    f.r.dfull = f.doutput[0].value;
    for (int i = 0; i < EMBED_PARTS; i++)
        f.r.dpart[i] = f.doutput[1 + i].value;
    return f;
}

static void check(struct harness *h, enum dtype type, const struct shape *s)
{
    struct fixture f = make_fixture(h, type, s);
    const struct tensor *y = f.output, *dy = f.doutput;
    queue(h->stream, embed_forward, f.parameters, f.x, f.device_length, s->clips, s->frames, f.collapsed, y[0].mat,
          y[1].mat, y[2].mat, y[3].mat, y[4].mat);
    queue(h->stream, embed_backward, f.parameters, f.gradients, f.x, f.device_length, s->clips, s->frames, f.collapsed,
          dy[0].mat, dy[1].mat, dy[2].mat, dy[3].mat, dy[4].mat);
    embed_reference_forward(&f.r);
    embed_reference_backward(&f.r);
    tensor_check(h, output_names[0], &f.output[0], f.r.full, type_tolerance(type));
    for (int i = 0; i < EMBED_PARTS; i++)
        tensor_check(h, output_names[1 + i], &f.output[1 + i], f.r.part[i], type_tolerance(type));
    for (int t = 0; t < EMBED_TENSORS; t++)
        tensor_check(h, embed_tensors[t].name, &f.gradient[t], f.r.gradient[t], type_tolerance(DTYPE_F32));
    embed_reference_free(&f.r);
}

static void test_shapes(struct harness *h)
{
    for (int i = 0; i < SHAPES; i++)
        check(h, DTYPE_F32, &shapes[i]);
}

static void test_types(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 1; t < n; t++) {
        check(h, types[t], &shapes[0]);
        check(h, types[t], &shapes[5]);
    }
}

// Padding frames of the parts are zero to the bit, and a clip without any real frame is only padding.
static void test_padding(struct harness *h)
{
    static const struct shape s = {4, 6, 0};
    struct fixture f = make_fixture(h, DTYPE_F32, &s);
    struct tensor *y = f.output;
    queue(h->stream, embed_forward, f.parameters, f.x, f.device_length, s.clips, s.frames, f.collapsed, y[0].mat,
          y[1].mat, y[2].mat, y[3].mat, y[4].mat);
    int empty = 0;
    for (int b = 0; b < s.clips; b++)
        empty += f.r.length[b] == 0;
    assert_true(empty > 0);
    for (int i = 1; i <= EMBED_PARTS; i++) {
        tensor_read(h, &y[i]);
        for (int r = 0; r < f.rows; r++)
            for (int c = 0; c < y[i].mat.columns && r % s.frames >= f.r.length[r / s.frames]; c++)
                assert_true(y[i].value[r * y[i].mat.columns + c] == 0);
    }
    embed_reference_free(&f.r);
}

// ---- golden files -------------------------------------------------------------------------------------------------

// The filler's values of a parameter, rounded to float: tests/golden/README.md, "Weights".
static void fill_parameter(int tensor, double *value)
{
    const struct embed_tensor *t = &embed_tensors[tensor];
    size_t length = strlen(t->name);
    char *name = xprintf("model/%s", t->name);
    uint64_t hash = filler_hash(name);
    free(name);
    int is_bias = !strcmp(t->name + length - 4, "bias"), is_embedding = strstr(t->name, "embed.") != NULL;
    double scale = is_bias ? 0.125 : t->rows == 1 ? 0.25 : is_embedding ? 1 : 1 / sqrt(t->columns);
    double center = !is_bias && t->rows == 1;
    for (int i = 0; i < embed_tensor_size(tensor); i++)
        value[i] = is_embedding && i < EMBED_DIM ? 0 : (double)filler_symmetric(hash, (uint64_t)i, scale, center);
}

// The same tensor as make_fixture() made, with other values.
static void replace(struct harness *h, struct tensor *t, const double *value)
{
    *t = tensor_from(h, t->mat.type, t->mat.rows, t->mat.columns, value);
}

static struct fixture make_golden_fixture(struct harness *h, int frames)
{
    const struct shape s = {3, frames, 0};
    struct fixture f = make_fixture(h, DTYPE_F32, &s);
    int count = f.rows * LANDMARKS * 3;
    const int32_t length[3] = {frames, frames / 2 > 1 ? frames / 2 : 1, 1};
    float *x = harness_memory(h, (size_t)count, sizeof *x);
    double *values = harness_doubles(h, (size_t)(f.rows * LANDMARKS * EMBED_DIM));
    filler_clips("batch", 3, frames, length, x);
    for (int i = 0; i < count; i++)
        values[i] = (double)x[i];
    struct tensor input = tensor_from(h, DTYPE_F32, 1, count, values);
    f.x = tensor_floats(&input);
    f.device_length = device_ints(h, length, 3);
    for (int t = 0; t < EMBED_TENSORS; t++) {
        fill_parameter(t, values);
        replace(h, &f.value[t], values);
        *embed_parameter(&f.parameters, t) = tensor_floats(&f.value[t]);
    }
    for (int i = 0; i < 1 + EMBED_PARTS; i++) {
        char name[64];
        snprintf(name, sizeof name, "embed/d%s", output_names[i]);
        for (int k = 0; k < f.rows * output_columns(i); k++)
            values[k] = (double)filler_symmetric(filler_hash(name), (uint64_t)k, 1, 0);
        replace(h, &f.doutput[i], values);
    }
    return f;
}

// Holds a tensor against a golden one: whole, or its summary, whose numbers are as large as the norm.
static void check_golden(struct harness *h, const struct golden_file *file, struct tensor *t, const char *whole,
                         const char *summary, const char *name)
{
    size_t count, size = (size_t)t->mat.rows * (size_t)t->mat.columns;
    double want[LANDMARKS * EMBED_DIM * 9];
    const float *golden = golden_file_values(file, &count, "%s", summary ? summary : whole);
    for (size_t i = 0; i < count; i++)
        want[i] = (double)golden[i];
    if (!summary) {
        assert_int_equal(count, size);
        tensor_check(h, whole, t, want, 4e-6);
        return;
    }
    double got[41];
    float *values = harness_memory(h, size, sizeof *values);
    tensor_read(h, t);
    for (size_t i = 0; i < size; i++)
        values[i] = (float)t->value[i];
    assert_int_equal(filler_summary(name, values, size, got), count);
    values_check(summary, got, want, 1, (int)count, 1e-5);
}

static void check_golden_frames(struct harness *h, const struct golden_file *file, int frames)
{
    struct fixture f = make_golden_fixture(h, frames);
    const struct tensor *y = f.output, *dy = f.doutput;
    char name[512];
    queue(h->stream, embed_forward, f.parameters, f.x, f.device_length, 3, frames, f.collapsed, y[0].mat, y[1].mat,
          y[2].mat, y[3].mat, y[4].mat);
    queue(h->stream, embed_backward, f.parameters, f.gradients, f.x, f.device_length, 3, frames, f.collapsed, dy[0].mat,
          dy[1].mat, dy[2].mat, dy[3].mat, dy[4].mat);
    for (int i = 0; i < 1 + EMBED_PARTS; i++) {
        int whole = frames == 3; // the others are summaries
        snprintf(name, sizeof name, whole ? "F%d/%s" : "F%d/summary/%s", frames, output_names[i]);
        check_golden(h, file, &f.output[i], name, whole ? NULL : name, output_names[i]);
    }
    for (int t = 0; t < EMBED_TENSORS; t++) {
        snprintf(name, sizeof name, "F%d/gradient/%s", frames, embed_tensors[t].name);
        check_golden(h, file, &f.gradient[t], name, NULL, NULL);
    }
    embed_reference_free(&f.r);
}

static void test_golden(struct harness *h)
{
    struct golden_file *file = golden_file_open("embed");
    json_t *frames = golden_file_json(file, "frames"), *item;
    size_t i;
    assert_true(json_array_size(frames) >= 10);
    json_array_foreach(frames, i, item) check_golden_frames(h, file, (int)json_integer_value(item));
    json_decref(frames);
    golden_file_close(file);
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_shapes),
    KERNEL_TEST(test_types),
    KERNEL_TEST(test_padding),
    KERNEL_TEST(test_golden),
};

int main(void)
{
    return harness_main("embed", tests, sizeof tests / sizeof *tests);
}
