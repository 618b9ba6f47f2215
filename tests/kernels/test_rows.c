// Operations over a batch's rows: pack and unpack, manifold mixup, mean over frames; with padded and packed rows, tail
// rows, clips without frames, odd widths.
#include "tests/kernels/harness.h"

enum { CLIPS = 6, FRAMES = 7 };
static const int32_t lengths[CLIPS] = {7, 3, 0, 5, 1, 4};
// The pack of a mixup step holds the longer of a clip and its partner.
static const int32_t partners[CLIPS] = {2, 0, 1, 3, 5, 4}, inverses[CLIPS] = {1, 2, 0, 3, 5, 4};
static const int32_t mixed_held[CLIPS] = {7, 7, 3, 5, 4, 4};
static const double coefficients[CLIPS] = {0.25, 0.9, 1, 0, 0.37, 0.61};

static const struct {
    const int32_t *held; // NULL: padded
    int tail, columns, odd;
} layouts[] = {{NULL, 0, 64, 0}, {NULL, 3, 37, 1}, {lengths, 0, 33, 0}, {lengths, 12, 192, 0}, {mixed_held, 2, 21, 1}};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

struct fixture {
    struct test_rows r;
    enum dtype type;
    int count, columns; // rows of the pack
};

// Calls `check` for every type and layout.
static void for_all(struct harness *h, void (*check)(struct harness *h, struct fixture *f))
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < LAYOUTS; i++) {
            h->odd = layouts[i].odd;
            struct fixture f = {.type = types[t], .columns = layouts[i].columns};
            f.r = test_rows_make(h, CLIPS, FRAMES, layouts[i].held, lengths, layouts[i].tail, 10);
            f.count = f.r.rows.count;
            check(h, &f);
        }
}

static int held(const struct fixture *f, int clip)
{
    return f->r.offset[clip + 1] - f->r.offset[clip];
}

static void check_pack(struct harness *h, struct fixture *f)
{
    int columns = f->columns;
    struct tensor padded = tensor_normal(h, f->type, CLIPS * FRAMES, columns, 1, 1);
    struct tensor packed = tensor_output(h, f->type, f->count, columns);
    queue(h->stream, pack_rows, f->r.rows, padded.mat, packed.mat);
    double *want = harness_doubles(h, (size_t)(f->count * columns)); // tail rows stay zero
    for (int b = 0; b < CLIPS; b++)
        for (int i = 0; i < held(f, b) * columns; i++)
            want[f->r.offset[b] * columns + i] = padded.value[b * FRAMES * columns + i];
    tensor_check_equal(h, "packed", &packed, want);
}

static void check_unpack(struct harness *h, struct fixture *f)
{
    int columns = f->columns;
    struct tensor packed = tensor_normal(h, f->type, f->count, columns, 1, 1);
    struct tensor padded = tensor_output(h, f->type, CLIPS * FRAMES, columns);
    queue(h->stream, unpack_rows, f->r.rows, packed.mat, padded.mat);
    double *want = harness_doubles(h, (size_t)(CLIPS * FRAMES * columns));
    for (int b = 0; b < CLIPS; b++)
        for (int i = 0; i < held(f, b) * columns; i++)
            want[b * FRAMES * columns + i] = packed.value[f->r.offset[b] * columns + i];
    tensor_check_equal(h, "padded", &padded, want);
}

static void mix(const struct fixture *f, const double *x, double *y)
{
    int columns = f->columns;
    for (int b = 0; b < CLIPS; b++)
        for (int frame = 0; frame < held(f, b); frame++)
            for (int c = 0; c < columns; c++) {
                int p = partners[b];
                double other = frame < held(f, p) ? x[(f->r.offset[p] + frame) * columns + c] : 0;
                y[(f->r.offset[b] + frame) * columns + c] =
                    coefficients[b] * x[(f->r.offset[b] + frame) * columns + c] + (1 - coefficients[b]) * other;
            }
}

static void check_mixup(struct harness *h, struct fixture *f)
{
    size_t count = (size_t)(f->count * f->columns);
    struct tensor x = tensor_normal(h, f->type, f->count, f->columns, 1, 1);
    struct tensor dy = tensor_normal(h, f->type, f->count, f->columns, 2, 1);
    struct tensor y = tensor_output(h, f->type, f->count, f->columns);
    struct tensor dx = tensor_output(h, f->type, f->count, f->columns);
    struct tensor coefficient = tensor_from(h, DTYPE_F32, 1, CLIPS, coefficients);
    queue(h->stream, mixup_forward, f->r.rows, x.mat, y.mat, device_ints(h, partners, CLIPS),
          tensor_floats(&coefficient));
    double *want = harness_doubles(h, count);
    mix(f, x.value, want);
    tensor_check(h, "y", &y, want, type_tolerance(f->type));

    queue(h->stream, mixup_backward, f->r.rows, dy.mat, dx.mat, device_ints(h, inverses, CLIPS),
          tensor_floats(&coefficient));
    // The map is linear: dx is dy times its matrix, column by column of one unit vector each.
    double *unit = harness_doubles(h, count), *image = harness_doubles(h, count), *gradient = harness_doubles(h, count);
    for (int row = 0; row < f->r.offset[CLIPS]; row++) {
        for (int c = 0; c < f->columns; c++)
            unit[row * f->columns + c] = 1;
        mix(f, unit, image);
        for (int other = 0; other < f->count; other++)
            for (int c = 0; c < f->columns; c++)
                gradient[row * f->columns + c] += image[other * f->columns + c] * dy.value[other * f->columns + c];
        for (int c = 0; c < f->columns; c++)
            unit[row * f->columns + c] = 0;
    }
    tensor_check(h, "dx", &dx, gradient, type_tolerance(f->type));
}

static void check_mean(struct harness *h, struct fixture *f)
{
    int columns = f->columns;
    struct tensor x = tensor_normal(h, f->type, f->count, columns, 1, 1);
    struct tensor y = tensor_output(h, f->type, CLIPS, columns), dy = tensor_normal(h, f->type, CLIPS, columns, 2, 1);
    struct tensor dx = tensor_output(h, f->type, f->count, columns);
    queue(h->stream, mean_forward, f->r.rows, x.mat, y.mat);
    queue(h->stream, mean_backward, f->r.rows, dy.mat, dx.mat);
    double *want = harness_doubles(h, (size_t)(CLIPS * columns));
    double *gradient = harness_doubles(h, (size_t)(f->count * columns));
    for (int b = 0; b < CLIPS; b++)
        for (int frame = 0; frame < lengths[b]; frame++)
            for (int c = 0; c < columns; c++) {
                int at = (f->r.offset[b] + frame) * columns + c;
                want[b * columns + c] += x.value[at] / lengths[b];
                gradient[at] = dy.value[b * columns + c] / lengths[b];
            }
    tensor_check(h, "y", &y, want, type_tolerance(f->type));
    tensor_check(h, "dx", &dx, gradient, type_tolerance(f->type));
}

// Activations of the run's type may be averaged to fp32.
static void test_mean_to_fp32(struct harness *h)
{
    struct test_rows r = test_rows_make(h, 2, 3, NULL, (const int32_t[]){2, 3}, 0, 0);
    double values[] = {1, 2, 3, 4, 99, 99, 5, 6, 7, 8, 9, 10}, want[] = {2, 3, 7, 8};
    struct tensor x = tensor_from(h, DTYPE_BF16, 6, 2, values), y = tensor_output(h, DTYPE_F32, 2, 2);
    queue(h->stream, mean_forward, r.rows, x.mat, y.mat);
    tensor_check(h, "y", &y, want, 1e-6);
}

static void test_pack(struct harness *h)
{
    for_all(h, check_pack);
}

static void test_unpack(struct harness *h)
{
    for_all(h, check_unpack);
}

static void test_mixup(struct harness *h)
{
    for_all(h, check_mixup);
}

static void test_mean(struct harness *h)
{
    for_all(h, check_mean);
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_pack), KERNEL_TEST(test_unpack),       KERNEL_TEST(test_mixup),
    KERNEL_TEST(test_mean), KERNEL_TEST(test_mean_to_fp32),
};

int main(void)
{
    return harness_main("rows", tests, sizeof tests / sizeof *tests);
}
