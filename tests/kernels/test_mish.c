// mish_forward against x*tanh(softplus(x)) in double precision, mish_backward against finite differences of it.
#include <math.h>

#include "tests/kernels/harness.h"

static const struct {
    int rows, columns, odd;
} shapes[] = {{5, 64, 0}, {3, 37, 1}, {1, 1, 1}, {70, 250, 0}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void check_forward(struct harness *h, enum dtype type, int shape)
{
    h->odd = shapes[shape].odd;
    int rows = shapes[shape].rows, columns = shapes[shape].columns;
    struct tensor z = tensor_normal(h, type, rows, columns, 1, 4),
                  residual = tensor_normal(h, type, rows, columns, 2, 1);
    struct tensor y = tensor_output(h, type, rows, columns);
    queue(h->stream, mish_forward, .z = z.mat, .residual = residual.mat, .y = y.mat);
    double *want = harness_doubles(h, (size_t)(rows * columns));
    for (int i = 0; i < rows * columns; i++)
        want[i] = mish(z.value[i]) + residual.value[i];
    tensor_check(h, "y", &y, want, type_tolerance(type));
}

static double mish_at(void *z)
{
    return mish(*(double *)z);
}

static void check_backward(struct harness *h, enum dtype type, int shape)
{
    h->odd = shapes[shape].odd;
    int rows = shapes[shape].rows, columns = shapes[shape].columns;
    struct tensor z = tensor_normal(h, type, rows, columns, 1, 4), dy = tensor_normal(h, type, rows, columns, 2, 1);
    struct tensor dz = tensor_output(h, type, rows, columns);
    queue(h->stream, mish_backward, .z = z.mat, .dy = dy.mat, .dz = dz.mat);
    double *want = harness_doubles(h, (size_t)(rows * columns));
    for (int i = 0; i < rows * columns; i++) {
        finite_difference(mish_at, &z.value[i], &z.value[i], 1, 0, 1, &want[i]);
        want[i] *= dy.value[i];
    }
    tensor_check(h, "dz", &dz, want, type_tolerance(type));
}

static void test_forward(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++)
            check_forward(h, types[t], i);
}

static void test_backward(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++)
            check_backward(h, types[t], i);
}

// The whole range of fp32, each value on its own: relative errors.
static void test_range(struct harness *h)
{
    enum { COUNT = 400 };
    double z[COUNT], one[COUNT], zero[COUNT] = {0};
    for (int i = 0; i < COUNT; i++) {
        z[i] = i < 200 ? -100 + i : i < 300 ? (i - 250) * 0.1 : pow(10, (i - 300) * 0.38 - 1);
        one[i] = 1;
    }
    struct tensor x = tensor_from(h, DTYPE_F32, 1, COUNT, z), none = tensor_from(h, DTYPE_F32, 1, COUNT, zero);
    struct tensor dy = tensor_from(h, DTYPE_F32, 1, COUNT, one), y = tensor_output(h, DTYPE_F32, 1, COUNT);
    struct tensor dz = tensor_output(h, DTYPE_F32, 1, COUNT);
    queue(h->stream, mish_forward, .z = x.mat, .residual = none.mat, .y = y.mat);
    queue(h->stream, mish_backward, .z = x.mat, .dy = dy.mat, .dz = dz.mat);
    tensor_read(h, &y);
    tensor_read(h, &dz);
    for (int i = 0; i < COUNT; i++) {
        double value = mish(x.value[i]), slope = mish_derivative(x.value[i]);
        if (!(fabs(y.value[i] - value) <= 2e-6 * fabs(value) + 1e-35))
            fail_msg("mish(%g) = %.9g, should be %.9g", x.value[i], y.value[i], value);
        if (!(fabs(dz.value[i] - slope) <= 2e-6 * fabs(slope) + 4e-7))
            fail_msg("mish'(%g) = %.9g, should be %.9g", x.value[i], dz.value[i], slope);
    }
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_forward),
    KERNEL_TEST(test_backward),
    KERNEL_TEST(test_range),
};

int main(void)
{
    return harness_main("mish", tests, sizeof tests / sizeof *tests);
}
