// maximum_forward and maximum_backward against the definition.
#include <math.h>

#include "tests/kernels/harness.h"

static const struct {
    int rows, columns, odd;
} shapes[] = {{5, 64, 0}, {1, 1, 1}, {3, 37, 1}, {7, 15, 0}, {64, 192, 0}};

// Two matrices that agree in every third element.
static void make_operands(struct harness *h, enum dtype type, int rows, int columns, struct tensor *a, struct tensor *b)
{
    *a = tensor_normal(h, type, rows, columns, 1, 1);
    struct tensor other = tensor_normal(h, type, rows, columns, 2, 1);
    for (int i = 0; i < rows * columns; i += 3)
        other.value[i] = a->value[i];
    *b = tensor_from(h, type, rows, columns, other.value);
}

static void test_forward(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            int rows = shapes[i].rows, columns = shapes[i].columns;
            h->odd = shapes[i].odd;
            struct tensor a, b, y = tensor_output(h, types[t], rows, columns);
            make_operands(h, types[t], rows, columns, &a, &b);
            queue(h->stream, maximum_forward, a.mat, b.mat, y.mat);
            double *want = harness_doubles(h, (size_t)(rows * columns));
            for (int k = 0; k < rows * columns; k++)
                want[k] = fmax(a.value[k], b.value[k]);
            tensor_check_equal(h, "y", &y, want);
        }
}

static void test_backward(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            int rows = shapes[i].rows, columns = shapes[i].columns;
            h->odd = shapes[i].odd;
            struct tensor a, b, dy = tensor_normal(h, types[t], rows, columns, 3, 1);
            struct tensor da = tensor_output(h, types[t], rows, columns),
                          db = tensor_output(h, types[t], rows, columns);
            make_operands(h, types[t], rows, columns, &a, &b);
            queue(h->stream, maximum_backward, a.mat, b.mat, dy.mat, da.mat, db.mat);
            double *want_a = harness_doubles(h, (size_t)(rows * columns));
            double *want_b = harness_doubles(h, (size_t)(rows * columns));
            for (int k = 0; k < rows * columns; k++) {
                double share = a.value[k] > b.value[k] ? 1 : a.value[k] < b.value[k] ? 0 : 0.5;
                want_a[k] = dy.value[k] * share;
                want_b[k] = dy.value[k] * (1 - share);
            }
            tensor_check_equal(h, "da", &da, want_a);
            tensor_check_equal(h, "db", &db, want_b);
        }
}

static void test_not_a_number(struct harness *h)
{
    double values_a[] = {NAN, 1, NAN, INFINITY}, values_b[] = {1, NAN, NAN, -INFINITY};
    struct tensor a = tensor_from(h, DTYPE_F32, 1, 4, values_a), b = tensor_from(h, DTYPE_F32, 1, 4, values_b);
    struct tensor y = tensor_output(h, DTYPE_F32, 1, 4);
    queue(h->stream, maximum_forward, a.mat, b.mat, y.mat);
    tensor_read(h, &y);
    assert_true(isnan(y.value[0]) && isnan(y.value[1]) && isnan(y.value[2]));
    assert_true(y.value[3] == INFINITY);
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_forward),
    KERNEL_TEST(test_backward),
    KERNEL_TEST(test_not_a_number),
};

int main(void)
{
    return harness_main("maximum", tests, sizeof tests / sizeof *tests);
}
