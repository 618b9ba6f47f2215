// linear_forward, linear_backward_input and linear_backward_weight against sums in double precision, and the two
// gradients against finite differences of the forward.
#include <math.h>
#include <string.h>

#include "tests/kernels/harness.h"

static const struct {
    int rows, in, out, odd;
} shapes[] = {{32, 64, 48, 0},    {1, 336, 250, 0}, {7, 13, 5, 1},  {33, 100, 77, 1},
              {160, 400, 192, 0}, {1, 1, 1, 1},     {64, 2, 16, 0}, {16, 1600, 33, 1}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

// As tensor_check, but the values may depend on the number of threads: the CPU's matrix library splits some sums by it.
static void sums_check(struct harness *h, const char *what, struct tensor *t, const double *want)
{
    uint64_t digest = h->digest;
    tensor_check(h, what, t, want, type_tolerance(t->mat.type));
    h->digest = digest;
}

// c [m,n] = sum over k of a(i,k) b(k,j), element (i,k) of a at i*a_row + k*a_column, and so on.
static double *product(struct harness *h, int m, int n, int k, const double *a, int a_row, int a_column,
                       const double *b, int b_row, int b_column)
{
    double *c = harness_doubles(h, (size_t)m * (size_t)n);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
            for (int l = 0; l < k; l++)
                c[(size_t)i * (size_t)n + (size_t)j] += a[(size_t)i * (size_t)a_row + (size_t)l * (size_t)a_column] *
                                                        b[(size_t)l * (size_t)b_row + (size_t)j * (size_t)b_column];
    return c;
}

struct layer {
    int rows, in, out;
    struct tensor x, weight, bias;
};

static struct layer layer_make(struct harness *h, enum dtype type, int rows, int in, int out)
{
    struct layer l = {.rows = rows, .in = in, .out = out};
    l.x = tensor_normal(h, type, rows, in, 1, 1);
    l.weight = tensor_normal(h, type, out, in, 2, 1);
    l.bias = tensor_normal(h, type, 1, out, 3, 4);
    return l;
}

static double *forward_reference(struct harness *h, const struct layer *l, int with_bias)
{
    double *y = product(h, l->rows, l->out, l->in, l->x.value, l->in, 1, l->weight.value, 1, l->in);
    for (int i = 0; with_bias && i < l->rows * l->out; i++)
        y[i] += l->bias.value[i % l->out];
    return y;
}

static void check_forward(struct harness *h, enum dtype type, enum dtype y_type, int shape, int with_bias)
{
    h->odd = shapes[shape].odd;
    struct layer l = layer_make(h, type, shapes[shape].rows, shapes[shape].in, shapes[shape].out);
    struct tensor y = tensor_output(h, y_type, l.rows, l.out);
    queue(h->stream, linear_forward, .x = l.x.mat, .weight = l.weight.mat, .y = y.mat,
          .bias = with_bias ? l.bias.mat.data : NULL);
    sums_check(h, "y", &y, forward_reference(h, &l, with_bias));
}

static void test_forward(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++) {
            check_forward(h, types[t], types[t], i, 1);
            check_forward(h, types[t], types[t], i, 0);
            if (types[t] != DTYPE_F32)
                check_forward(h, types[t], DTYPE_F32, i, 1);
        }
}

// A constant weight may be kept in another layout; after forget() the new values count.
static void check_constant(struct harness *h, enum dtype type, int shape)
{
    h->odd = shapes[shape].odd;
    struct layer l = layer_make(h, type, shapes[shape].rows, shapes[shape].in, shapes[shape].out);
    for (int round = 0; round < 3; round++) {
        if (round == 2) {
            struct tensor other = tensor_normal(h, type, l.out, l.in, 7, 1);
            size_t size = dtype_size(type), stride = (size_t)l.weight.mat.stride * size;
            tensor_writable(h, &l.weight);
            for (size_t r = 0; r < (size_t)l.out; r++)
                h->stream->op->copy(h->stream, (char *)l.weight.mat.data + r * stride,
                                    (char *)other.mat.data + r * stride, (size_t)l.in * size);
            memcpy(l.weight.value, other.value, (size_t)(l.out * l.in) * sizeof(double));
            h->backend->op->forget(h->backend);
        }
        struct tensor y = tensor_output(h, type, l.rows, l.out);
        queue(h->stream, linear_forward, .x = l.x.mat, .weight = l.weight.mat, .y = y.mat, .bias = l.bias.mat.data,
              .constant = 1);
        sums_check(h, "y", &y, forward_reference(h, &l, 1));
        if (l.rows > 1) { // another number of rows on the same weight
            struct layer first = l;
            first.rows = l.rows / 2;
            struct mat x = l.x.mat;
            x.rows = first.rows;
            struct tensor z = tensor_output(h, type, first.rows, l.out);
            queue(h->stream, linear_forward, .x = x, .weight = l.weight.mat, .y = z.mat, .bias = l.bias.mat.data,
                  .constant = 1);
            sums_check(h, "y of fewer rows", &z, forward_reference(h, &first, 1));
        }
    }
    h->backend->op->forget(h->backend);
}

static void test_constant_weight(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++)
            check_constant(h, types[t], i);
}

static void check_backward_input(struct harness *h, enum dtype type, enum dtype dx_type, int shape, int accumulate)
{
    h->odd = shapes[shape].odd;
    int rows = shapes[shape].rows, in = shapes[shape].in, out = shapes[shape].out;
    struct tensor dy = tensor_normal(h, type, rows, out, 4, 1), weight = tensor_normal(h, type, out, in, 2, 1);
    struct tensor dx = accumulate ? tensor_normal(h, dx_type, rows, in, 5, 3) : tensor_output(h, dx_type, rows, in);
    tensor_writable(h, &dx);
    double *want = product(h, rows, in, out, dy.value, out, 1, weight.value, in, 1);
    for (int i = 0; accumulate && i < rows * in; i++)
        want[i] += dx.value[i];
    queue(h->stream, linear_backward_input, .dy = dy.mat, .weight = weight.mat, .dx = dx.mat, .accumulate = accumulate);
    sums_check(h, "dx", &dx, want);
}

static void test_backward_input(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                check_backward_input(h, types[t], types[t], i, accumulate);
                if (types[t] != DTYPE_F32)
                    check_backward_input(h, types[t], DTYPE_F32, i, accumulate);
            }
}

static void check_backward_weight(struct harness *h, enum dtype type, int shape, int with_bias)
{
    h->odd = shapes[shape].odd;
    int rows = shapes[shape].rows, in = shapes[shape].in, out = shapes[shape].out;
    struct tensor dy = tensor_normal(h, type, rows, out, 4, 1), x = tensor_normal(h, type, rows, in, 1, 1);
    struct tensor dweight = tensor_output(h, DTYPE_F32, 1, out * in), dbias = tensor_output(h, DTYPE_F32, 1, out);
    queue(h->stream, linear_backward_weight, .dy = dy.mat, .x = x.mat, .dweight = tensor_floats(&dweight),
          .dbias = with_bias ? tensor_floats(&dbias) : NULL);
    double *want = product(h, out, in, rows, dy.value, 1, out, x.value, in, 1);
    sums_check(h, "dweight", &dweight, want);
    double *sums = harness_doubles(h, (size_t)out);
    for (int i = 0; i < rows * out; i++)
        sums[i % out] += dy.value[i];
    if (with_bias)
        tensor_check(h, "dbias", &dbias, sums, type_tolerance(DTYPE_F32));
}

static void test_backward_weight(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types);
    for (int t = 0; t < n; t++)
        for (int i = 0; i < SHAPES; i++) {
            check_backward_weight(h, types[t], i, 1);
            check_backward_weight(h, types[t], i, 0);
        }
}

// Columns of a wider matrix as operands, as the model's concatenations are.
static void test_slices(struct harness *h)
{
    enum dtype types[3];
    int n = harness_types(h, types), rows = 24, in = 40, out = 72;
    for (int t = 0; t < n; t++) {
        struct tensor wide = tensor_normal(h, types[t], rows, 3 * in, 1, 1);
        struct tensor weight = tensor_normal(h, types[t], out, in, 2, 1), y = tensor_output(h, types[t], rows, 2 * out);
        queue(h->stream, linear_forward, .x = tensor_columns(&wide, in, in), .weight = weight.mat,
              .y = tensor_columns(&y, 0, out));
        queue(h->stream, linear_forward, .x = tensor_columns(&wide, 0, in), .weight = weight.mat,
              .y = tensor_columns(&y, out, out));
        double *second = product(h, rows, out, in, wide.value + in, 3 * in, 1, weight.value, 1, in);
        double *first = product(h, rows, out, in, wide.value, 3 * in, 1, weight.value, 1, in);
        double *want = harness_doubles(h, (size_t)(rows * 2 * out));
        for (int r = 0; r < rows; r++) {
            memcpy(want + r * 2 * out, second + r * out, (size_t)out * sizeof *want);
            memcpy(want + r * 2 * out + out, first + r * out, (size_t)out * sizeof *want);
        }
        sums_check(h, "y", &y, want);
    }
}

// More rows than a card's grid has blocks in its second direction, 32 rows each. Every row has to be there.
static void test_many_rows(struct harness *h)
{
    int rows = 65536 * 32 + 1;
    h->odd = 1; // rows lie closer
    struct tensor x = tensor_normal(h, DTYPE_F32, rows, 1, 1, 1), weight = tensor_normal(h, DTYPE_F32, 1, 1, 2, 1);
    struct tensor y = tensor_output(h, DTYPE_F32, rows, 1);
    queue(h->stream, linear_forward, .x = x.mat, .weight = weight.mat, .y = y.mat);
    tensor_check(h, "y", &y, product(h, rows, 1, 1, x.value, 1, 1, weight.value, 1, 1), type_tolerance(DTYPE_F32));
}

// ---- finite differences: f = sum of y * dy ------------------------------------------------------------------------

struct differentiated {
    struct harness *h;
    const struct layer *layer;
    const double *dy;
};

static double loss(void *context)
{
    const struct differentiated *d = context;
    const struct layer *l = d->layer;
    double sum = 0;
    for (int r = 0; r < l->rows; r++)
        for (int o = 0; o < l->out; o++) {
            double y = l->bias.value[o];
            for (int i = 0; i < l->in; i++)
                y += l->x.value[r * l->in + i] * l->weight.value[o * l->in + i];
            sum += y * d->dy[r * l->out + o];
        }
    return sum;
}

static void test_finite_differences(struct harness *h)
{
    struct layer l = layer_make(h, DTYPE_F32, 6, 9, 7);
    struct tensor dy = tensor_normal(h, DTYPE_F32, l.rows, l.out, 4, 1), dx = tensor_output(h, DTYPE_F32, l.rows, l.in);
    struct tensor dweight = tensor_output(h, DTYPE_F32, 1, l.out * l.in), dbias = tensor_output(h, DTYPE_F32, 1, l.out);
    queue(h->stream, linear_backward_input, .dy = dy.mat, .weight = l.weight.mat, .dx = dx.mat);
    queue(h->stream, linear_backward_weight, .dy = dy.mat, .x = l.x.mat, .dweight = tensor_floats(&dweight),
          .dbias = tensor_floats(&dbias));
    struct differentiated d = {h, &l, dy.value};
    struct {
        const char *what;
        double *at;
        size_t count;
        struct tensor *got;
    } gradients[] = {{"dx", l.x.value, (size_t)(l.rows * l.in), &dx},
                     {"dweight", l.weight.value, (size_t)(l.out * l.in), &dweight},
                     {"dbias", l.bias.value, (size_t)l.out, &dbias}};
    for (size_t i = 0; i < sizeof gradients / sizeof *gradients; i++) {
        double *want = harness_doubles(h, gradients[i].count);
        finite_difference(loss, &d, gradients[i].at, gradients[i].count, 0, 1, want);
        sums_check(h, gradients[i].what, gradients[i].got, want);
    }
}

static const struct kernel_test tests[] = {
    KERNEL_TEST(test_forward),
    KERNEL_TEST(test_constant_weight),
    KERNEL_TEST(test_backward_input),
    KERNEL_TEST(test_backward_weight),
    KERNEL_TEST(test_slices),
    KERNEL_TEST(test_many_rows),
    KERNEL_TEST(test_finite_differences),
};

int main(void)
{
    return harness_main("linear", tests, sizeof tests / sizeof *tests);
}
